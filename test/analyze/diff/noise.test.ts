// The rank test against R's documented example, and against counting out every way to deal the values.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareRuns, leastP, rankTest } from '../../../src/analyze/diff/noise.js';
import { newSeed, random } from '../support.js';

test("R's example of wilcox.test (Hollander & Wolfe 1973, p. 69): two-sided p = 0.2544", () => {
  const x = [0.8, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46];
  const y = [1.15, 0.88, 0.9, 0.74, 1.21];
  assert.equal(rankTest(x, y).toFixed(4), '0.2544');
  assert.equal(rankTest(y, x), rankTest(x, y));
});

/** All subsets of n places, each with the sum of its midranks. */
function bruteForce(a: readonly number[], b: readonly number[]): number {
  const all = [...a, ...b];
  const rank = (v: number) => all.filter((x) => x < v).length + (all.filter((x) => x === v).length + 1) / 2;
  const mean = (a.length * (all.length + 1)) / 2;
  const seen = Math.abs(a.map(rank).reduce((x, y) => x + y, 0) - mean);
  let [ways, far] = [0, 0];
  for (let mask = 0; mask < 2 ** all.length; mask++) {
    const chosen = all.filter((_, i) => mask & (1 << i));
    if (chosen.length !== a.length) continue;
    ways += 1;
    if (Math.abs(chosen.map(rank).reduce((x, y) => x + y, 0) - mean) >= seen - 1e-9) far += 1;
  }
  return far / ways;
}

test('every way to deal, with and without ties', () => {
  const below = random(newSeed('rank test'));
  for (let i = 0; i < 40; i++) {
    const values = (count: number) => Array.from({ length: count }, () => below(i % 2 === 0 ? 1000 : 3));
    const [a, b] = [values(1 + below(5)), values(1 + below(5))];
    assert.ok(Math.abs(rankTest(a, b) - bruteForce(a, b)) < 1e-12, JSON.stringify([a, b]));
  }
});

test('many values: the normal approximation is close to the exact distribution at its border', () => {
  const values = (count: number, shift: number) => Array.from({ length: count }, (_, i) => ((i * 37) % 101) + shift);
  const [exact, approximate] = [rankTest(values(30, 0), values(30, 20)), rankTest(values(31, 0), values(31, 20))];
  assert.ok(exact > 0.01 && exact < 0.2, String(exact));
  assert.ok(Math.abs(exact - approximate) < 0.03, `${exact} ${approximate}`);
});

test('what counts', () => {
  const noise = (a: number[], b: number[]) => compareRuns(a, b).noise;
  assert.equal(noise([1, 2, 3, 4], [5, 6, 7, 8]), 'beyond');
  assert.equal(noise([1, 2, 3, 9], [5, 6, 7, 8]), 'within');
  // Three against three cannot get below 0.1: they count when they do not overlap.
  assert.equal(leastP(3, 3), 0.1);
  assert.equal(noise([1, 2, 3], [4, 5, 6]), 'beyond');
  assert.equal(noise([1, 2, 4], [4, 5, 6]), 'within');
  assert.equal(noise([7, 7, 7], [7, 7, 7]), 'within');
  assert.equal(noise([1], [5, 6, 7, 8]), 'unknown');
  assert.equal(compareRuns([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]).because, 'rank test, 5 against 5 runs: p = 0.0079');
  assert.equal(noise([1, 2, 3, 4], [5, 6, 7, 8]), 'beyond');
  assert.equal(compareRuns([1, 2, 3, 4], [5, 6, 7, 8], 0.01).noise, 'beyond', 'all that so few can show');
});
