// strace -f -y [-ttt] → wanted files: opens, executions, reads and maps that worked. Maps count as read, for the trace
// does not say which of their pages were; times are known with -ttt or -r only.
import { bytesToPath } from '../paths.js';
import { absolute, Gathering } from './import-lists.js';
import type { WantedList } from './types.js';

export function parseStrace(text: string): WantedList {
  const out = new Gathering();
  const unfinished = new Map<string, string>();
  /** By descriptor and path, the place of the next read. */
  const positions = new Map<string, number>();
  let start: number | undefined;
  for (const line of text.split('\n')) {
    const head = /^(?:\[pid +(\d+)\] |(\d+) +)?(?:(\d+\.\d+) )?(.*)$/.exec(line)!;
    const pid = head[1] ?? head[2] ?? '';
    const seconds = head[3] === undefined ? undefined : Number(head[3]);
    if (seconds !== undefined) start ??= seconds;
    let call = head[4]!;
    const cut = /^(.*?) *<unfinished \.\.\.>$/.exec(call);
    if (cut) {
      unfinished.set(pid, cut[1]!);
      continue;
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(call);
    if (resumed) call = `${unfinished.get(pid) ?? ''}${resumed[1]}`;
    const t = seconds === undefined ? {} : { t: Math.round((seconds - start!) * 1e9) };
    addCall(out, call, t, positions);
  }
  return out.list();
}

function addCall(out: Gathering, call: string, t: { t?: number }, positions: Map<string, number>): void {
  const match = /^(\w+)\((.*)\) += (-?\d+|0x[0-9a-f]+)(?:<((?:[^>\\]|\\.)*)>)?/.exec(call);
  if (!match) return;
  const [, name, args, result, real] = match as unknown as [string, string, string, string, string | undefined];
  if (result.startsWith('-')) return;
  if (name === 'execve' || name === 'open' || name === 'openat' || name === 'openat2') {
    const path = real === undefined ? named(args) : plainOf(real);
    if (path === undefined || !path.startsWith('/') || /\bO_(DIRECTORY|WRONLY|PATH)\b/.test(args)) return;
    out.add({ path: absolute(path), ...t, ...(name === 'execve' ? { executed: true } : {}) });
    positions.set(`${result}<${real}`, 0);
    return;
  }
  const descriptor = /(?:^|, )(\d+)<((?:[^>\\]|\\.)*)>/.exec(args);
  if (!descriptor || !descriptor[2]!.startsWith('/')) return;
  const key = `${descriptor[1]}<${descriptor[2]}`;
  const path = plainOf(descriptor[2]!);
  const got = Number(result);
  const add = (offset: number, length: number): void => {
    if (length > 0) out.add({ path, ranges: [[offset, length]], ...t });
  };
  if (name === 'read') {
    const at = positions.get(key) ?? 0;
    positions.set(key, at + got);
    add(at, got);
  } else if (name === 'lseek') positions.set(key, got);
  else if (name === 'pread64' || name === 'pread') add(Number(/, (\d+)$/.exec(args)?.[1] ?? 0), got);
  else if (name === 'mmap') {
    const map = /^[^,]+, (\d+), .*, (0x[0-9a-f]+|\d+)$/.exec(args);
    if (map) add(Number(map[2]), Number(map[1]));
  }
}

/** The name in the arguments, from the directory that it is relative to. */
function named(args: string): string | undefined {
  const match = /^(?:(?:AT_FDCWD|\d+)(?:<((?:[^>\\]|\\.)*)>)?, )?"((?:[^"\\]|\\.)*)"/.exec(args);
  if (!match) return undefined;
  const name = plainOf(match[2]!);
  return name.startsWith('/') || match[1] === undefined ? name : `${plainOf(match[1])}/${name}`;
}

const ESCAPES: Record<string, number> = { n: 10, t: 9, r: 13, v: 11, f: 12, a: 7, b: 8, '"': 34, '\\': 92 };

/** C escapes, octal ones among them, to bytes. */
function plainOf(text: string): string {
  if (!text.includes('\\')) return text;
  const bytes: Buffer[] = [];
  for (const [part, octal, hex, letter] of text.matchAll(/\\([0-7]{1,3})|\\x([0-9a-f]{2})|\\(.)|[^\\]+/gs)) {
    if (octal !== undefined) bytes.push(Buffer.from([Number.parseInt(octal, 8)]));
    else if (hex !== undefined) bytes.push(Buffer.from([Number.parseInt(hex, 16)]));
    else if (letter !== undefined) bytes.push(Buffer.from([ESCAPES[letter] ?? letter.charCodeAt(0)]));
    else bytes.push(Buffer.from(part));
  }
  return bytesToPath(Buffer.concat(bytes));
}
