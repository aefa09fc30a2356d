// The TOC against the tar beside it: a lazy client sees the one, everybody else the other, and both must show the
// same files. Also every chunk: that its member is where the TOC says, and holds what the digest says.
import { createHash } from 'node:crypto';
import { HotlayerError } from '../../errors.js';
import { isUtf8Path, pathToBytes } from '../../paths.js';
import type { TarEntry, TarTime } from '../../stargz/tar/entry.js';
import { digest, hashContent, readRange } from '../inspect/content.js';
import type { Member } from '../inspect/members.js';
import { effectivePositions } from '../order.js';
import type { Findings } from './findings.js';
import type { TocField, TocItem } from './toc-document.js';

export interface TocCheck {
  readonly layer: number;
  /** The uncompressed tar, and its entries without the TOC's. */
  readonly fd: number;
  readonly entries: readonly TarEntry[];
  /** Throws HL_ERR_STARGZ where the TOC cannot be read on. */
  readonly items: Iterable<TocItem>;
  readonly members: readonly Member[];
  /** sha256 of regular files by `TarEntry.index`; filled in. */
  readonly digests: (string | undefined)[];
}

export interface TocCounts {
  chunks: number;
  bytes: number;
}

/**
 * Adds every difference to `findings`.
 * @returns chunks and bytes whose digests were recomputed
 */
export function checkToc(input: TocCheck, findings: Findings): TocCounts {
  const { layer } = input;
  // A client keys what it reads by name, so of several entries of one name the TOC has the one that counts.
  const effective = effectivePositions(input.entries);
  const entries = input.entries.filter((entry, i) => effective.get(entry.path) === i);
  const memberAt = new Map(input.members.map((member) => [member.start, member]));
  const counts: TocCounts = { chunks: 0, bytes: 0 };
  const users = new Map<number, string>();
  const groups = new Map<number, string>();
  let lastOffset = -1;
  const check = (entry: TarEntry, item: TocItem) => {
    checkFields(layer, entry, item.entry, users, groups, findings);
    if (entry.type !== 'reg') {
      checkNoData(layer, entry, item, findings);
      return;
    }
    for (const chunk of entry.size > 0 ? [item.entry, ...item.chunks] : []) {
      const offset = chunk.offset;
      if (offset === undefined) continue;
      if (offset < lastOffset || (offset === lastOffset && chunk.innerOffset === 0)) {
        fail(findings, layer, entry, 'TOC offsets do not increase', `more than ${lastOffset}`, offset);
      }
      lastOffset = Math.max(lastOffset, offset);
    }
    input.digests[entry.index] = checkContent(input, entry, item, memberAt, counts, findings);
  };
  let i = 0;
  try {
    for (const item of input.items) {
      const entry = entries[i];
      if (entry) check(entry, item);
      else {
        findings.fail('estargz', {
          layer,
          entry: item.entry.name,
          message: 'the TOC has an entry that the tar has not',
          expected: 'none',
          found: `${item.entry.type} ${item.entry.name}`,
        });
      }
      i += 1;
    }
  } catch (error) {
    if (!(error instanceof HotlayerError) || error.code !== 'HL_ERR_STARGZ') throw error;
    unreadable(layer, error, findings);
    return counts;
  }
  for (const entry of entries.slice(i)) {
    fail(findings, layer, entry, 'the TOC has no entry for a file of the tar', 'an entry', 'none');
  }
  return counts;
}

export function unreadable(layer: number, error: HotlayerError, findings: Findings): void {
  findings.fail('estargz', {
    layer,
    message: 'the TOC can be read',
    expected: 'entries with fields of the right types',
    found: error.message,
  });
}

function fail(
  findings: Findings,
  layer: number,
  entry: TarEntry,
  message: string,
  expected: unknown,
  found: unknown,
): void {
  findings.fail('estargz', {
    layer,
    entry: entry.name,
    message,
    expected: String(expected),
    found: String(found),
  });
}

