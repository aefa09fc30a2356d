// The figures of bench:simulate, from points made up for it; and the fit, on a simulator that is known.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fit } from '../../bench/simulate/fit.js';
import { drawScatter } from '../../bench/simulate/report.js';
import { errorsOf, type Point, ranksOf, verdictsOf } from '../../bench/simulate/results.js';
import { STARGZ_SNAPSHOTTER } from '../../src/analyze/model/client.js';

function point(variant: string, measuredMs: number, predictedMs: number, more: Partial<Point> = {}): Point {
  return {
    ...{ image: 'python', network: 'wan', variant, fitted: false, rounds: 3, measuredMs, predictedMs },
    ...{ measuredBytes: 100, predictedBytes: 100, measuredRequests: 10, predictedRequests: 11 },
    ...more,
  };
}

test('errors: median, 95th percentile, largest, bias', () => {
  const points = [100, 110, 80, 101, 150].map((predicted, i) => point(`v${i}`, 100, predicted));
  const errors = errorsOf(points, 'Ms');
  assert.ok(Math.abs(errors.median - 0.1) < 1e-9);
  assert.deepEqual([errors.points, errors.p95, errors.largest, errors.bias], [5, 0.5, 0.5, 1.01]);
  assert.ok(Math.abs(errorsOf(points, 'Requests').median - 0.1) < 1e-9);
  assert.equal(errorsOf([], 'Ms').points, 0);
});

test('ranks: pairs of one image and network that differ by more than the margin', () => {
  const points = [
    point('full', 1000, 900),
    point('plain', 500, 950),
    point('hotlayer', 480, 940),
    point('hotlayer', 100, 9000, { network: 'lan' }),
  ];
  const ranks = ranksOf(points);
  assert.deepEqual([ranks.pairs, ranks.right, ranks.wrong.length], [2, 0, 2]);
  assert.match(
    ranks.wrong[0]!,
    /^python, wan: plain was faster than full \(500 ms, 1000 ms\), foretold 950 ms, 900 ms$/,
  );
  const verdicts = verdictsOf(points);
  assert.deepEqual([verdicts.pairs, verdicts.right], [1, 0]);
  assert.equal(ranksOf(points.slice(1)).pairs, 0);
});

test('the fit finds the times that measurements were made with', () => {
  const truth = {
    ...STARGZ_SNAPSHOTTER,
    perRequest: 4 * STARGZ_SNAPSHOTTER.perRequest,
    runAfter: 0.5 * STARGZ_SNAPSHOTTER.runAfter,
  };
  const starts = [1, 10, 100, 1000];
  const time = (client: typeof truth, requests: number) => client.runAfter + requests * client.perRequest;
  const error = (client: typeof truth) =>
    starts.reduce((sum, n) => sum + Math.abs(Math.log(time(client, n) / time(truth, n))), 0) / starts.length;
  const found = fit(STARGZ_SNAPSHOTTER, error, 5);
  assert.ok(error(found) < 0.05, `${error(found)}`);
  assert.ok(Math.abs(found.perRequest / truth.perRequest - 1) < 0.15);
  // What the measurements say nothing about stays.
  assert.ok(Math.abs(found.perMiss / STARGZ_SNAPSHOTTER.perMiss - 1) < 1e-9);
});

test('the scatter has every point once, hollow when it was fitted', () => {
  const svg = drawScatter([point('full', 1000, 900), point('plain', 500, 600, { fitted: true })]);
  assert.equal([...svg.matchAll(/<title>/g)].length, 2);
  assert.equal([...svg.matchAll(/fill="none" fill-opacity/g)].length, 1);
  assert.doesNotMatch(svg, /NaN|Infinity/);
});
