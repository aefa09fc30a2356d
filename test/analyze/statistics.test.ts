// The statistics over runs, held against published values, plain definitions and runs made to show one thing.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { adviceOf, betaBinomial, breakEven } from '../../src/analyze/advice.js';
import { agreementOf, type ComparedRun, jaccards } from '../../src/analyze/agreement.js';
import { proportion, rangeProbability, wilson } from '../../src/analyze/interval.js';
import { type MeasuredRun, modesOf, outliersOf, patternsOf } from '../../src/analyze/odd-runs.js';
import { buildProfile } from '../../src/analyze/profile.js';
import { kendallTauB } from '../../src/analyze/rank-agreement.js';
import { viewOfTree } from '../../src/analyze/tree-view.js';
import { dir, reg, type Spec } from '../rootfs/entries.js';
import { newSeed, random, run, treeOf } from './support.js';

const near = (found: number | undefined, expected: number, within = 5e-5): void =>
  assert.ok(found !== undefined && Math.abs(found - expected) <= within, `${found}, expected ${expected}`);

describe('intervals', () => {
  test("Wilson's interval: the values of Newcombe 1998, table I, method 3", () => {
    for (const [k, n, low, high] of [
      [81, 263, 0.2553, 0.3662],
      [15, 148, 0.0624, 0.1605],
      [0, 20, 0, 0.1611],
      [1, 29, 0.0061, 0.1718],
    ] as const) {
      near(wilson(k, n)[0], low);
      near(wilson(k, n)[1], high);
    }
    assert.deepEqual(wilson(0, 0), [0, 1]);
    assert.equal(wilson(3, 3)[1], 1);
  });

  test('it covers the true share about as often as it says', () => {
    const draw = random(newSeed('coverage'));
    for (const p of [0.1, 0.5, 0.9]) {
      let covered = 0;
      for (let round = 0; round < 4000; round++) {
        let k = 0;
        for (let i = 0; i < 10; i++) if (draw(1e6) < p * 1e6) k += 1;
        const [low, high] = wilson(k, 10);
        if (low <= p && p <= high) covered += 1;
      }
      assert.ok(covered / 4000 > 0.91, `${p}: ${covered / 4000}`);
    }
  });

  test('what incomplete runs do not show widens the interval and is not counted', () => {
    const known = proportion(2, 4, 0);
    const open = proportion(2, 4, 1);
    assert.equal(known.estimate, 0.5);
    near(open.estimate, 2 / 3, 1e-6);
    assert.equal(open.low, known.low);
    near(open.high, wilson(3, 4)[1], 1e-6);
    assert.deepEqual(proportion(0, 2, 2), { estimate: 0, low: 0, high: 1 });
  });
});

const LAYERS: Spec[][] = [[dir('d'), ...Array.from({ length: 9 }, (_, i) => reg(`d/f${i}`, { size: 4096 * (i + 1) }))]];
const view = viewOfTree(treeOf(...LAYERS));

test('a profile: probabilities of files and ranges; an incomplete run is no evidence of absence', () => {
  const profile = buildProfile(
    [
      run(LAYERS, ['read /d/f1 0+4096', 'read /d/f2 0+100']),
      run(LAYERS, ['read /d/f1 0+8192', 'getattr /d/f2']),
      run(LAYERS, ['read /d/f1 0+4096'], { complete: false, incompleteBecause: 'cut' }),
    ],
    view,
  );
  const [f1, f2] = [1, 2].map((i) => profile.files.find(({ path }) => path === `/d/f${i}`)!);
  assert.deepEqual(f1!.probability, { estimate: 1, low: 0.438503, high: 1 });
  assert.equal(f2!.probability.estimate, 0.5);
  near(f2!.probability.high, wilson(2, 3)[1], 1e-6);
  near(f2!.probability.low, wilson(1, 3)[0], 1e-6);
  assert.deepEqual(f1!.ranges, [
    [0, 4096, 3],
    [4096, 4096, 1],
  ]);
  assert.deepEqual(
    f1!.ranges.map((range) => rangeProbability(profile, range).estimate),
    [1, 0.5],
  );
  assert.equal(profile.agreement.runs, 2, 'the incomplete run is not compared');
  assert.equal(profile.agreement.files, 0.5);
});

