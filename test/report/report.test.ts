// The report object: its numbers against ones counted by hand, its schema, and that it is the same each time.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { Coverage } from '../../src/analyze/ranges.js';
import { formatSaved } from '../../src/analyze/saved.js';
import { fileTree } from '../../src/report/file-tree.js';
import { assembleReport, reportOk, withBudgets } from '../../src/report/report.js';
import { reportSchema } from '../../src/report/schema.js';
import type { TreeNode } from '../../src/report/types.js';
import { checkSchema } from '../../src/trace/json-schema.js';
import { newSeed, random } from '../analyze/support.js';
import { HOSTILE, hostileInputs, hostileProfile, hostileReport } from './fixture.js';

const report = hostileReport();

test('metrics', () => {
  const value = (id: string): number | undefined => report.metrics.find((metric) => metric.id === id)?.value;
  assert.equal(value('startup-files'), HOSTILE.length);
  // Of each file a page and 100 bytes more than of the one before.
  const bytes = HOSTILE.reduce((sum, _, i) => sum + 4096 + 100 * (i + 1), 0);
  assert.equal(value('startup-bytes'), bytes);
  assert.deepEqual(report.metrics.find(({ id }) => id === 'startup-bytes')!.runs, [bytes, bytes - 4396, bytes]);
  assert.equal(value('failed-lookups'), HOSTILE.length);
  const sizes = [report.before!, report.after!].map(({ size }) => size);
  assert.equal(value('image-size'), sizes[1]);
  assert.equal(value('image-growth'), 0);
});

test('coverage and waste, counted by hand', () => {
  const { prefetch, after } = report;
  const { located = [], layers } = hostileInputs.after!;
  let [needed, covered] = [0, 0];
  for (const [i, file] of hostileProfile.files.entries()) {
    if (file.type !== 'reg') continue;
    needed += file.bytesRead.median;
    const [layer, number] = located[i]!;
    if (number < layers[layer]!.files!.prefetched) covered += file.bytesRead.median;
  }
  assert.equal(prefetch!.coverage, Math.round((1e6 * covered) / needed) / 1e6);
  assert.deepEqual(
    prefetch!.unused.largest.map(({ path }) => path),
    ['/unread <i>', '/unread <i>'],
  );
  assert.equal(prefetch!.unused.bytes, 100_000);
  assert.equal(prefetch!.missing.files + prefetch!.covered.length, HOSTILE.length);
  assert.equal(prefetch!.compressed, after!.prefetchBytes);
});

test('the median run, and the curve of what is needed', () => {
  const { startup } = report;
  assert.equal(startup!.files.file.length, HOSTILE.length);
  const last = startup!.cumulative.at(-1)!;
  assert.equal(
    last[1],
    startup!.files.bytes.reduce((a, b) => a + b, 0),
  );
  assert.equal(last[2], HOSTILE.length);
  for (const [i, [t, bytes]] of startup!.cumulative.entries()) {
    const before = startup!.cumulative[i - 1];
    if (before) assert.ok(t >= before[0] && bytes >= before[1]);
  }
});

test('what comes and goes', () => {
  assert.deepEqual(report.stability.openedIn, [0, 1, HOSTILE.length - 1]);
  assert.deepEqual(
    report.stability.sometimes.map(({ path, runs }) => [path, runs]),
    [[HOSTILE[2], '101']],
  );
  assert.equal(report.stability.jaccard[0]![1], Math.round((1000 * (HOSTILE.length - 1)) / HOSTILE.length) / 1000);
});

test('the schema fits, for ajv and for our own check, and says no to what is not a report', () => {
  const saved = JSON.parse(formatSaved(report)) as unknown;
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  assert.ok(ajv.validate(reportSchema, saved), JSON.stringify(ajv.errors));
  assert.deepEqual(checkSchema(saved, reportSchema), []);
  const wrong = { ...(saved as object), metrics: [{ id: 'UPPER' }] };
  assert.equal(ajv.validate(reportSchema, wrong), false);
  assert.notDeepEqual(checkSchema(wrong, reportSchema), []);
});

test('the same inputs give the same report', () => {
  assert.equal(formatSaved(assembleReport(hostileInputs)), formatSaved(assembleReport(structuredClone(hostileInputs))));
});

test('with a base, what it was', () => {
  const base = assembleReport({ profile: hostileProfile });
  const again = assembleReport({ ...hostileInputs, base });
  for (const metric of again.metrics) {
    const was = base.metrics.find(({ id }) => id === metric.id);
    assert.deepEqual(metric.base?.value, was?.value);
  }
  assert.ok(again.metrics.some(({ base: was }) => was !== undefined));
});

test('what fails: budgets that are errors, and verification', () => {
  const good = assembleReport({ profile: hostileProfile });
  const budget = { id: 'x', expected: '1', found: '2' };
  assert.equal(reportOk(good), true);
  assert.equal(reportOk(withBudgets(good, [{ ...budget, level: 'warn', ok: false }])), true);
  assert.equal(reportOk(withBudgets(good, [{ ...budget, level: 'error', ok: false }])), false);
  assert.equal(reportOk(assembleReport(hostileInputs)), false);
});

test('coverage of ranges, against a list of bytes', () => {
  const draw = random(newSeed('coverage'));
  for (let round = 0; round < 50; round++) {
    const bytes = new Uint8Array(200);
    const covered = new Coverage();
    for (let i = 0; i < 40; i++) {
      const [offset, length] = [draw(150), draw(50)];
      const fresh = bytes.subarray(offset, offset + length).filter((byte) => byte === 0).length;
      bytes.fill(1, offset, offset + length);
      assert.equal(covered.add(offset, length), fresh);
    }
    assert.equal(covered.total, bytes.filter((byte) => byte === 1).length);
  }
});

test('a tree keeps all bytes, however many files there are', () => {
  const files = Array.from({ length: 20_000 }, (_, i) => ({
    path: `d${i % 7}/e${i % 100}/f${i}`,
    size: 1 + (i % 1000),
    heat: (i % 3) as 0 | 1 | 2,
  }));
  const tree = fileTree(files);
  let nodes = 0;
  const check = (node: TreeNode): void => {
    nodes += 1;
    if (!node.children) return;
    for (const key of ['size', 'every', 'some', 'files'] as const)
      assert.equal(
        node.children.reduce((sum, child) => sum + child[key], 0),
        node[key],
        node.name,
      );
    node.children.forEach(check);
  };
  check(tree);
  assert.equal(
    tree.size,
    files.reduce((sum, { size }) => sum + size, 0),
  );
  assert.ok(nodes > 100 && nodes < 3000, `${nodes} nodes`);
});
