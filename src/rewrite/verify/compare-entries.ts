// The entries of a layer before and after, matched by name, header bytes against header bytes and content against
// content. What may differ (sparse files made whole, links made copies) is checked for meaning the same, and listed.
import { showPath } from '../../paths.js';
import { copyEntry, type TarEntry } from '../../stargz/tar/entry.js';
import { hashContent, hashRange, readBytes } from '../inspect/content.js';
import type { LinkSource } from '../links.js';
import { fieldDifferences } from './fields.js';
import type { CheckId, Findings } from './findings.js';
import type { Ruling } from './ruling.js';

/** One side: entries without landmarks and TOC. */
export interface Side {
  /** The uncompressed tar. */
  readonly fd: number;
  readonly entries: readonly TarEntry[];
  /** sha256 of regular files' logical bytes, by `TarEntry.index`; filled in as they are computed. */
  readonly digests: (string | undefined)[];
  readonly ruling: Ruling;
}

export interface CompareInput {
  readonly layer: number;
  readonly before: Side;
  readonly after: Side;
  /** Links of the original that have to be copies, by position in `before.entries`. */
  readonly copies: ReadonlyMap<number, LinkSource>;
  /** Content digest of an entry of another layer of the original. */
  readonly digestOf: (source: LinkSource) => string;
  /** Called with the bytes hashed since the last call. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
}

export function contentDigest(side: Side, entry: TarEntry): string {
  side.digests[entry.index] ??= hashContent(side.fd, entry);
  return side.digests[entry.index]!;
}

/** Adds every difference to `findings`. */
export function compareEntries(input: CompareInput, findings: Findings): void {
  const { layer, before, after } = input;
  const later = new Map<string, TarEntry[]>();
  for (const entry of after.entries) {
    const list = later.get(entry.path);
    if (list) list.push(entry);
    else later.set(entry.path, [entry]);
  }
  const used = new Map<string, number>();
  before.entries.forEach((entry, i) => {
    // Entries of one name keep their order, as the last of them is the one that counts.
    const nth = used.get(entry.path) ?? 0;
    used.set(entry.path, nth + 1);
    const other = later.get(entry.path)?.[nth];
    if (!other) {
      findings.fail('files', {
        layer,
        entry: entry.name,
        message: 'an entry of the original is missing',
        expected: entry.type,
        found: 'none',
      });
      return;
    }
    comparePair(input, i, entry, other, findings);
    input.onBytes?.(entry.size);
  });
  for (const [path, list] of later) {
    for (const entry of list.slice(used.get(path) ?? 0)) {
      findings.fail('files', {
        layer,
        entry: entry.name,
        message: 'the original has no such entry',
        expected: 'none',
        found: entry.type,
      });
    }
  }
}

function comparePair(input: CompareInput, i: number, a: TarEntry, b: TarEntry, findings: Findings): void {
  const { layer, before, after } = input;
  const source = input.copies.get(i);
  if (source && a.type === 'hardlink' && b.type !== 'hardlink') {
    compareCopy(input, source, a, b, findings);
    return;
  }
  findings.same('files', before.ruling(a.index), after.ruling(b.index), {
    layer,
    entry: a.name,
    message: 'global PAX records in force differ',
  });
  const headerA = readBytes(before.fd, a.headerOffset, a.payloadOffset - a.headerOffset);
  const headerB = readBytes(after.fd, b.headerOffset, b.payloadOffset - b.headerOffset);
  const differences = fieldDifferences(a, b);
  for (const { field, expected, found } of differences) {
    findings.fail('files', { layer, entry: a.name, message: `${field} differs`, ...sides(expected, found) });
  }
  const expanded = a.sparse !== undefined && b.sparse === undefined;
  if (!headerA.equals(headerB)) {
    if (expanded && differences.length === 0) {
      findings.accept({
        layer,
        entry: a.name,
        kind: 'sparse-expanded',
        message: `a sparse file of ${a.size} bytes is stored with its holes as zeros`,
      });
    } else if (differences.length === 0) {
      const at = firstDifference(headerA, headerB);
      findings.fail('files', {
        layer,
        entry: a.name,
        message: `header bytes differ (${headerA.length} and ${headerB.length} bytes), first at ${at}`,
        expected: headerA.toString('hex', at, at + 16),
        found: headerB.toString('hex', at, at + 16),
      });
    }
  }
  if (a.type !== b.type) return;
  if (a.type === 'reg') {
    sameDigest(findings, 'content', layer, a, contentDigest(before, a), contentDigest(after, b));
  } else if (a.payloadSize > 0 || b.payloadSize > 0) {
    // Only odd tars have data in a directory or link; it is part of the layer all the same.
    const one = hashRange(before.fd, a.payloadOffset, a.payloadSize);
    const two = hashRange(after.fd, b.payloadOffset, b.payloadSize);
    sameDigest(findings, 'content', layer, a, one, two);
  }
}

/** A link whose target is elsewhere: its copy must be the target in everything but the name. */
function compareCopy(input: CompareInput, source: LinkSource, a: TarEntry, b: TarEntry, findings: Findings): void {
  const { layer, after } = input;
  const target = source.entry;
  const expected = copyEntry(target, { name: a.name, path: a.path });
  const differences = fieldDifferences(expected, b);
  for (const { field, expected: want, found } of differences) {
    findings.fail('files', {
      layer,
      entry: a.name,
      message: `${field} of the copy is not that of "${showPath(target.name)}" in layer ${source.layer}`,
      ...sides(want, found),
    });
  }
  if (target.type === 'reg' && b.type === 'reg') {
    sameDigest(findings, 'content', layer, a, input.digestOf(source), contentDigest(after, b));
  }
  findings.accept({
    layer,
    entry: a.name,
    kind: 'hardlink-copied',
    message: `a hardlink to "${showPath(a.linkName)}", which this layer does not have as the link's target, is a copy of it`,
  });
}

function sameDigest(
  findings: Findings,
  check: CheckId,
  layer: number,
  entry: TarEntry,
  expected: string,
  found: string,
): void {
  if (expected !== found)
    findings.fail(check, { layer, entry: entry.name, message: 'content differs', expected, found });
}

function sides(expected: string | undefined, found: string | undefined): { expected: string; found: string } {
  return { expected: expected ?? 'absent', found: found ?? 'absent' };
}

function firstDifference(a: Buffer, b: Buffer): number {
  let i = 0;
  while (i < a.length && i < b.length && a[i] === b[i]) i++;
  return i;
}
