// A file of budgets, and metrics held against it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isHotlayerError } from '../../../src/errors.js';
import {
  type BudgetResult,
  type CheckedMetric,
  checkBudgets,
  parseBudgets,
} from '../../../src/report/budgets/index.js';

const MIB = 2 ** 20;
const METRICS: CheckedMetric[] = [
  {
    id: 'startup-time',
    unit: 'ns',
    better: 'lower',
    value: 2e9,
    runs: [2.4e9, 1.8e9, 2e9, 1.9e9, 2.1e9],
    base: { value: 1.9e9, runs: [1.9e9, 2.2e9, 1.7e9, 1.8e9, 2.05e9] },
  },
  {
    id: 'startup-bytes',
    unit: 'bytes',
    better: 'lower',
    value: 60 * MIB,
    runs: [58, 59, 60, 61, 66].map((n) => n * MIB),
    base: { value: 50 * MIB, runs: [49, 50, 50, 51, 52].map((n) => n * MIB) },
  },
  { id: 'startup-files', unit: 'count', better: 'lower', value: 1204, runs: [1198, 1201, 1204, 1207, 1241] },
  { id: 'prefetch-coverage', unit: 'share', better: 'higher', value: 0.974, base: { value: 0.99 } },
  { id: 'run-stability', unit: 'share', better: 'higher', value: 0.9, runs: [0.8, 0.9, 0.95] },
];

/** Of one rule: PASS or FAIL, expected, found, detail. */
function check(id: string, rule: unknown, more: object = {}, metrics = METRICS): string[] {
  const budgets = parseBudgets(JSON.stringify({ budgets: { [id]: rule }, ...more }), 'b.json');
  return checkBudgets(metrics, budgets, true).map(line);
}

function line({ ok, level, expected, found, detail }: BudgetResult): string {
  return `${ok ? 'PASS' : level === 'error' ? 'FAIL' : 'WARN'} ${expected} | ${found} | ${detail ?? ''}`;
}

const ALL = '58.0 MiB, 59.0 MiB, 60.0 MiB, 61.0 MiB, 66.0 MiB';

test('absolute limits, human amounts', () => {
  assert.deepEqual(check('startup-bytes', ['error', { max: '60MiB' }]), [
    `PASS ≤ 60.0 MiB | 60.0 MiB | median of 5 runs: ${ALL}`,
  ]);
  assert.deepEqual(check('startup-files', ['error', { max: 1100 }]), [
    'FAIL ≤ 1 100 | 1 204 | median of 5 runs: 1 198, 1 201, 1 204, 1 207, 1 241',
  ]);
  assert.match(
    check('startup-time', ['warn', { max: '1.5s', min: '300ms' }]).join(),
    /^WARN ≤ 1\.50 s.*,PASS ≥ 300 ms/,
  );
  assert.deepEqual(check('prefetch-coverage', ['error', { min: '98%' }]), ['FAIL ≥ 98.0 % | 97.4 % | ']);
  assert.deepEqual(check('prefetch-coverage', ['error', { min: 0.97 }]), ['PASS ≥ 97.0 % | 97.4 % | ']);
});

test('median, best and worst run: which is which depends on the metric', () => {
  const found = (id: string, aggregate: string) => check(id, ['error', { max: 1e12, aggregate }])[0]!.split(' | ')[1];
  assert.deepEqual(
    ['median', 'optimistic', 'pessimistic'].map((how) => found('startup-bytes', how)),
    ['60.0 MiB', '58.0 MiB', '66.0 MiB'],
  );
  assert.deepEqual(
    ['median', 'optimistic', 'pessimistic'].map((how) => found('run-stability', how)),
    ['90.0 %', '95.0 %', '80.0 %'],
  );
  assert.match(check('startup-bytes', ['error', { max: 1 }], { aggregate: 'optimistic' })[0]!, /best of 5 runs/);
});

