// The recorder over a file system in memory: operations in, exact events out.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { type Caller, FsError, ROOT_NODE, type RootFs } from '../../src/rootfs/types.js';
import { commCache } from '../../src/trace/comm.js';
import type { TraceEvent } from '../../src/trace/events.js';
import { type RecorderOptions, traced } from '../../src/trace/recorder.js';
import { MemoryFs, type NodeSpec } from '../support/memory-fs.js';

const NODES: NodeSpec[] = [
  { path: 'bin/app', type: 'reg', mode: 0o755, content: { text: 'hello world' } },
  { path: 'bin/link', type: 'symlink', target: 'app' },
  { path: 'bin/other-name', type: 'reg', hardlinkTo: 'bin/app' },
  { path: 'bin/broken', type: 'reg', content: { text: 'x' }, broken: 5 },
  { path: 'bin/throws', type: 'reg', content: { text: 'x' }, broken: 'throws' },
  { path: 'caf\udce9', type: 'reg', content: { text: '' }, xattrs: { 'user.a': Buffer.from('b') } },
];

/** A clock that moves on by 10 ns each time it is read; comms as given. */
function record(comms: Record<number, string> = {}, more: Partial<RecorderOptions> = {}) {
  const events: TraceEvent[] = [];
  let now = 1000n;
  const fs = new MemoryFs({ nodes: NODES });
  const clock = () => {
    now += 10n;
    return now;
  };
  const options = { t0: 1100n, clock, comms: commCache((pid) => comms[pid]), ...more };
  return { fs, events, traced: traced(fs, { record: (event) => events.push(event) }, options) };
}

const by = (pid: number): Caller => ({ pid, uid: 0, gid: 0 });

function find(fs: RootFs, path: string): number {
  let node = ROOT_NODE;
  for (const name of path.split('/')) node = fs.lookup(node, name, by(1)).ino;
  return node;
}

test('each operation is one event, with path, range, process and time', () => {
  const { events, traced: fs } = record({ 7: 'sh', 8: 'cat' });
  const bin = fs.lookup(ROOT_NODE, 'bin', by(7)).ino;
  const app = fs.lookup(bin, 'app', by(7)).ino;
  fs.getattr(app, by(7));
  const handle = fs.open(app, 0, by(8));
  const buffer = Buffer.alloc(64);
  assert.equal(fs.read(app, handle, buffer, 0, 64, 6, by(8)), 5);
  assert.equal(buffer.toString('utf8', 0, 5), 'world');
  assert.equal(fs.read(app, handle, buffer, 0, 64, 11, by(8)), 0);
  fs.release(app, handle);
  const link = fs.lookup(bin, 'link', by(7)).ino;
  assert.equal(fs.readlink(link, by(7)).toString(), 'app');
  assert.equal(fs.readdir(bin, by(7)).length, 5);
  assert.deepEqual(fs.xattrs(app, by(7)), new Map());
  const sh = { pid: 7, comm: 'sh', dur: 10 };
  const cat = { pid: 8, comm: 'cat', dur: 10 };
  assert.deepEqual(events, [
    { t: -90, op: 'lookup', path: '/bin', ...sh },
    { t: -70, op: 'lookup', path: '/bin/app', ...sh },
    { t: -50, op: 'getattr', path: '/bin/app', ...sh },
    { t: -30, op: 'open', path: '/bin/app', ...cat },
    { t: -10, op: 'read', path: '/bin/app', offset: 6, length: 5, ...cat },
    { t: 10, op: 'read', path: '/bin/app', offset: 11, length: 0, ...cat },
    { t: 30, op: 'lookup', path: '/bin/link', ...sh },
    { t: 50, op: 'readlink', path: '/bin/link', ...sh },
    { t: 70, op: 'readdir', path: '/bin', ...sh },
    { t: 90, op: 'getxattr', path: '/bin/app', ...sh },
  ]);
});

test('what fails is recorded with its errno and fails on', () => {
  const { events, traced: fs } = record();
  const throwsErrno = (run: () => unknown, errno: number) =>
    assert.throws(run, (e) => e instanceof FsError && e.errno === errno);
  throwsErrno(() => fs.lookup(ROOT_NODE, 'nothing', by(3)), 2);
  const app = find(fs, 'bin/app');
  throwsErrno(() => fs.readlink(app, by(3)), 22);
  const broken = find(fs, 'bin/broken');
  const handle = fs.open(broken, 0, by(3));
  throwsErrno(() => fs.read(broken, handle, Buffer.alloc(8), 0, 8, 4096, by(3)), 5);
  const failed = events.filter((event) => event.errno !== undefined).map(({ t, dur, ...rest }) => rest);
  assert.deepEqual(failed, [
    { op: 'lookup', path: '/nothing', pid: 3, errno: 2 },
    { op: 'readlink', path: '/bin/app', pid: 3, errno: 22 },
    { op: 'read', path: '/bin/broken', offset: 4096, length: 0, pid: 3, errno: 5 },
  ]);
});

