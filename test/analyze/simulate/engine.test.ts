import assert from 'node:assert/strict';
import { test } from 'node:test';
import { afterAll, Engine, Shared } from '../../../src/analyze/simulate/engine.js';
import { newSeed, random } from '../support.js';

test('events happen in order of time, those of one time in the order asked for', () => {
  const below = random(newSeed('engine'));
  const engine = new Engine();
  const asked: [time: number, nth: number][] = [];
  const seen: [number, number][] = [];
  for (let i = 0; i < 500; i++) {
    const time = below(50);
    asked.push([time, i]);
    engine.at(time, () => {
      assert.equal(engine.now, time);
      seen.push([time, i]);
    });
  }
  engine.run();
  assert.deepEqual(
    seen,
    asked.sort((a, b) => a[0] - b[0] || a[1] - b[1]),
  );
});

test('a line is shared in equal parts, and whoever is alone has it all', () => {
  const engine = new Engine();
  const line = new Shared(engine, 10);
  const ends: Record<string, number> = {};
  const use = (name: string, at: number, amount: number) =>
    engine.at(at, () =>
      line.use(amount, () => {
        ends[name] = engine.now;
      }),
    );
  use('a', 0, 1000);
  use('b', 50, 200);
  use('nothing', 60, 0);
  engine.run();
  // a alone: 500 by 50; then 5 each a unit: b's 200 by 90, a has 300 left then, alone until 120.
  assert.deepEqual(ends, { nothing: 60, b: 90, a: 120 });
});

test('two cores: up to two run at full speed', () => {
  const ends = (count: number) => {
    const engine = new Engine();
    const cpu = new Shared(engine, 2, 1);
    const out: number[] = [];
    for (let i = 0; i < count; i++) cpu.use(100, () => out.push(engine.now));
    engine.run();
    return out;
  };
  assert.deepEqual(ends(1), [100]);
  assert.deepEqual(ends(2), [100, 100]);
  assert.deepEqual(ends(4), [200, 200, 200, 200]);
});

test('work is neither lost nor made: at the end everything was carried at the full rate', () => {
  const below = random(newSeed('shared'));
  const engine = new Engine();
  const line = new Shared(engine, 3);
  let [sum, left] = [0, 0];
  for (let i = 0; i < 200; i++) {
    const amount = 1 + below(1000);
    sum += amount;
    left += 1;
    // All within the time that the first of them need: the line is never idle.
    engine.at(below(50), () =>
      line.use(amount, () => {
        left -= 1;
      }),
    );
  }
  line.use(1000, () => {});
  engine.run();
  assert.equal(left, 0);
  assert.ok(Math.abs(engine.now - (sum + 1000) / 3) < 1e-6 * sum, `${engine.now}`);
});

test('afterAll calls once, with the last', () => {
  let calls = 0;
  const one = afterAll(3, () => {
    calls += 1;
  });
  one();
  one();
  assert.equal(calls, 0);
  one();
  assert.equal(calls, 1);
});