describe('rank agreement', () => {
  test('the example of scipy.stats.kendalltau, and the two ends', () => {
    near(kendallTauB([12, 2, 1, 12, 2], [1, 4, 7, 1, 0]), -0.4714045207910316, 1e-12);
    assert.equal(kendallTauB([1, 2, 3, 4], [10, 20, 30, 40]), 1);
    assert.equal(kendallTauB([1, 2, 3, 4], [4, 3, 2, 1]), -1);
    for (const [x, y] of [
      [[], []],
      [[1], [1]],
      [
        [1, 1, 1],
        [1, 2, 3],
      ],
    ] as const) {
      assert.equal(kendallTauB(x, y), undefined);
    }
  });

  test('random lists with ties: as the definition, pair by pair', () => {
    const draw = random(newSeed('tau'));
    for (let round = 0; round < 200; round++) {
      const n = 2 + draw(40);
      const [x, y] = [0, 1].map(() => Array.from({ length: n }, () => draw(1 + draw(30))));
      let [difference, tiedX, tiedY] = [0, 0, 0];
      for (let i = 0; i < n; i++) {
        for (let j = 0; j < i; j++) {
          const [a, b] = [Math.sign(x![i]! - x![j]!), Math.sign(y![i]! - y![j]!)];
          difference += a * b;
          if (a === 0) tiedX += 1;
          if (b === 0) tiedY += 1;
        }
      }
      const pairs = (n * (n - 1)) / 2;
      const expected = difference / Math.sqrt((pairs - tiedX) * (pairs - tiedY));
      const found = kendallTauB(x!, y!);
      if (tiedX === pairs || tiedY === pairs) assert.equal(found, undefined);
      else near(found, expected, 1e-12);
    }
  });
});

describe('agreement', () => {
  test('sets and bytes', () => {
    assert.deepEqual(jaccards([5, 0, 10, 0], [5, 0, 20, 5]), { files: 2 / 3, bytes: 15 / 30 });
    assert.deepEqual(jaccards([0, 0], [0, 0]), { files: 1, bytes: 1 });
    assert.deepEqual(jaccards([1, 0], [0, 1]), { files: 0, bytes: 0 });
  });

  test('means over pairs; the order of the runs does not matter', () => {
    const of = (id: string, first: number[], bytes: number[]): ComparedRun => ({
      id,
      first: Float64Array.from(first),
      bytes: Float64Array.from(bytes),
    });
    const runs = [
      of('b', [1, 2, 3, Number.NaN], [10, 10, 10, 0]),
      of('a', [1, 3, 2, 4], [10, 10, 10, 10]),
      of('c', [5, 6, 7, Number.NaN], [10, 10, 0, 0]),
    ];
    const agreement = agreementOf(runs);
    // files: ab 3/4, bc 2/3, ac 2/4; bytes the same; tau: ab 1/3, bc 1, ac 1/3.
    assert.deepEqual(agreement, { runs: 3, files: 0.638889, bytes: 0.638889, order: 0.555556 });
    assert.deepEqual(agreementOf([runs[2]!, runs[0]!, runs[1]!]), agreement);
    assert.deepEqual(agreementOf([]), { runs: 0, files: 1, bytes: 1 });
  });

  test('many runs: not every pair, and still nearly the same mean', () => {
    const draw = random(newSeed('pairs'));
    const make = (n: number): ComparedRun[] =>
      Array.from({ length: n }, (_, i) => ({
        id: String(1000 + i),
        first: new Float64Array(200).map(() => draw(1000)),
        bytes: new Float64Array(200).map(() => (draw(10) < 8 ? 1 : 0)),
      }));
    // Two random sets of 80 %: 0.64 / 0.96.
    near(agreementOf(make(80)).files, 2 / 3, 0.02);
  });
});

