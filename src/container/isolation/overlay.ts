// The disposable layer over the served file system: the kernel's overlayfs, else fuse-overlayfs, else none.
import { spawn } from 'node:child_process';
import { chmodSync, chownSync, lstatSync, statSync } from 'node:fs';
import { relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { HotlayerError } from '../../errors.js';
import { runScript, script, toolEnv } from '../machine/shell.js';
import { findTool, type Tools } from '../machine/tools.js';
import type { Overlay, SessionResult } from '../types.js';
import type { Layout } from './root.js';

export interface RootOptions {
  readonly readonlyRoot: boolean;
  /** overlayfs then keeps its notes in user.* instead of trusted.* attributes. */
  readonly userNamespace: boolean;
  /** What is in the layer is looked at later. */
  readonly capture: boolean;
  readonly overlay: Overlay;
}

export interface MountedRoot {
  /** Mounts on `view` what is in the root by now, without what is mounted in it. @throws HL_ERR_MACHINE */
  show(): Promise<void>;
  readonly writable: SessionResult['writable'];
  readonly warnings: string[];
}

/** What fuse-overlayfs takes to come up, milliseconds. */
const UP_MS = 20_000;

/**
 * Lays the root over `lower`.
 * @throws HL_ERR_MACHINE when the layer that is asked for, or looked at later, cannot be had
 */
export async function mountRoot(tools: Tools, dir: string, layout: Layout, options: RootOptions): Promise<MountedRoot> {
  const refusals: string[] = [];
  const bind = (from: string, to: string) => async () => {
    const steps = [{ command: [tools.mount, '-n', '--bind', from, to] }];
    await runScript(tools, script(steps), `mount the ${to}`, dir);
  };
  if (!options.readonlyRoot) {
    // The merged root has the attributes of its upper half.
    const { mode, uid, gid } = lstatSync(layout.lower);
    chmodSync(layout.upper, mode & 0o7777);
    chownSync(layout.upper, uid, gid);
    for (const way of waysOf(options.overlay)) {
      const refused = await (way === 'kernel' ? layKernels : layFuse)(tools, dir, layout, options);
      if (refused === undefined) {
        const writable = way === 'kernel' ? 'overlay' : way;
        const show = way === 'kernel' ? bind('root', 'view') : () => showFuse(tools, dir, layout);
        return {
          writable,
          show,
          warnings: refusals.length === 0 ? [] : [`the layer is ${way}'s: ${refusals.join('; ')}`],
        };
      }
      refusals.push(refused);
    }
    if (options.capture || !['auto', 'exact'].includes(options.overlay)) {
      throw new HotlayerError('HL_ERR_MACHINE', refusals.join('; '), {
        hint: options.capture
          ? 'the layer has to be on ext4, xfs, btrfs or tmpfs: name another directory'
          : 'leave --overlay out, or use --read-only',
      });
    }
  }
  await bind('lower', 'root')();
  return {
    writable: 'readonly',
    show: bind('lower', 'view'),
    warnings: refusals.length === 0 ? [] : [`the root is read-only: ${refusals.join('; ')}`],
  };
}

function waysOf(overlay: Overlay): readonly ('kernel' | 'fuse-overlayfs')[] {
  if (overlay === 'auto') return ['kernel', 'fuse-overlayfs'];
  return overlay === 'exact' ? ['kernel'] : [overlay];
}

/** Relative names: a comma or colon in the path would be taken for the end of the option. */
function placesOf(dir: string, { upper, work }: Layout): string {
  return `lowerdir=lower,upperdir=${relative(dir, upper)},workdir=${relative(dir, work)}`;
}

type Lay = (tools: Tools, dir: string, layout: Layout, options: RootOptions) => Promise<string | undefined>;

/** @returns why not */
const layKernels: Lay = async (tools, dir, layout, { userNamespace, capture }) => {
  const base = placesOf(dir, layout);
  // Whole files and explicit deletions only: what is kept can be read by whoever looks at it.
  const plain = capture ? `${base},redirect_dir=nofollow,metacopy=off` : base;
  let refused: string | undefined;
  for (const way of userNamespace ? [`${base},userxattr`, base] : [plain]) {
    const mount = script([{ command: [tools.mount, '-n', '-t', 'overlay', '-o', way, 'overlay', 'root'] }]);
    try {
      await runScript(tools, mount, 'lay a disposable layer over the image', dir);
      return undefined;
    } catch (error) {
      if (!(error instanceof HotlayerError)) throw error;
      refused = error.message;
    }
  }
  return refused;
};

/**
 * It runs until the session's pid namespace ends. Without its write cache: the layer is looked at as soon as the
 * workload has ended.
 */
const layFuse: Lay = async (tools, dir, layout) => startFuse(tools, dir, layout, 'root');

/** Another one: the first has the layer in memory as it was, and loses directories that are changed behind its back. */
async function showFuse(tools: Tools, dir: string, layout: Layout): Promise<void> {
  const refused = await startFuse(tools, dir, layout, 'view');
  if (refused !== undefined) throw new HotlayerError('HL_ERR_MACHINE', `cannot look at the layer: ${refused}`);
}

async function startFuse(
  tools: Tools,
  dir: string,
  layout: Layout,
  place: 'root' | 'view',
): Promise<string | undefined> {
  const program = findTool('fuse-overlayfs');
  if (program === undefined) return 'there is no fuse-overlayfs command';
  const before = statSync(layout[place]).dev;
  const options = `${placesOf(dir, layout)},suid,dev,writeback=0`;
  const child = spawn(tools.setpriv, ['--pdeathsig', 'KILL', '--', program, '-f', '-o', options, place], {
    cwd: dir,
    env: toolEnv(),
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  let ended: string | undefined;
  child.on('error', ({ message }) => {
    ended = message;
  });
  child.on('close', (status) => {
    ended ??= said.trim().replaceAll('\n', '; ') || `it ended with status ${status}`;
  });
  for (const deadline = performance.now() + UP_MS; ended === undefined && performance.now() < deadline; ) {
    // A root of another device: it has mounted.
    if (statSync(layout[place]).dev !== before) return undefined;
    await sleep(2);
  }
  child.kill('SIGKILL');
  return `fuse-overlayfs: ${ended ?? 'it did not come up'}`;
}
