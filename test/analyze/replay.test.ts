// Accesses: into columns, into a profile, and back.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { AccessLog } from '../../src/analyze/access-log.js';
import { buildProfile } from '../../src/analyze/profile.js';
import {
  type Access,
  accessesOf,
  REPLAY_OPS,
  replayOf,
  type SavedReplay,
  saveReplay,
} from '../../src/analyze/replay.js';
import { summarizeEvents } from '../../src/analyze/summarize.js';
import { viewOfTree } from '../../src/analyze/tree-view.js';
import { VarintReader, VarintWriter } from '../../src/analyze/varint.js';
import { HotlayerError } from '../../src/errors.js';
import { dir, reg } from '../rootfs/entries.js';
import { end, events, HEADER, newSeed, random, treeOf } from './support.js';

const ID = '0123456789abcdef';

function logOf(accesses: readonly Access[]): AccessLog {
  const log = new AccessLog();
  for (const { t, process, file, op, offset, length, duration } of accesses)
    log.add(t, process, file, REPLAY_OPS.indexOf(op), offset, length, duration);
  return log;
}

test('varints: the bytes of the LEB128 examples, and every width there and back', () => {
  const out = new VarintWriter(1);
  // 624485 = e5 8e 26: the example of the DWARF specification's LEB128 section and of Wikipedia.
  out.natural(624485);
  assert.deepEqual([...out.bytes()], [0xe5, 0x8e, 0x26]);
  const values = [
    0,
    -1,
    1,
    63,
    -64,
    64,
    2 ** 31 - 1,
    -(2 ** 31),
    2 ** 31,
    2 ** 32,
    2 ** 40 + 3,
    2 ** 52 - 1,
    1 - 2 ** 52,
  ];
  const writer = new VarintWriter();
  for (const value of values) writer.signed(value);
  const reader = new VarintReader(writer.bytes());
  assert.deepEqual(
    values.map(() => reader.signed()),
    values,
  );
  assert.ok(reader.done);
  assert.throws(() => reader.natural(), RangeError);
  assert.throws(() => new VarintReader(new Uint8Array(9).fill(0xff)).natural(), RangeError);
});

test('random accesses: what is saved is what is read, in order of time', () => {
  const draw = random(newSeed('replay'));
  for (let round = 0; round < 30; round++) {
    const processes = Array.from({ length: 1 + draw(4) }, (_, i) => ({ pid: 100 + i, comm: `p${i}` }));
    const accesses = Array.from({ length: draw(3000) }, (): Access => {
      const op = REPLAY_OPS[draw(REPLAY_OPS.length)]!;
      const read = op === 'read';
      return {
        t: draw(2 ** 31) * (draw(10) === 0 ? 1000 : 1) - 1000,
        process: draw(processes.length),
        file: draw(50),
        op,
        offset: read ? draw(2 ** 31) * 4096 : 0,
        length: read ? draw(2 ** 20) : 0,
        duration: draw(100_000),
      };
    });
    const saved = saveReplay(logOf(accesses).finish(processes));
    const found = replayOf({ id: ID, replay: JSON.parse(JSON.stringify(saved)) as SavedReplay }, 50);
    const expected = accesses.map((a, i) => ({ a, i })).sort((x, y) => x.a.t - y.a.t || x.i - y.i);
    assert.deepEqual(
      [...accessesOf(found)],
      expected.map(({ a }) => a),
    );
    assert.deepEqual(found.processes, processes);
    assert.deepEqual(saveReplay(found), saved);
  }
});

