// Many processes read lazily served images at once for a long time, in containers and through mounts, while the registry
// breaks answers and goes away, the cache is too small and its files are damaged, and hotlayer is killed. Every byte they
// get is compared with the original.
//   npm run soak:run -- --help
// Needs root, gcc with a static libc, and Debian's docker-registry and skopeo.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Cache } from '../src/lazy/cache.js';
import { makeTempDir } from '../src/temp.js';
import { formatBytes, formatCount, parseSize } from '../src/units.js';
import { Registry } from '../test/support/lab/registry.js';
import { processesWith } from '../test/support/processes.js';
import { startProxy } from '../test/support/registry-proxy.js';
import { chance } from './soak/chance.js';
import { output } from './soak/commands.js';
import { damage, faultyRule, noFaults } from './soak/faults.js';
import { makeImages } from './soak/images.js';
import { reportOf } from './soak/report.js';
import { type Sat, sit } from './soak/seats.js';
import { describeHotlayer, describeMachine, machineLine, ROOT, writeReport } from './support/report.js';

const HELP = `npm run soak:run -- [options]

  --seconds N      how long (default 300)
  --processes N    how many read at once, in four groups (default 64)
  --image SIZE     of files in each of the four images, about (default 24MiB)
  --cache SIZE     of the cache that all share (default 40MiB: less than two images)
  --seed N         another order of things (default 1)
  --note TEXT      goes into the report
  --no-report      only print what it came to
  --help

Exit status 0: no byte was wrong, nothing was left behind, and there was something to see.
`;

/** Two containers and two mounts at a time. */
const SEATS = ['run', 'mount', 'run', 'mount'] as const;
const IMAGES = 4;
/** Seconds that one lasts, at most, and how many are killed: most of what an image has is fetched in the first of them. */
const LONGEST = 15;
const KILLED = 0.3;
/** The registry is away for a fifth of the time. */
const PERIOD_MS = 20_000;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '300' },
    processes: { type: 'string', default: '64' },
    image: { type: 'string', default: '24MiB' },
    cache: { type: 'string', default: '40MiB' },
    seed: { type: 'string', default: '1' },
    note: { type: 'string', default: '' },
    'no-report': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) process.stdout.write(HELP);
else process.exitCode = await soak();

async function soak(): Promise<number> {
  const say = (text: string) => process.stderr.write(`${text}\n`);
  const seconds = Number(values.seconds);
  const seed = Number(values.seed);
  using temp = makeTempDir(undefined, 'hotlayer-soak');
  const at = (name: string) => join(temp.path, name);
  for (const name of ['images', 'seats']) mkdirSync(at(name));
  const reader = at('reader');
  output('gcc', ['-static', '-O1', '-Wall', '-o', reader, join(ROOT, 'bench/soak/reader.c')]);
  say(`making ${IMAGES} images …`);
  const images = makeImages(at('images'), reader, IMAGES, parseSize(values.image));
  const cacheBytes = parseSize(values.cache);
  const cache = at('cache');
  const faults = noFaults();
  const proxyEnds: (() => unknown)[] = [];
  const sittings: Sat[] = [];
  let served = 0;
  let largest = 0;
  {
    await using registry = await Registry.start(at('registry'));
    for (const { reference, name } of images) await registry.push(reference, name);
    const after = (end: () => unknown) => void proxyEnds.push(end);
    const period = Math.min(PERIOD_MS, (seconds * 1000) / 3);
    const proxy = await startProxy({ after } as Parameters<typeof startProxy>[0], registry.port);
    proxy.rule = faultyRule(chance(seed + 7), faults, period, period / 5);
    const began = performance.now();
    const left = () => seconds - (performance.now() - began) / 1000;
    const watch = setInterval(() => {
      largest = Math.max(largest, sizeOf(cache));
      say(`${Math.round(left())} s left, ${sittings.length} ended, ${formatCount(proxy.seen.length)} requests`);
    }, 10_000);
    const random = chance(seed);
    await Promise.all(
      SEATS.map(async (kind, seat) => {
        for (let turn = 0; left() > 1; turn++) {
          damage(cache, random, faults);
          const lasts = Math.max(2, Math.min(left(), seconds / 4 + 1, LONGEST) * (0.5 + random() / 2));
          const sat = await sit({
            kind,
            image: images[Math.floor(random() * IMAGES)]!,
            host: proxy.host,
            cache,
            cacheBytes,
            processes: Math.ceil(Number(values.processes) / SEATS.length),
            seconds: Math.round(lasts),
            // The first mount always, so that a short soak has one, too.
            ...((random() < KILLED || (seat === 1 && turn === 0)) && {
              killAfter: Math.max(1, Math.round(lasts * random())),
            }),
            seed: seed * 1000 + seat * 100 + turn,
            directory: at(`seats/${seat}-${turn}`),
            reader,
          });
          sittings.push(sat);
          for (const line of [...sat.complaints.slice(0, 5), ...sat.left]) say(`${sat.kind} ${sat.image}: ${line}`);
        }
      }),
    );
    clearInterval(watch);
    served = proxy.seen.length;
    for (const end of proxyEnds) await end();
  }
  largest = Math.max(largest, sizeOf(cache));
  // As every run does when it ends.
  new Cache({ directory: cache, limit: cacheBytes }).evict();
  const kept = sizeOf(cache);
  const result = {
    seconds,
    processes: Number(values.processes),
    seed,
    images: images.map(({ files, bytes }) => ({ files, bytes })),
    cache: { limit: cacheBytes, largest, kept },
    requests: served,
    faults,
    left: processesWith(temp.path).length,
    sittings,
  };
  const { markdown, ok } = reportOf(result, values.note);
  process.stdout.write(markdown);
  if (!values['no-report']) {
    const machine = describeMachine({ registry: ['docker-registry', '--version'] });
    const data = { schemaVersion: 1, hotlayer: describeHotlayer(), machine, ...result };
    for (const file of writeReport('soak', data, `${markdown}\n${machineLine(machine)}\n`)) say(`wrote ${file}`);
  } else say(`${formatBytes(largest)} in the cache at most`);
  return ok ? 0 : 1;
}

function sizeOf(directory: string): number {
  return new Cache({ directory }).size();
}
