// Time to ready and bytes of `hotlayer run`, cold, beside containerd with the stargz snapshotter on the peer's optimized
// image; and warm, beside the same container on an extracted directory.
//   npm run bench:run -- [--runs 5] [--images python,nginx] [--networks 20ms/100mbit] [--dir DIR] [--out DIR] [--fresh] [--report-only]
// Images are made once and kept in --dir, as bench:startup does; so are measurements. Needs root and what test/e2e/client needs.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseStart, START_ANNOTATION } from '../src/lazy/start-map.js';
import { makeTempDir } from '../src/temp.js';
import { labImage } from '../test/support/lab/images.js';
import { ThrottlingProxy } from '../test/support/lab/proxy.js';
import { lackingClient } from '../test/support/lab/tools.js';
import { extractImage } from './run/extract.js';
import { startLazily } from './run/lazy-start.js';
import { predictRun, storedFor } from './run/predict.js';
import { type Case, type Measured, render } from './run/report.js';
import type { StoredImage } from './simulate/cases.js';
import { coldStart } from './startup/cold-start.js';
import type { Workload } from './startup/images.js';
import { parseNetwork } from './startup/networks.js';
import { readOptions } from './startup/options.js';
import { isSecluded, runSecluded } from './startup/seclusion.js';
import { hotlayerVariant, type Made, makeVariant, VARIANTS } from './startup/variants.js';
import { Workshop } from './startup/workshop.js';
import { Journal } from './support/journal.js';
import { describeHotlayer, describeMachine, writeReport } from './support/report.js';

const say = (text: string) => process.stderr.write(`${text}\n`);
const args = process.argv.slice(2);
const options = readOptions(args.includes('--networks') ? args : [...args, '--networks', '20ms/100mbit,100ms/25mbit']);
const lacking = lackingClient('ip', 'setpriv');
if (lacking) throw new Error(lacking);
const PEER = VARIANTS.find(({ name }) => name === 'peer')!;
const FULL = VARIANTS.find(({ name }) => name === 'full')!;
const OURS = hotlayerVariant('run', 'hotlayer run', ['--reader', 'hotlayer']);
process.exitCode = isSecluded() ? await run() : await prepare();

/** What needs the machine's network: the packages. */
async function prepare(): Promise<number> {
  for (const { recipe } of options.workloads) await labImage(recipe, join(options.directory, 'images'));
  return runSecluded();
}

async function run(): Promise<number> {
  const { workloads, networks, runs, directory } = options;
  await using workshop = await Workshop.open(directory, say);
  await using proxy = await ThrottlingProxy.start(workshop.registry.port);
  using temp = makeTempDir(undefined, 'hotlayer-bench-run');
  const journal = new Journal<Measured>(join(directory, 'measurements-run.jsonl'), { fresh: options.fresh });
  const made = new Map<string, { peer: Made; ours: Made; touched: number }>();
  for (const workload of workloads) {
    const image = await labImage(workload.recipe, join(directory, 'images'));
    // The peer's tool takes the unchanged image from the registry.
    await makeVariant(workshop, FULL, workload, image);
    const peer = await makeVariant(workshop, PEER, workload, image);
    const ours = await makeVariant(workshop, OURS, workload, image);
    made.set(workload.recipe.name, { peer, ours, touched: await touchedBytes(workshop, ours) });
  }
  const plain = new Map<string, readonly string[]>();
  for (const workload of options.reportOnly ? [] : workloads)
    plain.set(workload.recipe.name, await onDirectory(workload, join(temp.path, workload.recipe.name), directory));
  let failures = 0;
  for (let round = 0; round < runs && !options.reportOnly; round++) {
    for (const [i, workload] of workloads.entries()) {
      const name = workload.recipe.name;
      for (const [k, network] of networks.entries()) {
        const { peer, ours } = made.get(name)!;
        const digests = whatWasMeasured(peer, ours);
        const known = (m: Measured) => m.image === name && m.network === network.name && m.round === round;
        if (journal.entries().some((m) => known(m) && m.digests === digests)) continue;
        proxy.setNetwork(parseNetwork(network.name));
        const cache = join(temp.path, 'cache');
        const turns = {
          peer: async () => ({ peer: (await coldStart(workshop, proxy, peer, 'stargz', workload.ready)).start }),
          ours: () => measureOurs(workshop, proxy, workload, ours, cache, plain.get(name)!),
        };
        try {
          const order = (round + i + k) % 2 === 0 ? (['peer', 'ours'] as const) : (['ours', 'peer'] as const);
          const got = Object.assign({}, await turns[order[0]](), await turns[order[1]]()) as Omit<Measured, 'image'>;
          journal.add({ ...got, image: name, network: network.name, round, digests });
          const text = (ms: number) => `${(ms / 1000).toFixed(2)} s`;
          say(
            `round ${round} ${name} ${network.name}: peer ${text(got.peer.readyMs)} ${got.peer.bytes}, run ${text(got.cold.readyMs)} ${got.cold.bytes}, warm ${text(got.warm.readyMs)}`,
          );
        } catch (error) {
          failures += 1;
          say(`round ${round} ${name} ${network.name}: FAILED: ${(error as Error).message}`);
        } finally {
          rmSync(cache, { recursive: true, force: true });
        }
      }
    }
  }
  const stored = new Map<string, StoredImage>();
  for (const { recipe } of workloads) stored.set(recipe.name, await storedFor(directory, recipe.name, OURS.name));
  report(journal.entries(), made, stored);
  return failures > 0 ? 1 : 0;
}