function checkFields(
  layer: number,
  entry: TarEntry,
  toc: TocField,
  users: Map<number, string>,
  groups: Map<number, string>,
  findings: Findings,
): void {
  const same = (field: string, expected: unknown, found: unknown) =>
    findings.same('estargz', expected, found, { layer, entry: entry.name, message: `TOC ${field} is not the tar's` });
  if (!sameText(entry.name, toc.name)) same('name', entry.name, toc.name);
  same('type', entry.type, toc.type);
  same('size', entry.type === 'reg' ? entry.size : 0, toc.size);
  same('mode', entry.mode, toc.mode);
  same('uid', entry.uid, toc.uid);
  same('gid', entry.gid, toc.gid);
  checkOwnerName('userName', entry.uname, toc.userName, entry.uid, users, same);
  checkOwnerName('groupName', entry.gname, toc.groupName, entry.gid, groups, same);
  if (!sameText(entry.linkName, toc.linkName)) same('linkName', entry.linkName, toc.linkName);
  const device = entry.type === 'char' || entry.type === 'block';
  same('devMajor', device ? entry.devMajor : 0, toc.devMajor);
  same('devMinor', device ? entry.devMinor : 0, toc.devMinor);
  if (!sameTime(entry.mtime, toc.modtime))
    same('modtime', `${entry.mtime.sec}.${pad9(entry.mtime.nsec)} s`, toc.modtime);
  const want = Object.fromEntries([...(entry.xattrs ?? [])].map(([k, v]) => [k, v.toString('base64')]));
  for (const name of new Set([...Object.keys(want), ...Object.keys(toc.xattrs)])) {
    if (isUtf8Path(name)) same(`xattr ${name}`, want[name], toc.xattrs[name]);
  }
}

/** A name is written only when it changes for its id, so an empty one after another cannot be said in a TOC. */
function checkOwnerName(
  field: string,
  expected: string,
  found: string | undefined,
  id: number,
  last: Map<number, string>,
  same: (field: string, expected: unknown, found: unknown) => void,
): void {
  if (found !== undefined) last.set(id, found);
  if (expected === '' && found === undefined) return;
  const effective = last.get(id) ?? '';
  if (!sameText(expected, effective)) same(field, expected, effective);
}

/**
 * JSON holds bytes that are not UTF-8 as escaped lone surrogates at best; from other writers they read as U+FFFD, how
 * many of them differs.
 */
function sameText(tar: string, toc: string): boolean {
  if (tar === toc) return true;
  if (isUtf8Path(tar)) return false;
  const squeeze = (text: string) => text.replace(/\ufffd+/g, '\ufffd');
  return squeeze(pathToBytes(tar).toString('utf8')) === squeeze(toc);
}

function pad9(nsec: number): string {
  return String(nsec).padStart(9, '0');
}

/** Years 0000 and 9999: what RFC 3339 can write. */
const FIRST_SECOND = -62_167_219_200;
const LAST_SECOND = 253_402_300_799;

/** The TOC has whole seconds, halves rounded up; nothing at all stands for the epoch and for years it cannot write. */
function sameTime(mtime: TarTime, modtime: string): boolean {
  const rounded = mtime.sec + (mtime.nsec >= 500_000_000 ? 1 : 0);
  if (modtime === '') return mtime.sec === 0 || rounded === 0 || rounded < FIRST_SECOND || rounded >= LAST_SECOND;
  const match = /^(-?\d{4,})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z$/.exec(modtime);
  if (!match) return false;
  const [year, month, day, hour, minute, second] = match.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const days = new Date(0).setUTCFullYear(year, month - 1, day) / 1000;
  return days + hour * 3600 + minute * 60 + second === rounded;
}

function checkNoData(layer: number, entry: TarEntry, item: TocItem, findings: Findings): void {
  const { offset, digest: sum, chunkDigest } = item.entry;
  if (offset !== undefined || sum !== '' || chunkDigest !== '' || item.chunks.length > 0) {
    fail(findings, layer, entry, `a ${entry.type} has data in the TOC`, 'no offset, digest or chunk', 'some');
  }
}