test('a failure that is no FsError is EIO, and passes through unchanged', () => {
  const { events, traced: fs } = record();
  const node = find(fs, 'bin/throws');
  const handle = fs.open(node, 0, by(1));
  assert.throws(() => fs.read(node, handle, Buffer.alloc(1), 0, 1, 0, by(1)), TypeError);
  assert.equal(events.at(-1)?.errno, 5);
});

test('a hardlink is looked up by the name used and read by its canonical one; exec is marked', () => {
  const { events, traced: fs } = record();
  const node = find(fs, 'bin/other-name');
  fs.open(node, 0x8000 | 0x20, by(1));
  fs.open(node, 0x8000, by(1));
  assert.deepEqual(
    events.slice(1).map(({ op, path, exec }) => [op, path, exec]),
    [
      ['lookup', '/bin/other-name', undefined],
      ['open', '/bin/app', true],
      ['open', '/bin/app', undefined],
    ],
  );
});

test('names that are not UTF-8 keep their bytes', () => {
  const { events, traced: fs } = record();
  find(fs, 'caf\udce9');
  assert.equal(events[0]?.path, '/caf\udce9');
});

test('every event counts as activity', () => {
  const activity = new Int32Array(new SharedArrayBuffer(4));
  const { events, traced: fs } = record({}, { activity });
  find(fs, 'bin/app');
  assert.throws(() => fs.lookup(ROOT_NODE, 'nothing', by(1)));
  assert.equal(activity[0], 3);
  assert.equal(events.length, 3);
});

test('forget reaches the file system, and only when it has one', () => {
  const { fs, traced: observed } = record();
  const node = find(observed, 'bin/app');
  observed.forget?.(node, 1);
  assert.equal(fs.result().forgets, 1);
  const bare = new Proxy(fs, { get: (target, name) => (name === 'forget' ? undefined : Reflect.get(target, name)) });
  assert.equal('forget' in traced(bare, { record() {} }, { t0: 0n }), false);
});

test('a node id given to another file after forget gets the new path', () => {
  let path = '/old';
  const fs = {
    pathOf: () => path,
    forget: () => {},
    getattr: () => ({}),
  } as unknown as RootFs;
  const events: TraceEvent[] = [];
  const observed = traced(fs, { record: (event) => events.push(event) }, { t0: 0n });
  observed.getattr(9, by(0));
  path = '/new';
  observed.getattr(9, by(0));
  observed.forget?.(9, 1);
  observed.getattr(9, by(0));
  assert.deepEqual(
    events.map((event) => event.path),
    ['/old', '/old', '/new'],
  );
});

test('command names: cached, read again after an exec until they change, and when old', () => {
  const names: string[] = [];
  let name = 'sh';
  const cache = commCache((pid) => {
    names.push(`${pid}:${name}`);
    return name;
  });
  assert.equal(cache.of(0, 0n), undefined);
  assert.equal(cache.of(5, 0n), 'sh');
  assert.equal(cache.of(5, 1000n), 'sh');
  assert.deepEqual(names, ['5:sh']);
  cache.expectExec(5);
  assert.equal(cache.of(5, 2000n), 'sh');
  name = 'app';
  assert.equal(cache.of(5, 3000n), 'app');
  name = 'not asked for';
  assert.equal(cache.of(5, 4000n), 'app');
  assert.deepEqual(names, ['5:sh', '5:sh', '5:app']);
  name = 'later';
  assert.equal(cache.of(5, 1_000_000_000n), 'later');
});

test('the name of a living process comes from /proc; a dead one has none', () => {
  const cache = commCache();
  assert.match(cache.of(process.pid, 0n) ?? '', /\S/);
  assert.equal(cache.of(2 ** 30, 0n), undefined);
});

test('where a process comes from: its parent, a thread from its process; said once', () => {
  const cache = commCache();
  assert.equal(cache.parentOf(process.pid), process.ppid);
  assert.equal(cache.parentOf(2 ** 30), undefined);
  assert.equal(cache.parentOf(0), undefined);
  const thread = readdirSync('/proc/self/task')
    .map(Number)
    .find((id) => id !== process.pid);
  assert.ok(thread, 'Node has threads of its own');
  assert.equal(cache.parentOf(thread), process.pid);

  const { events, traced: fs } = record(
    {},
    {
      comms: commCache(
        () => 'sh',
        (pid) => (pid === 7 ? 3 : undefined),
      ),
    },
  );
  for (const pid of [7, 8, 7, 0]) fs.lookup(ROOT_NODE, 'bin', by(pid));
  assert.deepEqual(
    events.map(({ parent }) => parent),
    [3, undefined, undefined, undefined],
  );
});
