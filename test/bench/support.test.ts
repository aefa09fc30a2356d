// The tools that benchmarks share.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { CpuMeter, descendantPids, NeighbourMeter } from '../../bench/support/cpu.js';
import { Journal } from '../../bench/support/journal.js';
import { geometricMeanRatio, ratioOf, summarize } from '../../bench/support/statistics.js';
import { requireFree, whenReady } from '../../bench/support/watch.js';
import { testDir } from '../support/temp.js';

test('a journal goes on where it was; a torn last line is forgotten', (t) => {
  const path = join(testDir(t), 'new/journal.jsonl');
  new Journal<{ a: number }>(path).add({ a: 1 });
  appendFileSync(path, '{"a":2}\n{"a":');
  const again = new Journal<{ a: number }>(path);
  again.add({ a: 3 });
  assert.deepEqual(again.entries(), [{ a: 1 }, { a: 2 }, { a: 3 }]);
  assert.equal(readFileSync(path, 'utf8'), '{"a":1}\n{"a":2}\n{"a":3}\n');
  assert.deepEqual(new Journal(path, { fresh: true }).entries(), []);
});

test('medians and ratios with their intervals', () => {
  const { median, min, max, interval } = summarize([5, 1, 3]);
  assert.deepEqual({ median, min, max, interval }, { median: 3, min: 1, max: 5, interval: [1, 5] });
  assert.equal(summarize([1, 2, 3, 10]).median, 2.5);
  assert.deepEqual(ratioOf([2, 4, 6], [1, 2, 3]), { ratio: 2, interval: [2, 2] });
});

test('the geometric mean of ratios', () => {
  const close = (a: number, b: number) => assert.ok(Math.abs(a - b) < 1e-9, `${a}, expected ${b}`);
  // √(0.5 · 2) = 1, and ³√(2 · 2 · 0.25) = 1
  const half = [
    [1, 1, 1],
    [2, 2, 2],
  ] as const;
  close(geometricMeanRatio([half, [half[1], half[0]]]).ratio, 1);
  const { ratio, interval } = geometricMeanRatio([
    [half[1], half[0]],
    [half[1], half[0]],
    [
      [1, 1, 1],
      [4, 4, 4],
    ],
  ]);
  close(ratio, 1);
  for (const end of interval) close(end, 1);
  const noisy = geometricMeanRatio([
    [
      [9, 10, 14],
      [10, 10, 10],
    ],
  ]);
  close(noisy.ratio, 1);
  assert.deepEqual(noisy.interval, [0.9, 1.4]);
});

test('CPU time of a child and of what it leaves to its shell', async () => {
  const bystander = spawn('sh', ['-c', 'while :; do :; done']);
  try {
    const meter = new CpuMeter(descendantPids());
    const neighbours = new NeighbourMeter();
    const began = performance.now();
    const busy = 'i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done; echo done';
    const child = spawn('sh', ['-c', `sh -c '${busy}'; exec sleep 9`]);
    await once(child.stdout, 'data');
    const ms = meter.read();
    child.kill();
    await once(child, 'exit');
    const after = meter.read();
    const elapsed = performance.now() - began;
    assert.ok(ms >= 20 && ms <= elapsed + 20, `${ms} ms of ${elapsed}`);
    const others = neighbours.read();
    const most = availableParallelism() * (performance.now() - began + 50) - ms;
    assert.ok(others <= most, `${others} ms of at most ${most}`);
    assert.ok(Math.abs(after - ms) <= 20, `${ms} ms while it lived, ${after} ms when it had ended`);
  } finally {
    bystander.kill('SIGKILL');
  }
});

test('ready by a line, a port, a page', async (t) => {
  const began = performance.now();
  const speaker = spawn('sh', ['-c', 'printf "not yet\\nalm"; sleep 0.1; printf "ost ready\\n" >&2; exec sleep 9']);
  t.after(() => void speaker.kill());
  const at = await whenReady({ kind: 'line', text: 'ost ready' }, speaker);
  assert.ok(at - began >= 100, `${at - began} ms`);

  let asked = 0;
  const server = createServer((_, answer) => {
    asked += 1;
    answer.statusCode = asked < 3 ? 503 : 200;
    answer.end('page');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await assert.rejects(requireFree({ kind: 'http', port }), /in use/);
  await whenReady({ kind: 'http', port }, speaker);
  assert.equal(asked, 3);
  await whenReady({ kind: 'tcp', port }, speaker);
  server.close();
  await once(server, 'close');
  await requireFree({ kind: 'http', port });
});

test('a workload that ends, or takes too long, is not ready', async (t) => {
  const ended = spawn('sh', ['-c', 'echo broken; exit 3']);
  await assert.rejects(whenReady({ kind: 'line', text: 'ready' }, ended), /status 3 before it was ready: broken/);
  const slow = spawn('sleep', ['9']);
  t.after(() => void slow.kill());
  await assert.rejects(whenReady({ kind: 'line', text: 'ready' }, slow, 50), /not ready after 0.05 s/);
});