/** Hashes the file once, whole and chunk by chunk. @returns the file's digest */
function checkContent(
  { layer, fd }: TocCheck,
  entry: TarEntry,
  item: TocItem,
  memberAt: ReadonlyMap<number, Member>,
  counts: TocCounts,
  findings: Findings,
): string {
  if (entry.sparse) {
    fail(
      findings,
      layer,
      entry,
      'a sparse file is stored with holes, which a TOC cannot say',
      'all of its bytes',
      'a map',
    );
    return hashContent(fd, entry);
  }
  const chunks = entry.size > 0 ? [item.entry, ...item.chunks] : [];
  if (entry.size === 0 && (item.entry.offset !== undefined || item.chunks.length > 0)) {
    fail(findings, layer, entry, 'an empty file has data in the TOC', 'no offset and no chunk', 'some');
  }
  // A file of one chunk is hashed once.
  const alone = chunks.length === 1;
  const whole = createHash('sha256');
  let only: string | undefined;
  let at = 0;
  chunks.forEach((chunk, k) => {
    const what = `chunk ${k + 1} of ${chunks.length}`;
    if (chunk.chunkOffset !== at) {
      fail(findings, layer, entry, `${what} is not where the one before ends`, at, chunk.chunkOffset);
      return;
    }
    const left = entry.size - at;
    const length = chunk.chunkSize > 0 ? chunk.chunkSize : left;
    if (left === 0 || length > left || chunk.chunkSize < 0) {
      fail(findings, layer, entry, `${what} ends beyond the file`, `at most ${left} bytes`, chunk.chunkSize);
      return;
    }
    checkMember(layer, entry, what, chunk, length, memberAt, findings);
    const part = createHash('sha256');
    readRange(fd, entry.payloadOffset + at, length, (piece) => {
      part.update(piece);
      if (!alone) whole.update(piece);
    });
    at += length;
    counts.chunks += 1;
    counts.bytes += length;
    const found = digest(part);
    if (alone) only = found;
    if (chunk.chunkDigest !== found) {
      fail(
        findings,
        layer,
        entry,
        `chunk digest of ${what} is not that of its bytes`,
        found,
        chunk.chunkDigest || 'absent',
      );
    }
  });
  if (at < entry.size) {
    fail(findings, layer, entry, 'the chunks do not cover the file', `${entry.size} bytes`, `${at} bytes`);
  }
  const sum = at < entry.size ? hashContent(fd, entry) : (only ?? digest(whole));
  if (item.entry.digest !== sum) {
    fail(findings, layer, entry, 'TOC digest of the file is not that of its bytes', sum, item.entry.digest || 'absent');
  }
  return sum;
}

/** The chunk must be what comes out of the member at `offset`, from its first byte on. */
function checkMember(
  layer: number,
  entry: TarEntry,
  what: string,
  chunk: TocField,
  length: number,
  memberAt: ReadonlyMap<number, Member>,
  findings: Findings,
): void {
  if (chunk.offset === undefined) {
    fail(findings, layer, entry, `${what} has no offset in the TOC`, 'an offset', 'absent');
    return;
  }
  const member = memberAt.get(chunk.offset);
  if (!member) {
    fail(findings, layer, entry, `${what}: no gzip member starts at its offset`, 'a member', chunk.offset);
    return;
  }
  const at = entry.payloadOffset + chunk.chunkOffset;
  if (member.outStart + chunk.innerOffset !== at) {
    fail(
      findings,
      layer,
      entry,
      `${what}: the member at its offset holds other bytes of the tar`,
      `from ${at}`,
      `from ${member.outStart + chunk.innerOffset}`,
    );
  } else if (chunk.innerOffset + length > member.outLength) {
    fail(
      findings,
      layer,
      entry,
      `${what}: the member at its offset ends too early`,
      `${length} bytes`,
      `${member.outLength - chunk.innerOffset} bytes`,
    );
  }
}
