// One run with the session played by this process: the file system module is loaded and used as the real one is, the
// kernel and the workload are left out.
import assert from 'node:assert/strict';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { FIRST_INHERITED_FD, type SessionResult, type SessionSpec } from '../../src/container/index.js';
import { HotlayerError } from '../../src/errors.js';
import { ROOT_NODE, type RootFs } from '../../src/rootfs/types.js';
import { makeTempDir } from '../../src/temp.js';
import { type RunOptions, type TraceSource, traceRun } from '../../src/trace/run.js';
import { readTrace } from '../../src/trace/trace-file.js';
import type { TraceFsArgs } from '../../src/trace/trace-fs-module.js';
import { dir, file, tarOf } from '../support/tar.js';

const tmp = makeTempDir();
after(() => tmp.remove());

const tar = tarOf(dir('bin/'), file('bin/app', 'hello world'));
const tarFile = join(tmp.path, 'layer.tar');
writeFileSync(tarFile, tar);
const layerFd = openSync(tarFile, 'r');
after(() => closeSync(layerFd));

const IMAGE: TraceSource = {
  image: { reference: 'oci:app', digest: `sha256:${'cd'.repeat(32)}` },
  platform: { os: 'linux', architecture: 'amd64' },
  fs: { kind: 'layers', layers: [{ fd: layerFd, size: tar.length }] },
};

const OPTIONS: Omit<RunOptions, 'session'> = {
  process: { args: ['/bin/app', '-x'], env: [], cwd: '/', user: '' },
  until: [{ kind: 'line', text: 'up' }],
  timeoutNanos: 5e9,
  precision: 'exact',
};

/** A session in which `workload` uses the file system; the result's members may be set. */
function session(workload: (fs: RootFs) => void, result: Partial<SessionResult> = {}, seen: SessionSpec[] = []) {
  return async (spec: SessionSpec): Promise<SessionResult> => {
    seen.push(spec);
    const module = await import(spec.fs.module);
    const args = structuredClone(spec.fs.args) as TraceFsArgs;
    const real = (fd: number) => spec.fds[fd - FIRST_INHERITED_FD]!;
    const source =
      args.source.kind !== 'layers'
        ? args.source
        : { ...args.source, layers: args.source.layers.map((layer) => ({ ...layer, fd: real(layer.fd) })) };
    const fs: RootFs = module.createFs({ ...args, source, traceFd: real(args.traceFd!), activity: new Int32Array(1) });
    fs.lookup(ROOT_NODE, 'bin', { pid: 0, uid: 0, gid: 0 });
    const startedAt = process.hrtime.bigint();
    workload(fs);
    return {
      startedAt,
      ready: { t: 10e9, by: 'line:up' },
      endedAt: 11e9,
      exitCode: 0,
      stopped: false,
      tail: ['starting', '\u001b[31mup\u001b[0m'],
      fsResult: module.closeFs(fs),
      writable: 'overlay',
      rootless: false,
      uids: 1,
      ...result,
    };
  };
}

function readApp(fs: RootFs): void {
  const who = { pid: process.pid, uid: 0, gid: 0 };
  const app = fs.lookup(fs.lookup(ROOT_NODE, 'bin', who).ino, 'app', who).ino;
  const handle = fs.open(app, 0x20, who);
  assert.equal(fs.read(app, handle, Buffer.alloc(64), 0, 64, 6, who), 5);
  fs.release(app, handle);
}

let serial = 0;
function place(): { dir: string; path: string } {
  const at = join(tmp.path, `run${serial++}`);
  mkdirSync(at);
  return { dir: at, path: join(at, 'trace') };
}

test('a run leaves a whole trace: header, events counted from the start, end', async () => {
  const { dir, path } = place();
  const seen: SessionSpec[] = [];
  const run = await traceRun(IMAGE, path, dir, { ...OPTIONS, session: session(readApp, {}, seen) });
  const trace = await readTrace(path);
  assert.deepEqual(trace.header, run.header);
  assert.deepEqual(trace.end, run.end);
  assert.deepEqual(trace.end, {
    end: true,
    events: 5,
    complete: true,
    ready: { t: 10e9, by: 'line:up' },
    endedAt: 11e9,
    exitCode: 0,
  });
  const { tool, ...header } = trace.header;
  assert.match(tool, /^hotlayer /);
  assert.deepEqual(header, {
    schemaVersion: 1,
    image: IMAGE.image,
    platform: IMAGE.platform,
    workload: { args: ['/bin/app', '-x'], user: '', cwd: '/' },
    precision: 'exact',
    until: ['line:up'],
  });
  assert.deepEqual(
    trace.events.map(({ op, path: at, offset, length, exec }) => [op, at, offset, length, exec]),
    [
      ['lookup', '/bin', undefined, undefined, undefined],
      ['lookup', '/bin', undefined, undefined, undefined],
      ['lookup', '/bin/app', undefined, undefined, undefined],
      ['open', '/bin/app', undefined, undefined, true],
      ['read', '/bin/app', 6, 5, undefined],
    ],
  );
  assert.ok(trace.events[0]!.t < 0, 'what was read before the workload started has a negative time');
  assert.ok(trace.events.slice(1).every(({ t }) => t >= 0 && t < 1e9));
  assert.equal(trace.events[4]?.pid, process.pid);
  assert.ok(trace.events[4]?.comm);
  assert.deepEqual(readdirSync(dir), ['trace']);
  assert.equal(seen[0]?.maxReadahead, 0);
  assert.equal(seen[0]?.readdirplus, false);
  assert.equal(seen[0]?.tmpdir, dir);
});

