import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, test } from 'node:test';
import { parseReadyRule } from '../../src/container/ready/ready.js';
import { HotlayerError } from '../../src/errors.js';
import { activeFsModule } from '../support/active-fs.js';
import { lackingSession, type Ran, run, shell } from '../support/session.js';

const until = (...rules: string[]) => rules.map(parseReadyRule);
const MS = 1e6;

/** A port that is free now. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Answers 503 twice, then 200. */
const SERVER = `let n = 0; require('http').createServer((q, s) => { s.statusCode = n++ < 2 ? 503 : 200; s.end() })
  .listen(+process.argv[1], '127.0.0.1', () => console.log('listening')); process.on('SIGTERM', () => process.exit(3))`;
const server = (port: number) => ({
  programs: [process.execPath],
  config: { Cmd: [process.execPath.split('/').pop() ?? 'node', '-e', SERVER, String(port)] },
});

function readyBy(result: Ran, by: string, fromMs: number, toMs: number): void {
  assert.equal(result.ready?.by, by, result.stderr);
  const ms = result.ready.t / MS;
  assert.ok(ms >= fromMs && ms <= toMs, `${by} after ${ms} ms, expected ${fromMs} … ${toMs}`);
  assert.ok(result.ready.t <= result.endedAt);
}

describe('ready rules on a running workload', { skip: lackingSession() }, () => {
  test('line: of either stream; then SIGTERM, which the workload handles', async () => {
    const script =
      'trap "echo bye; exit 4" TERM; echo warming; sleep 0.2; echo server is up >&2; while :; do sleep 0.05; done';
    const result = await run({ programs: ['sleep'], config: shell(script), until: until('line:is up', 'period:10s') });
    readyBy(result, 'line:is up', 200, 5000);
    assert.equal(result.stopped, true);
    assert.equal(result.exitCode, 4);
    assert.deepEqual(result.tail, ['warming', 'server is up', 'bye']);
  });

  test('line:/re/, and a workload that does not listen: killed at once without handler, after the grace with one', async () => {
    const deaf = await run({
      programs: ['sleep'],
      config: shell('echo up in 12 ms; sleep 100'),
      until: until('line:/up in \\d+/'),
    });
    readyBy(deaf, 'line:/up in \\d+/', 0, 5000);
    assert.equal(deaf.signal, 'SIGKILL');
    assert.ok(deaf.endedAt - (deaf.ready?.t ?? 0) < 3000 * MS, 'no grace for who cannot hear');
    const stubborn = await run({
      programs: ['sleep'],
      config: shell('trap "echo no" TERM; echo up; while :; do sleep 0.05; done'),
      until: until('line:up'),
      graceNanos: 400 * MS,
    });
    assert.equal(stubborn.signal, 'SIGKILL');
    assert.deepEqual(stubborn.tail, ['up', 'no']);
    const grace = (stubborn.endedAt - (stubborn.ready?.t ?? 0)) / MS;
    assert.ok(grace >= 400 && grace < 3000, `${grace} ms`);
  });

  test('the image’s stop signal', async () => {
    const script = 'trap "echo quit; exit 0" QUIT; trap "echo term" TERM; echo up; while :; do sleep 0.05; done';
    const result = await run({
      programs: ['sleep'],
      config: shell(script),
      until: until('line:up'),
      stopSignal: 'SIGQUIT',
    });
    assert.deepEqual([result.exitCode, result.tail], [0, ['up', 'quit']]);
  });

  test('tcp and http in a network of its own', async () => {
    const [tcp, http] = await Promise.all([
      run({ ...server(8080), until: until('tcp:8080') }),
      run({ ...server(8080), until: until('http:8080/') }),
    ]);
    assert.equal(tcp.ready?.by, 'tcp:8080', tcp.stderr);
    assert.equal(http.ready?.by, 'http:http://127.0.0.1:8080/', http.stderr);
    assert.deepEqual([tcp.exitCode, http.exitCode], [3, 3]);
  });

  test('tcp and http on the machine’s network; a taken port is refused', async () => {
    const port = await freePort();
    const http = await run({ ...server(port), net: 'host', until: until(`http:${port}/`) });
    assert.equal(http.ready?.by, `http:http://127.0.0.1:${port}/`, http.stderr);
    const tcp = await run({ ...server(port), net: 'host', until: until(`tcp:${port}`) });
    assert.equal(tcp.ready?.by, `tcp:${port}`, tcp.stderr);
    const other = createServer().listen(port, '127.0.0.1');
    await new Promise((resolve) => other.once('listening', resolve));
    try {
      await assert.rejects(
        run({ ...server(port), net: 'host', until: until(`tcp:${port}`) }),
        (e) => e instanceof HotlayerError && e.code === 'HL_ERR_MACHINE' && e.message.includes(`port ${port}`),
      );
    } finally {
      await new Promise((resolve) => other.close(resolve));
    }
  });

  test('idle: after the last access, which is when it was ready; period', async () => {
    const script = 'sleep 0.3; cat /etc/passwd >/dev/null; sleep 100';
    const idle = await run({
      programs: ['sleep', 'cat'],
      config: shell(script),
      until: until('idle:600ms'),
      module: activeFsModule,
    });
    assert.equal(idle.ready?.by, 'idle:600ms');
    const t = (idle.ready?.t ?? 0) / MS;
    const end = idle.endedAt / MS;
    // sleep and cat are opened around 300 ms, the second sleep right after; then 600 ms of silence.
    assert.ok(t >= 300 && t < 3000, `${t} ms`);
    assert.ok(end - t >= 600, `ended ${end - t} ms later`);
    const period = await run({ programs: ['sleep'], config: shell('sleep 100'), until: until('period:300ms') });
    readyBy(period, 'period:300ms', 299, 3000);
  });

  test('never ready: the timeout, an early end, a failure', async () => {
    const late = await run({
      programs: ['sleep'],
      config: shell('echo x; sleep 100'),
      until: until('line:y'),
      timeoutNanos: 300 * MS,
    });
    assert.deepEqual([late.ready, late.timedOut, late.stopped, late.signal], [undefined, true, false, 'SIGKILL']);
    assert.ok(late.endedAt >= 299 * MS && late.endedAt < 5000 * MS);
    assert.deepEqual(late.tail, ['x']);
    const early = await run({ config: shell('echo bye'), until: until('line:never', 'tcp:80') });
    assert.deepEqual([early.ready, early.timedOut, early.exitCode], [undefined, undefined, 0]);
    const failed = await run({ config: shell('exit 1'), until: until('exit') });
    assert.deepEqual([failed.ready, failed.exitCode], [undefined, 1]);
    const either = await run({ config: shell('exit 0'), until: until('line:never', 'exit') });
    assert.equal(either.ready?.by, 'exit');
  });
});
