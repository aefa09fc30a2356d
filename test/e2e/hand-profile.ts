// A profile without a run, for tests of what is made of one: each file opened and read whole in the one run there was.
import { PROFILE_SCHEMA, type Profile } from '../../src/analyze/types.js';
import type { Platform } from '../../src/image/types.js';
import { BLANK_RUN } from '../analyze/support.js';

/** Path, index of the layer, bytes; in the order in which they were read. */
export type HandRead = readonly [path: string, layer: number, size: number];

export function handProfile(
  image: { readonly reference: string; readonly digest: string },
  platform: Platform,
  reads: readonly HandRead[],
): Profile {
  const flat = (value: number) => ({ median: value, mad: 0, min: value, max: value });
  const bytes = reads.reduce((sum, [, , size]) => sum + size, 0);
  return {
    schemaVersion: PROFILE_SCHEMA,
    tool: 'test 1.0.0',
    image: { ...image, files: reads.length, bytes },
    platform,
    workload: { args: ['/app/main'], user: 'root', cwd: '/' },
    precision: 'exact',
    until: ['exit'],
    complete: true,
    runs: [{ ...BLANK_RUN, events: 9, endedAt: 9_000, filesRead: reads.length, bytesRead: bytes }],
    agreement: { runs: 0, files: 1, bytes: 1 },
    outliers: [],
    modes: [],
    advice: { undecided: 0, moreRuns: 0, settles: 0 },
    files: reads
      .map(([path, layer, size], i) => ({
        path,
        type: 'reg' as const,
        layer,
        size,
        seenIn: 1,
        openedIn: 1,
        probability: { estimate: 1, low: 0.206549, high: 1 },
        firstAccess: flat(i + 1),
        bytesRead: flat(size),
        reads: 1,
        ranges: [[0, size, 1]] as const,
        comms: ['main'],
      }))
      .sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path))),
    misses: { total: 0, directories: [] },
  };
}
