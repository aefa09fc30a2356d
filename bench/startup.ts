// Time to ready of images pulled cold, beside a full pull and the peer's optimizer.
//   npm run bench:startup -- [--runs 5] [--images python,nginx] [--networks loopback,20ms/100mbit] [--variants …]
//     [--dir DIR] [--out DIR] [--requests] [--quick] [--fresh] [--report-only]
// Images are made once and kept in --dir (or HOTLAYER_BENCH_DIR; default: below the system's temporary directory), and
// so are measurements: a run that was interrupted goes on where it was. Needs root and what test/e2e/client needs.
import { mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { labImage } from '../test/support/lab/images.js';
import { ThrottlingProxy } from '../test/support/lab/proxy.js';
import { lackingClient } from '../test/support/lab/tools.js';
import { coldStart } from './startup/cold-start.js';
import { WORKLOADS } from './startup/images.js';
import { NETWORKS, parseNetwork } from './startup/networks.js';
import { render } from './startup/report.js';
import { casesOf, type Measurement, meansOf, type Scope, shortcomings } from './startup/results.js';
import { rounds, type Turn } from './startup/rounds.js';
import { type Made, makeVariant, VARIANTS } from './startup/variants.js';
import { Workshop } from './startup/workshop.js';
import { Journal } from './support/journal.js';
import { describeHotlayer, describeMachine, writeReport } from './support/report.js';

const { values } = parseArgs({
  options: {
    runs: { type: 'string' },
    images: { type: 'string' },
    networks: { type: 'string' },
    variants: { type: 'string' },
    /** Where images and measurements are kept. */
    dir: { type: 'string', default: process.env.HOTLAYER_BENCH_DIR ?? join(tmpdir(), 'hotlayer-bench-startup') },
    /** Where the report goes; default: reports/ of this repository. */
    out: { type: 'string' },
    /** Keep every request of every measurement in DIR/requests. */
    requests: { type: 'boolean', default: false },
    /** One image, two networks, two rounds, no report: does it work at all? */
    quick: { type: 'boolean', default: false },
    /** Forget the measurements of earlier runs (not the images). */
    fresh: { type: 'boolean', default: false },
    'report-only': { type: 'boolean', default: false },
  },
});
const say = (text: string) => process.stderr.write(`${text}\n`);
const runs = Number(values.runs ?? (values.quick ? 2 : 5));
const workloads = pick(WORKLOADS, values.images ?? (values.quick ? 'python' : undefined), (w) => w.recipe.name);
const variants = pick(VARIANTS, values.variants, (v) => v.name);
const networks = values.networks?.split(',').map(parseNetwork) ?? (values.quick ? NETWORKS.slice(0, 2) : NETWORKS);
const lacking = lackingClient();
if (lacking) throw new Error(lacking);

await using workshop = await Workshop.open(values.dir, say);
const made = new Map<string, Made>();
for (const workload of workloads) {
  const image = await labImage(workload.recipe, join(values.dir, 'images'));
  for (const variant of variants)
    made.set(`${workload.recipe.name} ${variant.name}`, await makeVariant(workshop, variant, workload, image));
}
const journal = new Journal<Measurement>(join(values.dir, 'measurements.jsonl'), { fresh: values.fresh });
let failures = 0;
if (!values['report-only']) {
  await using proxy = await ThrottlingProxy.start(workshop.registry.port);
  const turns = rounds(runs, workloads, networks, variants);
  for (const [i, turn] of turns.entries()) {
    if (!journal.entries().some((entry) => isOf(entry, turn))) await measure(proxy, turn, `${i + 1}/${turns.length}`);
  }
}
report();
if (failures > 0) {
  say(`${failures} measurements failed; run it again to make them`);
  process.exitCode = 1;
}

async function measure(proxy: ThrottlingProxy, turn: Turn, position: string): Promise<void> {
  const { round, workload, network, variant } = turn;
  const what = `${position} round ${round} ${workload.recipe.name} ${network.name} ${variant.name}`;
  try {
    proxy.setNetwork(network);
    const one = madeOf(turn);
    const { start, exchanges } = await coldStart(workshop, proxy, one, variant.snapshotter, workload.ready);
    const names = { image: workload.recipe.name, network: network.name, variant: variant.name };
    journal.add({ ...names, round, digest: one.digest, at: new Date().toISOString(), ...start });
    if (values.requests) {
      mkdirSync(join(values.dir, 'requests'), { recursive: true });
      const file = `${Object.values(names).join('-').replaceAll('/', '-')}-${round}.json`;
      writeFileSync(join(values.dir, 'requests', file), JSON.stringify({ ...names, round, ...start, exchanges }));
    }
    const { readyMs, bytes, requests, onDemand, cpuMs } = start;
    const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`;
    say(
      `${what}: ${seconds(readyMs)}, ${(bytes / 1e6).toFixed(2)} MB, ${requests} requests, ${onDemand ?? '–'} on demand, cpu ${seconds(cpuMs)}`,
    );
  } catch (error) {
    failures += 1;
    say(`${what}: FAILED: ${(error as Error).message}`);
  }
}

function madeOf({ workload, variant }: Turn): Made {
  return made.get(`${workload.recipe.name} ${variant.name}`)!;
}

function isOf(entry: Measurement, turn: Turn): boolean {
  const { round, workload, network, variant } = turn;
  const same = entry.image === workload.recipe.name && entry.network === network.name && entry.variant === variant.name;
  return same && entry.round === round && entry.digest === madeOf(turn).digest;
}

function report(): void {
  const scope: Scope = {
    images: workloads.map((w) => w.recipe.name),
    extra: workloads.filter((w) => w.extra).map((w) => w.recipe.name),
    networks: networks.map((n) => n.name),
    variants: variants.map((v) => v.name),
    digests: new Map([...made].map(([key, { digest }]) => [key, digest])),
  };
  const measurements = journal.entries().filter((entry) => entry.round < runs);
  const cases = casesOf(measurements, scope);
  if (cases.length === 0) throw new Error('nothing was measured');
  const results = { cases, means: meansOf(cases, scope), shortcomings: shortcomings(cases) };
  const hotlayer = describeHotlayer();
  const machine = describeMachine({
    containerd: ['containerd', '--version'],
    'stargz-snapshotter': ['dpkg-query', '-W', `-f=stargz-snapshotter \${Version}`, 'stargz-snapshotter'],
    registry: ['docker-registry', '--version'],
  });
  const markdown = render({ workloads, variants, networks: scope.networks, made, ...results, machine, hotlayer });
  process.stdout.write(markdown);
  if (values.quick) return;
  const images = workloads.map(({ recipe, ready, about, extra }) => ({
    image: recipe.name,
    about,
    ready,
    extra: extra ?? false,
    variants: Object.fromEntries(variants.map((v) => [v.name, made.get(`${recipe.name} ${v.name}`)!])),
  }));
  const data = { schemaVersion: 1, hotlayer, machine, networks, images, ...results, measurements };
  say(`written: ${writeReport('bench-startup', data, markdown, values.out).join(', ')}`);
}

/** The named ones of a list, in the list's order. @param names separated by commas; absent: all */
function pick<T>(all: readonly T[], names: string | undefined, nameOf: (one: T) => string): readonly T[] {
  if (names === undefined) return all;
  const wanted = names.split(',');
  const unknown = wanted.filter((name) => !all.some((one) => nameOf(one) === name));
  if (unknown.length > 0) throw new Error(`unknown: ${unknown.join(', ')}; there are ${all.map(nameOf).join(', ')}`);
  return all.filter((one) => wanted.includes(nameOf(one)));
}
