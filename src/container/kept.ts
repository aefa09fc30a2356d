// A directory in which a disposable layer is kept: `upper`, and a note of what it lies on.
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, HotlayerError } from '../errors.js';
import { isAlive, ownMark } from '../lazy/process-mark.js';

const NOTE = 'session.json';

interface Note {
  readonly schemaVersion: 1;
  /** Digest of the image's manifest, or `dir:PATH`. */
  readonly source: string;
  /** The process that uses it (process-mark.ts). */
  readonly usedBy?: string;
}

/**
 * A new directory, an empty one, or one of an earlier session over the same root, which then goes on.
 * @param path absolute
 * @throws HL_ERR_USAGE when it is anything else, or in use; HL_ERR_IO
 */
export function claimKept(path: string, source: string): Disposable {
  const note = read(path, source);
  if (note?.usedBy !== undefined && isAlive(note.usedBy)) {
    throw refused(path, `is in use by another session (process ${note.usedBy.split('-')[0]})`, 'wait for its end');
  }
  write(path, { schemaVersion: 1, source, usedBy: ownMark() });
  return { [Symbol.dispose]: () => write(path, { schemaVersion: 1, source }) };
}

function read(path: string, source: string): Note | undefined {
  try {
    mkdirSync(path, { recursive: true });
    const names = readdirSync(path);
    if (names.length === 0) return undefined;
    if (!names.includes(NOTE)) throw refused(path, `has ${names.length} entries, and none of them is ${NOTE}`);
    const note = JSON.parse(readFileSync(join(path, NOTE), 'utf8')) as Partial<Note>;
    if (note.schemaVersion !== 1 || typeof note.source !== 'string') throw refused(path, `has another kind of ${NOTE}`);
    if (note.source === source) return note as Note;
    throw refused(path, `holds what was changed in ${note.source}, not in ${source}`);
  } catch (cause) {
    if (cause instanceof HotlayerError) throw cause;
    if (cause instanceof SyntaxError) throw refused(path, `has a ${NOTE} that is no JSON`);
    throw failed(path, cause);
  }
}

/** By rename: a session that is killed leaves the old note or the new one. */
function write(path: string, note: Note): void {
  const place = join(path, NOTE);
  try {
    writeFileSync(`${place}.new`, `${JSON.stringify(note, undefined, 2)}\n`);
    renameSync(`${place}.new`, place);
  } catch (cause) {
    throw failed(path, cause);
  }
}

function refused(path: string, why: string, hint = 'name a new or an empty directory'): HotlayerError {
  return new HotlayerError('HL_ERR_USAGE', `--keep ${path}: it ${why}`, { hint, context: { file: path } });
}

function failed(path: string, cause: unknown): HotlayerError {
  const code = errnoOf(cause) === 'ENOTDIR' || errnoOf(cause) === 'EEXIST' ? 'HL_ERR_USAGE' : 'HL_ERR_IO';
  return new HotlayerError(code, `--keep ${path}: ${(cause as Error).message}`, { cause, context: { file: path } });
}
