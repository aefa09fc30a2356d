// Lists and logs of other tools → wanted files. Each parser takes the whole text; names in it are lossless (paths.ts).
import { HotlayerError } from '../errors.js';
import type { Wanted, WantedList } from './types.js';

/** One file once, at its first place; ranges of later mentions are added. */
export class Gathering {
  readonly #files = new Map<string, { -readonly [K in keyof Wanted]: Wanted[K] }>();
  readonly left: { what: string; reason: string }[] = [];

  add(file: Wanted): void {
    const known = this.#files.get(file.path);
    if (!known) this.#files.set(file.path, { ...file });
    else {
      if (file.ranges) known.ranges = [...(known.ranges ?? []), ...file.ranges];
      if (file.executed) known.executed = true;
    }
  }

  list(): WantedList {
    return { files: [...this.#files.values()], left: this.left };
  }
}

/** With one leading slash. */
export function absolute(path: string): string {
  return `/${path.replace(/^(\.?\/)+/, '')}`;
}

/** stargz record-out: a JSON object a line, `path` without leading slash. */
export function parseStargzRecord(text: string, where: string): WantedList {
  const out = new Gathering();
  for (const [value, at] of jsonLines(text, where)) {
    const { path, layerIndex } = value as { path?: unknown; layerIndex?: unknown };
    if (typeof path !== 'string') throw wrong(at, 'has no "path"');
    out.add({ path: absolute(path), ...(typeof layerIndex === 'number' ? { layer: layerIndex } : {}) });
  }
  return out.list();
}

/** A path a line; `#` begins a comment. Of globs only those are taken that stand for one path. */
export function parsePaths(text: string): WantedList {
  const out = new Gathering();
  for (const line of text.split('\n')) {
    const path = line.trim();
    if (path === '' || path.startsWith('#')) continue;
    if (/(^|[^\\])(\\\\)*[*?[]/.test(path)) out.left.push({ what: path, reason: 'a pattern, not a path' });
    else out.add({ path: absolute(path.replace(/\\([*?[\]{}\\])/g, '$1')) });
  }
  return out.list();
}

/** nydusify optimize: `{"version":"v1","files":[{"path","ranges":[[offset,size]]}]}`. */
export function parseNydus(text: string, where: string): WantedList {
  const { version, files } = json(text, where) as { version?: unknown; files?: unknown };
  if (version !== 'v1' || !Array.isArray(files)) throw wrong(where, 'is no nydus list of version v1');
  const out = new Gathering();
  for (const [i, file] of files.entries()) {
    const { path, ranges } = (file ?? {}) as { path?: unknown; ranges?: unknown };
    if (typeof path !== 'string') throw wrong(`${where}: files[${i}]`, 'has no "path"');
    if (ranges !== undefined && !isRanges(ranges))
      throw wrong(`${where}: files[${i}]`, 'has ranges that are not [offset, size]');
    out.add({ path: absolute(path), ...(ranges ? { ranges } : {}) });
  }
  return out.list();
}

function isRanges(value: unknown): value is [number, number][] {
  const natural = (n: unknown) => Number.isSafeInteger(n) && (n as number) >= 0;
  return Array.isArray(value) && value.every((r) => Array.isArray(r) && r.length === 2 && r.every(natural));
}

/** SOCI: a JSON array of paths. */
export function parseSoci(text: string, where: string): WantedList {
  const value = json(text, where);
  if (!Array.isArray(value) || !value.every((path) => typeof path === 'string'))
    throw wrong(where, 'is no array of paths');
  const out = new Gathering();
  for (const path of value as string[]) out.add({ path: absolute(path) });
  return out.list();
}

/** nydus optimizer: CSV with the header path,size,elapsed (µs; a readable file says "1.2ms"), or the server's JSON lines. */
export function parseNydusTrace(text: string, where: string): WantedList {
  const out = new Gathering();
  if (text.trimStart().startsWith('{')) {
    for (const [value, at] of jsonLines(text, where)) {
      const { path, elapsed } = value as { path?: unknown; elapsed?: unknown };
      if (typeof path !== 'string') throw wrong(at, 'has no "path"');
      out.add({ path: absolute(path), ...(typeof elapsed === 'number' ? { t: elapsed * 1000 } : {}) });
    }
    return out.list();
  }
  for (const [i, line] of text.split('\n').entries()) {
    if (i === 0 || line.trim() === '') continue;
    // The last two columns have no commas; encoding/csv quotes a path that needs it.
    const match = /^(?:"((?:[^"]|"")*)"|(.*)),([^,]*),([^,]*?)\r?$/.exec(line);
    if (!match) throw wrong(`${where}: line ${i + 1}`, 'is not path,size,elapsed');
    const [, quoted, plain, , elapsed] = match;
    const path = quoted === undefined ? plain! : quoted.replaceAll('""', '"');
    out.add({ path: absolute(path), ...(/^\d+$/.test(elapsed!) ? { t: Number(elapsed) * 1000 } : {}) });
  }
  return out.list();
}

/** The stargz snapshotter's log with log_file_access: `file accessed: /path`, as JSON or as key=value lines. */
export function parseStargzLog(text: string): WantedList {
  const out = new Gathering();
  for (const line of text.split('\n')) {
    const quoted = /"msg":"file accessed: ((?:[^"\\]|\\.)*)"|msg="file accessed: ((?:[^"\\]|\\.)*)"/.exec(line);
    const escaped = quoted?.[1] ?? quoted?.[2];
    if (escaped === undefined) continue;
    try {
      out.add({ path: absolute(JSON.parse(`"${escaped.replace(/\\x([0-9a-f]{2})/gi, '\\udc$1')}"`) as string) });
    } catch {
      out.left.push({ what: line.slice(0, 200), reason: 'an escape that is not known' });
    }
  }
  return out.list();
}

/** fatrace 0.17: `comm(pid): RO   /path`, perhaps after a time; R and O are read and open. What was written is no input. */
export function parseFatrace(text: string): WantedList {
  const out = new Gathering();
  for (const line of text.split('\n')) {
    const match = /\(\d+\)(?: \[[^\]]*\])?: +([RWOC+D<>]+) +(\/.*)$/.exec(line);
    if (match && /R|^[^W]*O[^W]*$/.test(match[1]!)) out.add({ path: match[2]! });
  }
  return out.list();
}

