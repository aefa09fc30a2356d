// Time to ready of images pulled cold, beside a full pull and the peer's optimizer.
//   npm run bench:startup -- [--runs 5] [--images python,nginx] [--networks loopback,20ms/100mbit] [--variants …]
//     [--dir DIR] [--out DIR] [--requests] [--quick] [--fresh] [--report-only]
// Images are made once and kept in --dir (or HOTLAYER_BENCH_DIR; default: below the system's temporary directory), and
// so are measurements: a run that was interrupted goes on where it was. Needs root and what test/e2e/client needs.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { labImage } from '../test/support/lab/images.js';
import { ThrottlingProxy } from '../test/support/lab/proxy.js';
import { lackingClient } from '../test/support/lab/tools.js';
import { coldStart } from './startup/cold-start.js';
import { type Options, readOptions } from './startup/options.js';
import { render } from './startup/report.js';
import { casesOf, type Measurement, meansOf, type Scope, shortcomings } from './startup/results.js';
import { rounds, type Turn } from './startup/rounds.js';
import { isSecluded, runSecluded } from './startup/seclusion.js';
import { type Made, makeVariant } from './startup/variants.js';
import { Workshop } from './startup/workshop.js';
import { Journal } from './support/journal.js';
import { describeHotlayer, describeMachine, writeReport } from './support/report.js';

const say = (text: string) => process.stderr.write(`${text}\n`);
const options = readOptions();
const lacking = lackingClient('ip', 'setpriv');
if (lacking) throw new Error(lacking);
process.exitCode = await (isSecluded() ? run(options) : prepare(options));

/** What needs the machine's network: the packages. */
async function prepare({ workloads, directory }: Options): Promise<number> {
  for (const { recipe } of workloads) await labImage(recipe, join(directory, 'images'));
  return runSecluded();
}

/** @returns the exit status */
async function run({ workloads, variants, networks, runs, directory, ...options }: Options): Promise<number> {
  await using workshop = await Workshop.open(directory, say);
  const made = new Map<string, Made>();
  for (const workload of workloads) {
    const image = await labImage(workload.recipe, join(directory, 'images'));
    for (const variant of variants) {
      const one = await makeVariant(workshop, variant, workload, image);
      made.set(`${workload.recipe.name} ${variant.name}`, one);
    }
  }
  const journal = new Journal<Measurement>(join(directory, 'measurements.jsonl'), { fresh: options.fresh });
  const bench: Bench = { workshop, made, journal, keepRequests: options.requests };
  const failures = options.reportOnly ? 0 : await measureAll(bench, rounds(runs, workloads, networks, variants));
  report(bench, { workloads, variants, networks, runs, directory, ...options });
  if (failures > 0) say(`${failures} measurements failed; run it again to make them`);
  return failures > 0 ? 1 : 0;
}

interface Bench {
  readonly workshop: Workshop;
  /** `IMAGE VARIANT` → what was made. */
  readonly made: ReadonlyMap<string, Made>;
  readonly journal: Journal<Measurement>;
  readonly keepRequests: boolean;
}

/** @returns how many failed */
async function measureAll(bench: Bench, turns: readonly Turn[]): Promise<number> {
  await using proxy = await ThrottlingProxy.start(bench.workshop.registry.port);
  let failures = 0;
  for (const [i, turn] of turns.entries()) {
    if (bench.journal.entries().some((entry) => isOf(bench, entry, turn))) continue;
    const { round, workload, network, variant } = turn;
    const what = `${i + 1}/${turns.length} round ${round} ${workload.recipe.name} ${network.name} ${variant.name}`;
    try {
      say(`${what}: ${await measure(bench, proxy, turn)}`);
    } catch (error) {
      failures += 1;
      say(`${what}: FAILED: ${(error as Error).message}`);
    }
  }
  return failures;
}

/** @returns what is to be said of it */
async function measure(bench: Bench, proxy: ThrottlingProxy, turn: Turn): Promise<string> {
  const { round, workload, network, variant } = turn;
  proxy.setNetwork(network);
  const one = madeOf(bench, turn);
  const { start, exchanges } = await coldStart(bench.workshop, proxy, one, variant.snapshotter, workload.ready);
  const names = { image: workload.recipe.name, network: network.name, variant: variant.name };
  bench.journal.add({ ...names, round, digest: one.digest, at: new Date().toISOString(), ...start });
  if (bench.keepRequests) {
    const directory = join(bench.workshop.directory, 'requests');
    mkdirSync(directory, { recursive: true });
    const file = `${Object.values(names).join('-').replaceAll('/', '-')}-${round}.json`;
    writeFileSync(join(directory, file), JSON.stringify({ ...names, round, ...start, exchanges }));
  }
  const { readyMs, bytes, requests, onDemand, cpuMs } = start;
  const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`;
  return `${seconds(readyMs)}, ${(bytes / 1e6).toFixed(2)} MB, ${requests} requests, ${onDemand ?? '–'} on demand, cpu ${seconds(cpuMs)}`;
}

function madeOf({ made }: Bench, { workload, variant }: Turn): Made {
  return made.get(`${workload.recipe.name} ${variant.name}`)!;
}

function isOf(bench: Bench, entry: Measurement, turn: Turn): boolean {
  const { round, workload, network, variant } = turn;
  const same = entry.image === workload.recipe.name && entry.network === network.name && entry.variant === variant.name;
  return same && entry.round === round && entry.digest === madeOf(bench, turn).digest;
}

function report({ made, journal }: Bench, { workloads, variants, networks, runs, dry, out }: Options): void {
  const scope: Scope = {
    images: workloads.map((w) => w.recipe.name),
    extra: workloads.filter((w) => w.extra).map((w) => w.recipe.name),
    networks: networks.map((n) => n.name),
    variants: variants.map((v) => v.name),
    digests: new Map([...made].map(([key, { digest }]) => [key, digest])),
  };
  const measurements = journal.entries().filter((entry) => entry.round < runs);
  const cases = casesOf(measurements, scope);
  if (cases.length === 0) {
    say('nothing is measured in all variants so far: there is no report');
    return;
  }
  const results = { cases, means: meansOf(cases, scope), shortcomings: shortcomings(cases) };
  const hotlayer = describeHotlayer();
  const machine = describeMachine({
    containerd: ['containerd', '--version'],
    'stargz-snapshotter': ['dpkg-query', '-W', `-f=stargz-snapshotter \${Version}`, 'stargz-snapshotter'],
    registry: ['docker-registry', '--version'],
  });
  const markdown = render({ workloads, variants, networks: scope.networks, made, ...results, machine, hotlayer });
  process.stdout.write(markdown);
  if (dry) return;
  const images = workloads.map(({ recipe, ready, about, extra }) => ({
    image: recipe.name,
    about,
    ready,
    extra: extra ?? false,
    variants: Object.fromEntries(variants.map((v) => [v.name, made.get(`${recipe.name} ${v.name}`)!])),
  }));
  const shown = measurements.filter((m) => scope.digests.get(`${m.image} ${m.variant}`) === m.digest);
  const data = { schemaVersion: 1, hotlayer, machine, networks, images, ...results, measurements: shown };
  say(`written: ${writeReport('bench-startup', data, markdown, out).join(', ')}`);
}
