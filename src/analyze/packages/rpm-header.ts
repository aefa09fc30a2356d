// A package as rpm's databases store it: a header without magic number. Big-endian: number of entries, bytes of data,
// entries of 16 bytes (tag, type, offset, count), data. (rpm, docs/manual/format_header.md, include/rpm/rpmtag.h)
import { bytesToPath } from '../../paths.js';
import type { Package } from './types.js';

const TAG = {
  name: 1000,
  version: 1001,
  release: 1002,
  epoch: 1003,
  architecture: 1022,
  dirIndexes: 1116,
  baseNames: 1117,
  dirNames: 1118,
} as const;

const INT32 = 4;
const STRING = 6;
const STRING_ARRAY = 8;
const I18N_STRING = 9;

/** More entries or data are refused, as by rpm itself (lib/header.c: hdrchkTags, hdrchkData). */
const MAX_ENTRIES = 0xffff;
const MAX_DATA = 0x0fff_ffff;

export interface RpmPackage {
  readonly owner: Package;
  readonly files: readonly string[];
}

/** @throws Error when it is not a header */
export function parseRpmHeader(blob: Buffer): RpmPackage {
  const count = blob.readUInt32BE(0);
  const length = blob.readUInt32BE(4);
  const start = 8 + 16 * count;
  if (count > MAX_ENTRIES || length > MAX_DATA || start + length > blob.length) {
    throw new Error(`a header of ${count} entries and ${length} bytes in ${blob.length}`);
  }
  const data = blob.subarray(start, start + length);
  const entries = new Map<number, { type: number; offset: number; count: number }>();
  for (let i = 0; i < count; i++) {
    const at = 8 + 16 * i;
    entries.set(blob.readUInt32BE(at), {
      type: blob.readUInt32BE(at + 4),
      offset: blob.readUInt32BE(at + 8),
      count: blob.readUInt32BE(at + 12),
    });
  }
  const strings = (tag: number): string[] => {
    const entry = entries.get(tag);
    if (!entry || ![STRING, STRING_ARRAY, I18N_STRING].includes(entry.type)) return [];
    const out: string[] = [];
    for (let at = entry.offset; out.length < entry.count; ) {
      const end = data.indexOf(0, at);
      if (end < 0) throw new Error(`tag ${tag}: a string without end`);
      out.push(bytesToPath(data.subarray(at, end)));
      at = end + 1;
    }
    return out;
  };
  const numbers = (tag: number): number[] => {
    const entry = entries.get(tag);
    if (entry?.type !== INT32) return [];
    return Array.from({ length: entry.count }, (_, i) => data.readUInt32BE(entry.offset + 4 * i));
  };
  const directories = strings(TAG.dirNames);
  const indexes = numbers(TAG.dirIndexes);
  const epoch = numbers(TAG.epoch)[0];
  const version = `${strings(TAG.version)[0] ?? ''}-${strings(TAG.release)[0] ?? ''}`;
  const architecture = strings(TAG.architecture)[0];
  return {
    owner: {
      kind: 'rpm',
      name: strings(TAG.name)[0] ?? '',
      version: epoch === undefined ? version : `${epoch}:${version}`,
      ...(architecture ? { architecture } : undefined),
    },
    // Directories end with a slash.
    files: strings(TAG.baseNames).map((name, i) => `${directories[indexes[i] ?? 0] ?? '/'}${name}`),
  };
}
