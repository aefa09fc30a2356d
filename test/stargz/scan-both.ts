// Scans a tar with both scanners, asserts that they agree whatever the chunks are, and that every byte belongs to
// exactly one entry or global header.
import assert from 'node:assert/strict';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { copyEntry, type TarEntry } from '../../src/stargz/tar/entry.js';
import { readPayload, scanTarFd, type TarLimits, type TarScan, TarScanner } from '../../src/stargz/tar/scan.js';
import { testDir } from '../support/temp.js';

export const WHERE = { image: 'oci:./app', layer: 'sha256:feed' };

/** A small seeded generator (mulberry32): numbers in 0 … 1. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Pushes copies that are overwritten afterwards, so that a scanner that keeps a view of them is found out. */
export function scanByPush(tar: Buffer, chunkSize: () => number, limits: TarLimits = {}): TarScan {
  const scanner = new TarScanner(WHERE, limits);
  for (let at = 0; at < tar.length; ) {
    const chunk = Buffer.from(tar.subarray(at, at + Math.max(1, chunkSize())));
    at += chunk.length;
    scanner.push(chunk);
    chunk.fill(0xee);
  }
  return scanner.end();
}

/** Entries as objects of their own: what is compared is what they say, not how they are kept. */
function plain(scan: TarScan): TarScan {
  return { ...scan, entries: scan.entries.map((entry) => copyEntry(entry)) };
}

export interface Scanned {
  readonly fd: number;
  readonly scan: TarScan;
  /** The entry of that path (as `entry.path`). */
  at(path: string): TarEntry;
  /** Its content, read in one piece. */
  content(entry: TarEntry): Buffer;
}

export function scanBoth(t: TestContext, tar: Buffer, next: () => number = random(1)): Scanned {
  const path = join(testDir(t), 'layer.tar');
  writeFileSync(path, tar);
  const fd = openSync(path, 'r');
  t.after(() => closeSync(fd));
  const scan = scanTarFd(fd, tar.length, WHERE);
  const sizes = [() => 513, () => 512 * 7, () => Math.ceil(next() * 3000), () => tar.length];
  if (tar.length < 32 * 1024) sizes.push(() => 1);
  for (const size of sizes) assert.deepEqual(plain(scanByPush(tar, size)), plain(scan));
  assertPartition(scan, tar.length);
  return {
    fd,
    scan,
    at(path) {
      const found = scan.entries.find((entry) => entry.path === path);
      assert.ok(found, `no entry ${path}`);
      return found;
    },
    content(entry) {
      const bytes = Buffer.alloc(entry.size + 7, 0xee);
      assert.equal(readPayload(fd, entry, 0, bytes), entry.size);
      return bytes.subarray(0, entry.size);
    },
  };
}

/** Entries and globals lie side by side from 0 to the end-of-archive blocks. */
export function assertPartition(scan: TarScan, size: number): void {
  const ranges = [...scan.entries, ...scan.globals].sort((a, b) => a.headerOffset - b.headerOffset);
  let at = 0;
  for (const { headerOffset, end } of ranges) {
    assert.equal(headerOffset, at);
    assert.ok(end > at);
    at = end;
  }
  assert.equal(at, scan.end);
  assert.equal(scan.size, size);
  for (const [i, entry] of scan.entries.entries()) {
    assert.equal(entry.index, i);
    assert.ok(entry.payloadOffset >= entry.headerOffset + 512);
    assert.ok(entry.payloadOffset + entry.payloadSize <= entry.end);
  }
  for (const { firstEntry, end } of scan.globals) {
    const ruled = scan.entries[firstEntry];
    if (ruled) assert.ok(ruled.headerOffset >= end);
    const before = scan.entries[firstEntry - 1];
    if (before) assert.ok(before.headerOffset < end);
  }
}