/** slim's creport.json: files that its monitors saw read or executed, in the order of their first event. */
export function parseCreport(text: string, where: string): WantedList {
  const report = json(text, where) as {
    monitors?: {
      fan?: { process_files?: Record<string, Record<string, { first_eid?: number; reads?: number; execs?: number }>> };
    };
    image?: { files?: { file_path?: unknown; file_type?: unknown; flags?: Record<string, boolean> }[] };
  };
  const out = new Gathering();
  const seen = Object.values(report.monitors?.fan?.process_files ?? {}).flatMap((files) => Object.entries(files));
  seen.sort(([a, x], [b, y]) => (x.first_eid ?? 0) - (y.first_eid ?? 0) || (a < b ? -1 : 1));
  for (const [path, { reads = 0, execs = 0 }] of seen) {
    if (reads + execs > 0) out.add({ path: absolute(path), ...(execs > 0 ? { executed: true } : {}) });
  }
  // Of a run without fanotify: what ptrace saw, in no order.
  if (seen.length === 0) {
    for (const { file_path: path, file_type: type, flags } of report.image?.files ?? []) {
      if (typeof path !== 'string' || type !== 'File' || (flags && !flags.R && !flags.X)) continue;
      out.add({ path: absolute(path), ...(flags?.X ? { executed: true } : {}) });
    }
  }
  return out.list();
}

function json(text: string, where: string): unknown {
  try {
    const value = JSON.parse(text) as unknown;
    if (typeof value === 'object' && value !== null) return value;
  } catch (cause) {
    throw new HotlayerError('HL_ERR_DATA', `${where}: not JSON: ${(cause as Error).message}`, { cause });
  }
  throw wrong(where, 'is neither an object nor an array');
}

function* jsonLines(text: string, where: string): Generator<[value: unknown, at: string]> {
  for (const [i, line] of text.split('\n').entries()) {
    const at = `${where}: line ${i + 1}`;
    if (line.trim() !== '') yield [json(line, at), at];
  }
}

function wrong(where: string, what: string): HotlayerError {
  return new HotlayerError('HL_ERR_DATA', `${where} ${what}`);
}