test('a run of a profile: every access before ready, names of a thread as rows, looks once', () => {
  const layers = [[dir('bin'), reg('bin/app', { size: 9000 }), reg('bin/sh', { size: 10 }), reg('conf', { size: 3 })]];
  const view = viewOfTree(treeOf(...layers));
  const [a, b, c, d, e, f, g] = events(
    'lookup /bin',
    'open! /bin/sh',
    'getattr /conf',
    'open! /bin/app',
    'read /bin/app 4096+100',
    'read /bin/app 0+0',
    'read /conf 0+3',
  );
  const list = [
    { ...a!, t: -7, pid: 5, comm: 'sh' },
    { ...b!, pid: 5, comm: 'sh' },
    { ...c!, pid: 6, comm: 'sh' },
    { ...d!, pid: 5, comm: 'sh' },
    { ...e!, pid: 5, comm: 'app', dur: 9 },
    { ...f!, pid: 5, comm: undefined },
    { ...g!, pid: 6, comm: 'sh', t: 51 },
  ] as typeof events extends (...x: never) => infer R ? R : never;
  const profile = buildProfile([summarizeEvents(HEADER, list, end(7, { ready: { t: 50, by: 'x' } }), view)], view);
  const replay = replayOf(profile.runs[0]!, profile.files.length);
  assert.deepEqual(replay.processes, [
    { pid: 5, comm: 'sh' },
    { pid: 6, comm: 'sh' },
    { pid: 5, comm: 'app', parent: 0 },
  ]);
  const rows = [...accessesOf(replay)].map((x) => [
    x.t,
    x.process,
    profile.files[x.file]!.path,
    x.op,
    x.offset,
    x.length,
  ]);
  assert.deepEqual(rows, [
    [-7, 0, '/bin', 'look', 0, 0],
    [10, 0, '/bin/sh', 'exec', 0, 0],
    [20, 1, '/conf', 'look', 0, 0],
    [30, 0, '/bin/app', 'exec', 0, 0],
    [40, 2, '/bin/app', 'read', 4096, 100],
    [50, 2, '/bin/app', 'read', 0, 0],
  ]);
  assert.equal(replay.duration[4], 9);
  const app = profile.files.find(({ path }) => path === '/bin/app');
  assert.deepEqual([app?.comms, app?.reads, app?.ranges], [['app', 'sh'], 2, [[4096, 100, 1]]]);
});

test('an id is of the content: not of the table of files, not of the order in which events came', () => {
  const layers = [[dir('bin'), reg('bin/app', { size: 9000 }), reg('conf', { size: 3 })]];
  const view = viewOfTree(treeOf(...layers));
  const list = events('lookup /bin', 'open /bin/app', 'read /conf 0+3', 'lookup? /a', 'lookup? /bin/b');
  const id = (of: typeof list, header = HEADER) => summarizeEvents(header, of, end(5), view).run.id;
  assert.match(id(list), /^[0-9a-f]{16}$/);
  assert.equal(id([...list].reverse()), id(list));
  const changed = list.map((event, i) => (i === 2 ? { ...event, t: event.t + 1 } : event));
  assert.notEqual(id(changed), id(list));
  assert.notEqual(id(list, { ...HEADER, precision: 'fast' }), id(list));
});

test('damage is found', () => {
  const good = saveReplay(
    logOf([{ t: 5, process: 0, file: 1, op: 'open', offset: 0, length: 0, duration: 2 }]).finish([{ pid: 1 }]),
  );
  const bytes = gunzipSync(Buffer.from(good.columns, 'base64'));
  assert.deepEqual([...bytes], [10, 0, 2, 1, 0, 0, 2], 't, process, file, op, offset, length, duration');
  const packed = (...values: number[]) => ({ ...good, columns: gzipSync(Uint8Array.from(values)).toString('base64') });
  const cases: [string, SavedReplay, RegExp][] = [
    ['cut off', packed(10, 0, 2, 1, 0, 0), /ends in the middle/],
    ['too long', packed(10, 0, 2, 1, 0, 0, 2, 2), /more than the columns/],
    ['no gzip', { ...good, columns: 'AAAA' }, /incorrect header|unknown compression/],
    ['a bomb', { ...good, columns: gzipSync(Buffer.alloc(1 << 20)).toString('base64') }, /larger than/i],
    ['another process', packed(10, 1, 2, 1, 0, 0, 2), /of process 1 of 1/],
    ['another file', packed(10, 0, 6, 1, 0, 0, 2), /of file 3 of 2/],
    ['a negative file', packed(10, 0, 1, 1, 0, 0, 2), /an index of -1/],
    ['another kind', packed(10, 0, 2, 6, 0, 0, 2), /unknown kind, 6/],
    ['a negative offset', packed(10, 0, 2, 3, 1, 0, 2), /negative offset/],
    ['too many', { ...good, accesses: 10_000_001 }, /MAX_REPLAY_ACCESSES/],
    [
      'back in time',
      { ...packed(10, 1, 0, 0, 2, 0, 1, 1, 0, 0, 0, 0, 2, 2), accesses: 2 },
      /earlier than the one before/,
    ],
  ];
  for (const [name, replay, message] of cases) {
    assert.throws(
      () => replayOf({ id: ID, replay }, 2),
      (error) => {
        assert.ok(error instanceof HotlayerError && error.code === 'HL_ERR_DATA', name);
        assert.match(error.message, message, name);
        assert.match(error.message, /run 0123456789abcdef/);
        return true;
      },
    );
  }
});