test('changes from the base count only beyond the noise', () => {
  assert.deepEqual(check('startup-bytes', ['error', { maxIncrease: '5%' }]), [
    `FAIL ≤ 52.5 MiB (base 50.0 MiB + 5 %) | 60.0 MiB | median of 5 runs: ${ALL}; ` +
      'base: median of 5 runs: 49.0 MiB, 50.0 MiB, 50.0 MiB, 51.0 MiB, 52.0 MiB; ' +
      'beyond the noise (rank test, 5 against 5 runs: p = 0.0079)',
  ]);
  const [time] = check('startup-time', ['error', { maxIncrease: '1%' }]);
  assert.match(time!, /^PASS ≤ 1\.92 s \(base 1\.90 s \+ 1 %\).*over the limit, but within the noise \(rank test/);
  assert.match(
    check('startup-bytes', ['error', { maxIncrease: '10MiB' }])[0]!,
    /^PASS ≤ 60\.0 MiB \(base 50\.0 MiB \+ 10\.0 MiB\)/,
  );
  // No matter of runs: any change counts.
  assert.deepEqual(check('prefetch-coverage', ['error', { maxDecrease: 0.01 }]), [
    'FAIL ≥ 98.0 % (base 99.0 % − 1.00 percentage points) | 97.4 % | ',
  ]);
  assert.match(
    check('startup-files', ['error', { maxIncrease: 0 }])[0]!,
    /^FAIL ≤ base \+ 0 \| 1 204 \| the base does not have it/,
  );
  const one = METRICS.map((m) => ({ ...m, runs: [m.value] }));
  assert.match(
    check('startup-time', ['error', { maxIncrease: '1%' }], {}, one)[0]!,
    /^FAIL .*noise not known, so it counts/,
  );
});

test('a metric that the report does not have fails, and says what it needs; off is off', () => {
  assert.deepEqual(check('image-growth', ['error', { max: '2%' }]), [
    'FAIL ≤ 2.00 % | not known | it needs --before and --after',
  ]);
  assert.match(check('simulated-ready-100mbit-20ms', ['warn', { max: '5s' }])[0]!, /^WARN ≤ 5\.00 s \| not known/);
  assert.deepEqual(check('image-growth', 'off'), []);
  assert.deepEqual(check('image-growth', ['off', { max: '2%' }]), []);
});

function refused(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    assert.ok(isHotlayerError(error) && error.exitCode === 2, String(error));
    return `${error.message} → ${error.hint}`;
  }
  return 'accepted';
}

test('what is wrong with a file is said with its place, and what was meant', () => {
  const parse = (value: unknown) => refused(() => parseBudgets(JSON.stringify(value), 'b.json'));
  const rule = (value: unknown, id = 'startup-bytes') => parse({ budgets: { [id]: value } });
  assert.equal(
    rule(['error', { max: 1 }], 'startup-byte'),
    'b.json: "budgets": "startup-byte" is no metric → did you mean "startup-bytes"?',
  );
  assert.match(rule(['error', { max: 1 }], 'simulated-redy-lan'), /did you mean "simulated-ready-NETWORK"\?/);
  assert.match(rule(['error', { max: 1 }], 'zzz'), /is no metric → known are startup-time, /);
  assert.match(rule(['eror', { max: 1 }]), /"startup-bytes" has the level "eror".* → did you mean "error"\?/);
  assert.match(rule(['error', { maximum: 1 }]), /"maximum" is not known here → did you mean "max"\?/);
  assert.match(rule('error'), /sets no limit/);
  assert.match(rule(['error', { max: '5 parsecs' }]), /"max" is "5 parsecs", expected a size like "60MiB"/);
  assert.match(rule(['error', { max: -1 }]), /"max" is -1/);
  assert.match(rule(['error', { max: '5%' }]), /"max" is "5%", expected a size/);
  assert.match(rule(['error', { max: 5 }], 'startup-time'), /expected a time like "2.5s"/);
  assert.match(rule(['error', { max: 5, aggregate: 'medain' }]), /did you mean "median"\?/);
  assert.match(rule(['error', { max: 5, alpha: 2 }]), /"alpha" is 2, expected a number between 0 and 1/);
  assert.match(rule(['error', { max: 5 }, 7]), /more than a level and options/);
  assert.match(parse({ budget: {} }), /"budget" is not known here → did you mean "budgets"\?/);
  assert.match(parse([]), /is \[\], expected an object/);
  assert.match(parse({ budgets: { __proto__x: 1 } }), /is no metric/);
  assert.match(
    refused(() => parseBudgets('{', 'b.json')),
    /^b\.json: not JSON/,
  );
  const budgets = parseBudgets('{"budgets":{"startup-bytes":["error",{"maxIncrease":"5%"}]}}', 'b.json');
  assert.match(
    refused(() => checkBudgets(METRICS, budgets, false)),
    /has maxIncrease, and there is no base → give --base/,
  );
  assert.deepEqual(checkBudgets(METRICS, budgets, 'optional').map(line), [
    'WARN ≤ base + 5 % | 60.0 MiB | not held: there is no base yet',
  ]);
});
