// The selection against trying everything.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseItems, type Item, type Problem, savedBy, withinCapacities } from '../../../src/analyze/model/choose.js';
import { newSeed, random } from '../support.js';

function best(problem: Problem): number {
  const { items } = problem;
  let most = 0;
  for (let set = 0; set < 2 ** items.length; set++) {
    const taken = items.map((_, i) => (set & (1 << i)) !== 0);
    if (withinCapacities(problem, taken)) most = Math.max(most, savedBy(problem, taken));
  }
  return most;
}

function draw(below: (n: number) => number, size: number): Problem {
  const groups = 1 + below(4);
  const items = Array.from(
    { length: size },
    (): Item => ({
      saved: below(3) === 0 ? -below(1000) : below(1000) / (1 + below(30)),
      group: below(groups),
      weights: [below(500), below(50) * below(50)],
    }),
  );
  const room = (k: number) => {
    const all = items.reduce((sum, item) => sum + item.weights[k]!, 0);
    return below(3) === 0 ? Number.POSITIVE_INFINITY : (all * below(100)) / 100;
  };
  return {
    items,
    charges: Array.from({ length: groups }, () => (below(2) === 0 ? 0 : below(600))),
    capacities: [room(0), room(1)],
  };
}

test('as good as trying everything, on random instances of up to 16 items', () => {
  const below = random(newSeed('choose'));
  for (let round = 0; round < 400; round++) {
    const size = round % 25 === 0 ? 16 : below(12);
    const problem = draw(below, size);
    const { taken, saved, bound } = chooseItems(problem);
    assert.ok(withinCapacities(problem, taken), JSON.stringify(problem));
    assert.ok(Math.abs(savedBy(problem, taken) - saved) < 1e-6, JSON.stringify(problem));
    assert.ok(Math.abs(saved - best(problem)) < 1e-6, `${saved}, not ${best(problem)}: ${JSON.stringify(problem)}`);
    assert.equal(bound, saved);
  }
});

test('with many items and too little room: near the bound, which no selection beats', () => {
  const below = random(newSeed('choose many'));
  for (let round = 0; round < 20; round++) {
    const problem = draw(below, 300 + below(700));
    const { taken, saved, bound } = chooseItems(problem);
    assert.ok(withinCapacities(problem, taken));
    assert.ok(bound >= saved - 1e-6);
    const one = Math.max(0, ...problem.items.map((item) => item.saved)) + Math.max(...problem.charges) * 4;
    // The relaxation is off by what does not fit at the end: a few items and charges, not a share of the whole.
    assert.ok(bound - saved <= 2 * one, `${saved} of ${bound}`);
  }
});

test('a group is opened only when it saves more than it costs', () => {
  const items = [1, 2, 3].map((saved): Item => ({ saved, group: saved === 3 ? 1 : 0, weights: [1] }));
  const choose = (charges: number[], room = Number.POSITIVE_INFINITY) =>
    chooseItems({ items, charges, capacities: [room] });
  assert.deepEqual(choose([2.5, 3]).taken, [true, true, false]);
  assert.deepEqual(choose([3, 2.5]).taken, [false, false, true]);
  assert.deepEqual(choose([0, 0], 2).taken, [false, true, true]);
  assert.deepEqual(choose([0, 9], 1).taken, [false, true, false]);
  assert.deepEqual(choose([0, 0], 0), { taken: [false, false, false], saved: 0, bound: 0 });
  assert.deepEqual(chooseItems({ items: [], charges: [], capacities: [] }), { taken: [], saved: 0, bound: 0 });
});

test('100,000 items: within a thousandth of the bound', () => {
  const below = random(1);
  const problem = draw(below, 100_000);
  const limited = { ...problem, capacities: [1e7, 1e7] };
  const { saved, bound } = chooseItems(limited);
  assert.ok((bound - saved) / bound < 0.001, `${saved} of ${bound}`);
});
