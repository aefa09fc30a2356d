// Files of two profiles, one by one. What differs by no more than runs differ is not a change.
import { comparePaths } from '../../paths.js';
import type { Nanos } from '../../units.js';
import type { ProfileFile, Spread } from '../types.js';
import { ALPHA, rankTest } from './noise.js';
import { CHANGE_KINDS, type ChangeKind, type DiffSide, type FileChange } from './types.js';

/** A file that is asked for less than this later or earlier has not moved. */
export const MIN_SHIFT: Nanos = 10e6;

export interface ChangeOptions {
  /** See compareRuns. Over many files at once, it is the share of false ones among those that come and go. */
  readonly alpha?: number;
  readonly minShift?: Nanos;
}

/** Only regular files count; a directory that is listed costs a lazy start nothing. */
export function isHot(file: ProfileFile | undefined): file is ProfileFile {
  return file !== undefined && file.type === 'reg' && file.openedIn > 0;
}

export function fileChanges(
  before: DiffSide,
  after: DiffSide,
  { alpha = ALPHA, minShift = MIN_SHIFT }: ChangeOptions = {},
): { readonly changes: FileChange[]; readonly unsure: number } {
  const old = new Map(before.files.map((file) => [file.path, file]));
  const now = new Map(after.files.map((file) => [file.path, file]));
  const [n, m] = [before.runs.length, after.runs.length];
  const timed = [before, after].every(({ runs }) => runs.every(({ imported }) => imported === undefined));
  const changes: FileChange[] = [];
  const rates: { readonly path: string; readonly p: number }[] = [];

  const describe = (kind: ChangeKind, path: string, shift?: Nanos): FileChange => {
    const [a, b] = [old.get(path), now.get(path)];
    const [file, side] = kind === 'cold' ? [a!, before] : [b!, after];
    const step = file.layer === undefined ? undefined : side.image.layers?.[file.layer]?.createdBy;
    const [from, to] = [isHot(a) ? a : undefined, isHot(b) ? b : undefined];
    const still = kind === 'later' || kind === 'earlier';
    return {
      kind,
      path,
      bytes: still ? 0 : (to?.bytesRead.median ?? 0) - (from?.bytesRead.median ?? 0),
      size: (to?.size ?? 0) - (from?.size ?? 0),
      ...(timed ? { first: file.firstAccess.median } : undefined),
      ...(shift === undefined ? undefined : { shift }),
      ...(file.package === undefined ? undefined : { package: file.package }),
      ...(step === undefined ? undefined : { step }),
      comms: file.comms,
    };
  };

  for (const path of new Set([...old.keys(), ...now.keys()])) {
    const [a, b] = [old.get(path), now.get(path)];
    const [k, l] = [isHot(a) ? a.openedIn : 0, isHot(b) ? b.openedIn : 0];
    if (k === 0 && l === 0) continue;
    if (k === 0 && l === m) changes.push(describe('hot', path));
    else if (l === 0 && k === n) changes.push(describe('cold', path));
    else if (k * m !== l * n) rates.push({ path, p: shareP(k, n, l, m) });
    if (!isHot(a) || !isHot(b)) continue;
    const grown = grows(a, b);
    if (grown !== 0) changes.push(describe(grown > 0 ? 'bigger' : 'smaller', path));
    const shift = b.firstAccess.median - a.firstAccess.median;
    const moved = timed && n > 1 && m > 1 && k === n && l === m && order(a.firstAccess, b.firstAccess) !== 0;
    if (moved && Math.abs(shift) >= minShift) changes.push(describe(shift > 0 ? 'later' : 'earlier', path, shift));
  }
  const sure = benjaminiHochberg(rates, alpha);
  for (const { path } of sure) {
    const more = (now.get(path)?.openedIn ?? 0) * n > (old.get(path)?.openedIn ?? 0) * m;
    changes.push(describe(more ? 'hot' : 'cold', path));
  }
  changes.sort((x, y) => rankOf(x.kind) - rankOf(y.kind) || comparePaths(x.path, y.path));
  return { changes, unsure: rates.length - sure.length };
}

function rankOf(kind: ChangeKind): number {
  return CHANGE_KINDS.indexOf(kind);
}

/** Bytes read decide; where they are the same, the size. 1: grew, -1: shrank, 0: neither, or within the noise. */
function grows(a: ProfileFile, b: ProfileFile): number {
  const read = order(a.bytesRead, b.bytesRead);
  if (read !== 0) return read;
  return a.bytesRead.median === b.bytesRead.median ? Math.sign(b.size - a.size) : 0;
}

/** 1: all of b is above all of a; -1: below; 0: they overlap. */
function order(a: Spread, b: Spread): number {
  if (b.min > a.max) return 1;
  return b.max < a.min ? -1 : 0;
}

const memo = new Map<string, number>();

/** p of "opened in k of n runs, then in l of m". */
function shareP(k: number, n: number, l: number, m: number): number {
  const key = `${k}/${n} ${l}/${m}`;
  let p = memo.get(key);
  if (p === undefined) {
    const values = (ones: number, all: number) => Array.from({ length: all }, (_, i) => (i < ones ? 1 : 0));
    p = rankTest(values(k, n), values(l, m));
    memo.set(key, p);
  }
  return p;
}

/** Benjamini & Hochberg (1995): of the tests passed, at most the part `alpha` is expected to be by chance. */
function benjaminiHochberg<T extends { readonly p: number; readonly path: string }>(tests: T[], alpha: number): T[] {
  const sorted = [...tests].sort((x, y) => x.p - y.p || comparePaths(x.path, y.path));
  let passed = 0;
  for (const [i, { p }] of sorted.entries()) if (p <= (alpha * (i + 1)) / sorted.length) passed = i + 1;
  return sorted.slice(0, passed);
}