test('fast precision leaves readahead and listings to the kernel', async () => {
  const { dir, path } = place();
  const seen: SessionSpec[] = [];
  await traceRun(IMAGE, path, dir, { ...OPTIONS, precision: 'fast', session: session(readApp, {}, seen) });
  assert.equal('maxReadahead' in seen[0]!, false);
  assert.equal('readdirplus' in seen[0]!, false);
});

test("a directory hides the mount's own place", async () => {
  const root = join(tmp.path, 'root');
  mkdirSync(join(root, 'bin'), { recursive: true });
  writeFileSync(join(root, 'bin', 'app'), 'hello world');
  const { dir, path } = place();
  const seen: SessionSpec[] = [];
  const source: TraceSource = { image: { reference: 'dir:root' }, fs: { kind: 'dir', path: root, exclude: ['/proc'] } };
  await traceRun(source, path, dir, { ...OPTIONS, session: session(readApp, {}, seen) });
  assert.deepEqual((seen[0]!.fs.args as TraceFsArgs).source, { kind: 'dir', path: root, exclude: ['/proc', dir] });
  assert.equal((await readTrace(path)).end.events, 5);
});

const INCOMPLETE: [name: string, result: Partial<SessionResult>, because: RegExp][] = [
  ['no summary', { fsResult: undefined }, /without saying how much/],
  ['events lost on the way', { fsResult: { events: 7, complete: true } }, /7 events were recorded, 5 arrived/],
  ['the writer failed', { fsResult: { events: 5, complete: false, incompleteBecause: 'disk full' } }, /^disk full$/],
  ['requests failed in the file system', { fsFaults: 2 }, /2 requests failed inside the file system/],
];

for (const [name, result, because] of INCOMPLETE) {
  test(`incomplete: ${name}`, async () => {
    const { dir, path } = place();
    const { end } = await traceRun(IMAGE, path, dir, { ...OPTIONS, session: session(readApp, result) });
    assert.equal(end.complete, false);
    assert.match(end.incompleteBecause ?? '', because);
  });
}

/** A result without `ready`. */
const unready = (more: Partial<SessionResult>) => ({ ready: undefined, ...more }) as Partial<SessionResult>;
const EXIT = { until: [] };

const FAILED: [name: string, options: object, result: Partial<SessionResult>, code: string, message: RegExp][] = [
  [
    'an exit status',
    EXIT,
    unready({ exitCode: 3 }),
    'HL_ERR_WORKLOAD',
    /^\/bin\/app -x: exit status 3 after 11\.0 s; its last 2 lines:\n {2}\| starting\n {2}\| up$/,
  ],
  [
    'a signal',
    {},
    unready({ signal: 'SIGSEGV' }),
    'HL_ERR_WORKLOAD',
    /ended by SIGSEGV after 11\.0 s before it was ready \(line:up\)/,
  ],
  [
    'too late',
    {},
    unready({ timedOut: true, signal: 'SIGTERM' }),
    'HL_ERR_NOT_READY',
    /not ready \(line:up\) within 5\.00 s; its last/,
  ],
  [
    'too late to end',
    EXIT,
    unready({ timedOut: true, tail: [] }),
    'HL_ERR_NOT_READY',
    /not ready \(exit\) within 5\.00 s; it said nothing$/,
  ],
  [
    'ended well, never ready',
    {},
    unready({ exitCode: 0 }),
    'HL_ERR_NOT_READY',
    /ended after 11\.0 s before it was ready/,
  ],
];

for (const [name, options, result, code, message] of FAILED) {
  test(`failed, and the trace is there all the same: ${name}`, async () => {
    const { dir, path } = place();
    const run = traceRun(IMAGE, path, dir, { ...OPTIONS, ...options, session: session(readApp, result) });
    await assert.rejects(run, (error) => {
      assert.ok(error instanceof HotlayerError, String(error));
      assert.equal(error.code, code);
      assert.match(error.message, message);
      return true;
    });
    assert.equal((await readTrace(path)).end.events, 5);
    assert.deepEqual(readdirSync(dir), ['trace']);
  });
}

test('a session that throws leaves nothing behind', async () => {
  const { dir, path } = place();
  const machine = new HotlayerError('HL_ERR_MACHINE', 'no fuse');
  const broken = () => Promise.reject(machine);
  await assert.rejects(traceRun(IMAGE, path, dir, { ...OPTIONS, session: broken }), (e) => e === machine);
  assert.equal(existsSync(path), false);
  assert.deepEqual(readdirSync(dir), []);
});

test('ready is what counts: how the workload ended after it was stopped does not', async () => {
  const { dir, path } = place();
  const stopped = session(readApp, { stopped: true, exitCode: 143, signal: 'SIGKILL' });
  const { end } = await traceRun(IMAGE, path, dir, { ...OPTIONS, session: stopped });
  assert.equal(end.complete, true);
  assert.equal(end.signal, 'SIGKILL');
});
