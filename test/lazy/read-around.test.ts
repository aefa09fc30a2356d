// What the kernel reads around a start, when it is known what that needs: refused, and nobody may see it.
import assert from 'node:assert/strict';
import { constants } from 'node:fs';
import { test } from 'node:test';
import { type Caller, ERRNO, FsError, Later } from '../../src/rootfs/types.js';
import { noise } from '../e2e/sample.js';
import { file, tarOf } from '../support/tar.js';
import { open, stargzImage } from './harness.js';

const NOBODY: Caller = { pid: 0, uid: 0, gid: 0 };
const PAGE = 4096;
const CHUNK = 65_536;

/** Two chunks of which a start needs the first; neither is here. */
test('read around a start', async (t) => {
  const reference = await stargzImage(t, [tarOf(file('big', noise(2 * CHUNK)))]);
  const reads: [says: string, [offset: number, length: number, flags?: number][], last: 'refused' | 'waits'][] = [
    ['in what is needed', [[0, CHUNK]], 'waits'],
    ['a page', [[CHUNK, PAGE]], 'waits'],
    ['around it', [[CHUNK, 4 * PAGE]], 'refused'],
    ['both chunks, of which one is needed', [[0, 2 * CHUNK]], 'refused'],
    ['past the page cache', [[CHUNK, 4 * PAGE, constants.O_DIRECT]], 'waits'],
    ['past the page cache, both', [[0, 2 * CHUNK, constants.O_DIRECT]], 'waits'],
    ...[0, 16, 28].map((page): (typeof reads)[number] => [
      `a large page ${page} in what was refused`,
      [
        [0, 2 * CHUNK],
        [page * PAGE, 4 * PAGE],
      ],
      'waits',
    ]),
    [
      'beside what was refused',
      [
        [CHUNK, 4 * PAGE],
        [CHUNK + 2 * PAGE, 4 * PAGE],
      ],
      'refused',
    ],
  ];
  for (const [says, steps, last] of reads) {
    const start = { files: [{ path: '/big', ranges: [[0, CHUNK]] as const }] };
    const h = await open(t, reference, { start });
    const node = h.fs.lookup(1, 'big', NOBODY).ino;
    const outcomes = steps.map(([offset, length, flags]) => {
      try {
        const got = h.fs.read(node, 0, Buffer.alloc(length), 0, length, offset, NOBODY, flags);
        return got instanceof Later ? 'waits' : 'read';
      } catch (error) {
        assert.ok(error instanceof FsError && error.errno === ERRNO.EIO, String(error));
        return 'refused';
      }
    });
    assert.equal(outcomes.at(-1), last, says);
    h.close();
  }
});