/** The images and the program: another one may make the same image, but starts it differently. */
function whatWasMeasured(peer: Made, ours: Made): string {
  return `${peer.digest} ${ours.digest} ${describeHotlayer().commit}`;
}

async function measureOurs(
  workshop: Workshop,
  proxy: ThrottlingProxy,
  { ready }: Workload,
  { repository, tag }: Made,
  cache: string,
  onDirectory: readonly string[],
): Promise<Pick<Measured, 'cold' | 'warm' | 'directory'>> {
  await workshop.warm(repository, tag);
  const words = ['--plain-http', '--cache-dir', cache];
  const reference = `${proxy.host}/${repository}:${tag}`;
  const cold = await startLazily([...words, reference], ready, proxy);
  const warm = await startLazily([...words, reference], ready, proxy);
  const directory = await startLazily(onDirectory, ready);
  return { cold, warm, directory };
}

/** The image on a plain directory, and the words that start the same container from it. */
async function onDirectory({ recipe }: Workload, root: string, directory: string): Promise<string[]> {
  await extractImage((await labImage(recipe, join(directory, 'images'))).reference, root);
  const { Cmd, User, WorkingDir } = recipe.config;
  return [
    ...['-e', 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
    ...(User ? ['--user', User] : []),
    ...(WorkingDir ? ['--workdir', WorkingDir] : []),
    ...[`dir:${root}`, '--', ...Cmd],
  ];
}

/** Compressed bytes of the chunks that a start reads, as the image says. */
async function touchedBytes(workshop: Workshop, { repository, digest, layers }: Made): Promise<number> {
  const url = `http://${workshop.registry.host}/v2/${repository}/manifests/${digest}`;
  const answer = await fetch(url, { headers: { accept: 'application/vnd.oci.image.manifest.v1+json' } });
  const { annotations = {} } = (await answer.json()) as { annotations?: Record<string, string> };
  const sizes = layers.map(({ size }) => size);
  const groups = parseStart(annotations[START_ANNOTATION] ?? '', sizes);
  return groups.flatMap(({ pieces }) => pieces).reduce((sum, [, length]) => sum + length, 0);
}

function report(
  measured: readonly Measured[],
  made: ReadonlyMap<string, { peer: Made; ours: Made; touched: number }>,
  stored: ReadonlyMap<string, StoredImage>,
): void {
  const cases: Case[] = options.networks.flatMap(({ name: network, mbit }) =>
    options.workloads.flatMap(({ recipe, extra }): Case[] => {
      const { peer, ours, touched } = made.get(recipe.name)!;
      const digests = whatWasMeasured(peer, ours);
      const all = measured.filter((m) => m.image === recipe.name && m.digests === digests);
      const own = all.filter((m) => m.network === network);
      const local = { warm: all.map((m) => m.warm.readyMs), directory: all.map((m) => m.directory.readyMs) };
      const about = { image: recipe.name, network, mbit, extra: extra ?? false, touched, ...local };
      const predicted = predictRun(stored.get(recipe.name)!, OURS.name, network);
      return own.length === 0 ? [] : [{ ...about, measured: own, ...(predicted && { predicted }) }];
    }),
  );
  if (cases.length === 0) {
    say('nothing is measured so far: there is no report');
    return;
  }
  const hotlayer = describeHotlayer();
  const machine = describeMachine({
    containerd: ['containerd', '--version'],
    'stargz-snapshotter': ['dpkg-query', '-W', `-f=stargz-snapshotter \${Version}`, 'stargz-snapshotter'],
    registry: ['docker-registry', '--version'],
  });
  const { markdown, data } = render(cases, machine, hotlayer);
  process.stdout.write(markdown);
  say(
    `written: ${writeReport('bench-run', { schemaVersion: 1, hotlayer, machine, ...data }, markdown, options.out).join(', ')}`,
  );
}