const measured = (ready: readonly number[], bytes = ready.map(() => 1000)): MeasuredRun[] =>
  ready.map((value, i) => ({ id: `run-${i}`, ready: value, filesRead: 10, bytesRead: bytes[i]! }));

describe('odd runs', () => {
  test('one slow run among five', () => {
    assert.deepEqual(outliersOf(measured([100, 103, 250, 98, 101])), [
      { run: 'run-2', measure: 'ready', value: 250, median: 101 },
    ]);
  });

  test('one run that reads more, all others the same to the byte', () => {
    assert.deepEqual(outliersOf(measured([1, 1, 1, 1, 1, 1], [500, 500, 500, 900, 500, 500])), [
      { run: 'run-3', measure: 'bytesRead', value: 900, median: 500 },
    ]);
  });

  test('nothing to say: few runs, small differences, equal runs', () => {
    assert.deepEqual(outliersOf(measured([100, 100, 100, 900])), []);
    assert.deepEqual(outliersOf(measured([1000, 1001, 1000, 1001, 1000, 1060])), [], '6 % is of no consequence');
    assert.deepEqual(outliersOf(measured([7, 7, 7, 7, 7])), []);
  });

  test('two kinds of runs by time to ready', () => {
    assert.deepEqual(modesOf(measured([100, 300, 102, 305, 98, 299, 101])), [
      {
        measure: 'ready',
        groups: [
          ['run-0', 'run-2', 'run-4', 'run-6'],
          ['run-1', 'run-3', 'run-5'],
        ],
        medians: [101, 300],
      },
    ]);
  });

  test('one kind: seldom taken for two, and an outlier does not make a kind', () => {
    const draw = random(newSeed('modes'));
    const normal = (): number => Array.from({ length: 12 }, () => draw(1000)).reduce((a, b) => a + b, 0) - 5000;
    for (const runs of [6, 10]) {
      let found = 0;
      for (let round = 0; round < 2000; round++) {
        if (modesOf(measured(Array.from({ length: runs }, normal))).length > 0) found += 1;
      }
      assert.ok(found / 2000 < 0.03, `${runs} runs: ${found} of 2000`);
    }
    assert.deepEqual(modesOf(measured([100, 101, 102, 99, 100, 300, 310])), [], 'two are not a kind');
  });

  test('files that come and go together', () => {
    const runs = measured([1, 1, 1, 1, 1]);
    const together = (side: number[], files: number) => Array.from({ length: files }, () => side);
    assert.deepEqual(patternsOf(runs, [...together([1, 3], 6), [0], [0, 2, 4]]), {
      outliers: [],
      modes: [
        {
          measure: 'files',
          groups: [
            ['run-0', 'run-2', 'run-4'],
            ['run-1', 'run-3'],
          ],
          medians: [1, 6],
        },
      ],
    });
    const alone = { outliers: [{ run: 'run-2', measure: 'files', value: 7, median: 0 }], modes: [] };
    assert.deepEqual(patternsOf(runs, [...together([2], 7), [0, 1]]), alone);
    assert.deepEqual(patternsOf(runs, [...together([0, 1, 3, 4], 7), [0, 1]]), alone, 'left out by run 2 alone');
    const none = { outliers: [], modes: [] };
    assert.deepEqual(patternsOf(runs, together([1, 3], 4)), none, 'four files are no sign');
    assert.deepEqual(patternsOf(runs, [...together([1, 3], 5), ...together([1], 4), ...together([2], 3)]), none);
    assert.deepEqual(patternsOf(runs.slice(0, 2), together([1], 9)), none, 'of two runs either may be odd');
  });

  test('in a profile, by the ids of its runs', () => {
    const files = (...numbers: number[]) => numbers.map((i) => `read /d/f${i} 0+10`);
    const runs = [
      run(LAYERS, files(0, 1)),
      run(LAYERS, files(0, 1), { endedAt: 2 }),
      run(LAYERS, files(0, 1, 2, 3, 4, 5, 6, 7)),
    ];
    const profile = buildProfile(runs, view);
    assert.deepEqual(profile.outliers, [{ run: profile.runs[2]!.id, measure: 'files', value: 6, median: 0 }]);
    const turned = buildProfile([...runs].reverse(), view);
    assert.deepEqual(turned.outliers, profile.outliers);
    const cut = [...runs.slice(0, 2), run(LAYERS, files(0), { complete: false, incompleteBecause: 'cut' })];
    assert.deepEqual(buildProfile(cut, view).outliers, [], 'a gap in the record is not a kind of run');
  });
});

