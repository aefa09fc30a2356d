// What is done with a disposable layer at the end of a session besides throwing it away: its changes are listed, and
// its files put into a tar.
import { spawn } from 'node:child_process';
import { lstatSync, readdirSync, rmdirSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { HotlayerError } from '../../errors.js';
import { bytesToPath, comparePaths, pathToBytes, showPath } from '../../paths.js';
import { quote, toolEnv } from '../machine/shell.js';
import { findTool } from '../machine/tools.js';
import type { CaptureSpec, Change } from '../types.js';
import { type Changes, findChanges, pathUnder, type Sides } from './changes.js';

/** Extended attributes in which overlays keep notes of their own. */
const OWN_NOTES = ['trusted.overlay.*', 'user.overlay.*', 'user.fuseoverlayfs.*', 'user.containers.*'];
const OPAQUE_MARKS: readonly string[] = ['.wh..opq', '.wh..wh..opq'];
/** Names of the layer format: a file that has one would delete another when it is extracted. */
const RESERVED = '.wh.';

export interface Captured {
  readonly changes: readonly Change[];
  readonly warnings: readonly string[];
}

export class Capture {
  readonly #sides: Sides;
  readonly #dir: string;
  readonly #show: () => Promise<void>;
  readonly #spec: CaptureSpec;
  /** Paths in the upper half that the session itself made, children before their directories. */
  #ours: readonly string[] = [];
  #before: ReadonlySet<string>;

  /** @param sides before anything is mounted on the root @param show mounts the view of it */
  constructor(dir: string, { upper, lower, view }: Sides, show: () => Promise<void>, spec: CaptureSpec) {
    this.#dir = dir;
    this.#sides = { upper, lower, view };
    this.#show = show;
    this.#spec = spec;
    this.#before = new Set(everything(upper));
  }

  /** The places to mount on are there: they are not the workload's. */
  furnished(): void {
    const made = everything(this.#sides.upper).filter((path) => !this.#before.has(path));
    this.#ours = made.sort(comparePaths).reverse();
    this.#before = new Set();
  }

  /** After the workload's end. @throws HL_ERR_MACHINE, HL_ERR_IO when the tar cannot be made */
  async end(): Promise<Captured> {
    this.#removeOurs();
    await this.#show();
    const changes = await findChanges(this.#sides);
    const warnings = this.#spec.tarFd === undefined ? [] : await this.#pack(changes, this.#spec.tarFd);
    return { changes: changes.list, warnings };
  }

  /** An empty file that is still there, and directories that stayed empty or were copied up on our account only. */
  #removeOurs(): void {
    for (const path of this.#ours) {
      const place = pathUnder(this.#sides.upper, path);
      const now = lstatSync(place, { throwIfNoEntry: false });
      try {
        if (now?.isFile() && now.size === 0) unlinkSync(place);
        else if (now?.isDirectory() && !this.#changedByWorkload(path)) removeEmpty(this.#sides.upper, path);
      } catch {
        // something is in it
      }
    }
  }

  #changedByWorkload(path: string): boolean {
    const was = lstatSync(pathUnder(this.#sides.lower, path), { throwIfNoEntry: false });
    const now = lstatSync(pathUnder(this.#sides.upper, path));
    return was !== undefined && (was.mode !== now.mode || was.uid !== now.uid || was.gid !== now.gid);
  }

  /** GNU tar reads what Node cannot: extended attributes. Deletions are not in it. */
  async #pack({ list, untouched }: Changes, fd: number): Promise<string[]> {
    const warnings: string[] = [];
    const paths = new Set<string>();
    for (const path of [...list.filter(({ kind }) => kind !== 'deleted').map((change) => change.path), ...untouched]) {
      if (path.split('/').some((name) => name.startsWith(RESERVED))) {
        warnings.push(`${showPath(path)} is not in the layer: names that begin with ${RESERVED} mean deletions there`);
        continue;
      }
      if (lstatSync(pathUnder(this.#sides.upper, path)).isSocket()) {
        warnings.push(`${showPath(path)} is not in the layer: it is a socket`);
        continue;
      }
      for (let end = path.indexOf('/', 1); end > 0; end = path.indexOf('/', end + 1)) paths.add(path.slice(0, end));
      paths.add(path);
    }
    // A directory with deletions in it is part of the layer, too.
    for (const { path, kind } of list) {
      if (kind !== 'deleted') continue;
      for (let end = path.indexOf('/', 1); end > 0; end = path.indexOf('/', end + 1)) paths.add(path.slice(0, end));
    }
    const names = [...paths].sort(comparePaths).flatMap((path) => [pathToBytes(path.slice(1)), Buffer.from([0])]);
    const file = `${this.#dir}/changed`;
    writeFileSync(file, Buffer.concat(names));
    await this.#tar(file, fd);
    rmSync(file);
    return warnings;
  }

  async #tar(list: string, fd: number): Promise<void> {
    const tar = findTool('tar');
    if (tar === undefined) {
      throw new HotlayerError('HL_ERR_MACHINE', 'there is no tar command to make a layer with', {
        hint: 'install GNU tar (apt-get install tar)',
      });
    }
    const args = [
      ...['--create', '--format=pax', '--pax-option=delete=atime,delete=ctime', '--numeric-owner', '--no-recursion'],
      ...['--xattrs', '--xattrs-include=*', ...OWN_NOTES.map((pattern) => `--xattrs-exclude=${pattern}`)],
      ...['--directory', this.#sides.upper, '--null', '--verbatim-files-from', '--files-from', list, '--file=-'],
    ];
    const child = spawn(tar, args, { cwd: '/', env: toolEnv(), stdio: ['ignore', fd, 'pipe'] });
    let said = '';
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    const status = await new Promise<number | null | Error>((resolve) => {
      child.on('error', resolve);
      child.on('close', resolve);
    });
    if (status === 0) return;
    const why = status instanceof Error ? status.message : said.trim().replaceAll('\n', '; ') || `status ${status}`;
    throw new HotlayerError('HL_ERR_IO', `cannot make a layer of what has changed: ${quote(tar)}: ${why}`, {
      hint: 'it takes GNU tar 1.27 or later, and room for the files',
    });
  }
}

/** Unless something is in it besides the mark by which fuse-overlayfs knows that it hides what is below */
function removeEmpty(root: string, path: string): void {
  const names = readdirSync(pathUnder(root, path));
  if (names.some((name) => !OPAQUE_MARKS.includes(name))) return;
  for (const name of names) unlinkSync(pathUnder(root, `${path}/${name}`));
  rmdirSync(pathUnder(root, path));
}

/** All paths under a directory, with a leading slash. */
function everything(root: string): string[] {
  const found: string[] = [];
  const open = [''];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    for (const entry of readdirSync(pathUnder(root, path === '' ? '/' : path), {
      withFileTypes: true,
      encoding: 'buffer',
    })) {
      const child = `${path}/${bytesToPath(entry.name as unknown as Buffer)}`;
      found.push(child);
      if (entry.isDirectory()) open.push(child);
    }
  }
  return found;
}
