// Simulated against measured starts.
//   npm run bench:simulate -- --dir DIR [--images python,nginx] [--networks …] [--fit] [--min-rounds 1] [--out DIR]
// DIR is bench:startup's (HOTLAYER_BENCH_DIR): its images, profiles and measurements are taken as they are, so run
// that first, with four networks: bench:startup -- --networks loopback,5ms/300mbit,20ms/100mbit,100ms/25mbit.
// --fit finds the client's times anew, on every second image, and tests them on the others.
import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type ClientModel, STARGZ_SNAPSHOTTER } from '../src/analyze/model/client.js';
import { assumptions } from '../src/analyze/simulate/simulate.js';
import { casesOf, madeDigest, predict, readStored, type StoredImage } from './simulate/cases.js';
import { fit } from './simulate/fit.js';
import { drawScatter, render } from './simulate/report.js';
import { errorsOf, type Point, ranksOf, verdictsOf } from './simulate/results.js';
import { WORKLOADS } from './startup/images.js';
import type { Measurement } from './startup/results.js';
import { VARIANTS } from './startup/variants.js';
import { Journal } from './support/journal.js';
import { describeHotlayer, describeMachine, ROOT, writeReport } from './support/report.js';

const { values } = parseArgs({
  options: {
    dir: { type: 'string', default: process.env.HOTLAYER_BENCH_DIR ?? join(tmpdir(), 'hotlayer-bench-startup') },
    images: { type: 'string' },
    networks: { type: 'string' },
    fit: { type: 'boolean', default: false },
    'min-rounds': { type: 'string', default: '1' },
    out: { type: 'string' },
  },
});
const say = (text: string) => process.stderr.write(`${text}\n`);
const among = (list: string | undefined) => (name: string) => list === undefined || list.split(',').includes(name);

const journal = new Journal<Measurement>(join(values.dir, 'measurements.jsonl'));
const wanted = among(values.images);
const measuredImages = WORKLOADS.map(({ recipe }) => recipe.name).filter(
  (name) => wanted(name) && journal.entries().some(({ image }) => image === name),
);
const variants = VARIANTS.map(({ name }) => name);
const stored = new Map<string, StoredImage>();
for (const image of measuredImages) stored.set(image, await readStored(values.dir, image, variants));
const inNetworks = among(values.networks);
const cases = casesOf(journal.entries(), stored, (image, variant) => madeDigest(values.dir, image, variant)).filter(
  ({ network, readyMs }) => inNetworks(network) && readyMs.length >= Number(values['min-rounds']),
);
if (cases.length === 0) throw new Error(`${values.dir}: no measurements of the images as they are now`);

// Every second image, in the order of the list: kinds of programs on both sides.
const trained = new Set(values.fit ? measuredImages.filter((_, i) => i % 2 === 0) : []);
const training = cases.filter(({ image }) => trained.has(image));
const client = values.fit ? fit(STARGZ_SNAPSHOTTER, (tried) => errorOf(tried)) : STARGZ_SNAPSHOTTER;

function errorOf(tried: ClientModel): number {
  const logs = training.map((one) => Math.abs(Math.log(predict(one, tried).ready.median / 1e6 / one.measured.readyMs)));
  return logs.reduce((sum, value) => sum + value, 0) / logs.length;
}

const points = cases.map((one): Point => {
  const { ready, bytes, requests } = predict(one, client);
  const { image, network, variant, measured, readyMs } = one;
  return {
    ...{ image, network, variant, fitted: trained.has(image), rounds: readyMs.length },
    ...{ measuredMs: measured.readyMs, predictedMs: ready.median / 1e6 },
    ...{ measuredBytes: measured.bytes, predictedBytes: bytes.median },
    ...{ measuredRequests: measured.requests, predictedRequests: requests.median },
  };
});
const machine = describeMachine({
  containerd: ['containerd', '--version'],
  'stargz-snapshotter': ['dpkg-query', '-W', `-f=stargz-snapshotter \${Version}`, 'stargz-snapshotter'],
});
const hotlayer = describeHotlayer();
const scatter = 'bench-simulate.svg';
const markdown = render({ points, client, assumptions: assumptions(client), machine, hotlayer, scatter });
process.stdout.write(markdown);
const test = points.filter(({ fitted }) => !fitted);
const data = {
  ...{ schemaVersion: 1, hotlayer, machine, client, points },
  errors: { test: errorsOf(test, 'Ms'), bytes: errorsOf(points, 'Bytes'), requests: errorsOf(points, 'Requests') },
  ...{ ranks: ranksOf(points), verdicts: verdictsOf(points) },
};
const written = writeReport('bench-simulate', data, markdown, values.out);
const drawing = join(values.out ?? join(ROOT, 'reports'), scatter);
writeFileSync(drawing, drawScatter(points));
say(`written: ${[...written, drawing].join(', ')}`);