describe('advice', () => {
  test('break-even: small files pay at once, big ones only when they are likely', () => {
    assert.equal(breakEven(0), 0);
    // 40 % of 625 kB at 12.5 MB/s are 20 ms: as long as the round trip.
    near(breakEven(625_000), 0.5, 1e-12);
    assert.ok(breakEven(100e6) > 0.99);
  });

  test('the beta-binomial distribution: sums to one, mean as known, and a value by hand', () => {
    near(betaBinomial(1, 1, 3.5, 0.5), 0.875, 1e-9);
    // Beta(1, 1) is the discrete uniform distribution.
    for (const j of [0, 1, 2, 3]) near(betaBinomial(j, 3, 1, 1), 0.25, 1e-9);
    const values = Array.from({ length: 11 }, (_, j) => betaBinomial(j, 10, 1.5, 2.5));
    near(
      values.reduce((a, b) => a + b, 0),
      1,
      1e-9,
    );
    near(
      values.reduce((a, p, j) => a + p * j, 0),
      (10 * 1.5) / 4,
      1e-9,
    );
  });

  test('files in doubt, and the runs that would settle half of them', () => {
    const always = { size: 1e6, openedIn: 5 };
    const doubtful = { size: 625_000, openedIn: 1 };
    const small = { size: 100, openedIn: 2 };
    const advice = adviceOf([always, small, ...Array.from({ length: 20 }, () => doubtful)], 5);
    assert.equal(advice.undecided, 20);
    assert.ok(advice.moreRuns >= 2 && advice.moreRuns <= 20, JSON.stringify(advice));
    assert.ok(advice.settles >= 10 && advice.settles <= 20, JSON.stringify(advice));
    assert.deepEqual(adviceOf([always, small], 5), { undecided: 0, moreRuns: 0, settles: 0 });
  });

  test('the promise is kept: what is said to be settled is, on average, when the runs are made', () => {
    const draw = random(newSeed('advice'));
    let [expected, settled] = [0, 0];
    for (let round = 0; round < 400; round++) {
      // Files whose probabilities are drawn from the prior, seen in 4 runs; then so many more as advised.
      const files = Array.from({ length: 40 }, () => {
        const p = Math.sin((Math.PI / 2) * (draw(1e6) / 1e6)) ** 2; // Beta(1/2, 1/2)
        const opened = (runs: number) => Array.from({ length: runs }, () => draw(1e6) < p * 1e6).filter(Boolean).length;
        return { size: 200_000 + draw(1e6), openedIn: opened(4), opened };
      }).filter(({ openedIn }) => openedIn > 0);
      const { moreRuns, settles } = adviceOf(files, 4);
      if (moreRuns === 0) continue;
      expected += settles;
      for (const { size, openedIn, opened } of files) {
        const even = breakEven(size);
        const open = (k: number, n: number) => wilson(k, n)[0] <= even && even <= wilson(k, n)[1];
        if (openedIn < 4 && open(openedIn, 4) && !open(openedIn + opened(moreRuns), 4 + moreRuns)) settled += 1;
      }
    }
    assert.ok(expected > 500, `${expected}`);
    near(settled / expected, 1, 0.1);
  });

  test('too few runs: make three; files that come and go for ever: no advice', () => {
    assert.deepEqual(adviceOf([{ size: 1e6, openedIn: 1 }], 1), { undecided: 0, moreRuns: 2, settles: 0 });
    const coin = { size: 625_000, openedIn: 50 };
    assert.deepEqual(adviceOf([coin], 100), { undecided: 1, moreRuns: 0, settles: 0 });
  });
});
