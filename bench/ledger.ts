// What the bytes of real lazy starts were good for: precision and recall of the prefetch, every miss by name.
//   npm run bench:ledger -- --dir DIR [--images python,nginx] [--network 20ms/100mbit] [--runs 3] [--out DIR]
// DIR is bench:startup's, measured with --requests. Each workload is recorded anew for this: the runs that a plan was
// made from are not the ones that it is judged by. Needs what `hotlayer profile` needs.
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { readProfile } from '../src/analyze/saved.js';
import { type Ledger, ledgerOf } from '../src/analyze/simulate/ledger.js';
import { Workload } from '../src/analyze/simulate/simulate.js';
import { makeTempDir } from '../src/temp.js';
import { formatBytes } from '../src/units.js';
import type { Exchange } from '../test/support/lab/exchanges.js';
import { readStored } from './simulate/cases.js';
import { untilFlag, WORKLOADS } from './startup/images.js';
import { describeHotlayer, describeMachine, machineLine, markdownTable, ROOT, writeReport } from './support/report.js';

const { values } = parseArgs({
  options: {
    dir: { type: 'string', default: process.env.HOTLAYER_BENCH_DIR ?? join(tmpdir(), 'hotlayer-bench-startup') },
    images: { type: 'string' },
    network: { type: 'string', default: '20ms/100mbit' },
    runs: { type: 'string', default: '3' },
    out: { type: 'string' },
  },
});
const VARIANTS = ['plain', 'peer', 'hotlayer'] as const;
const say = (text: string) => process.stderr.write(`${text}\n`);

interface Row {
  readonly image: string;
  readonly variant: string;
  readonly ledger: Ledger;
}

using temp = makeTempDir(undefined, 'hotlayer-ledger');
const rows: Row[] = [];
for (const workload of WORKLOADS) {
  const { name } = workload.recipe;
  const wanted = values.images === undefined || values.images.split(',').includes(name);
  const recorded = VARIANTS.map((variant) => requestsOf(name, variant));
  if (!wanted || recorded.every((exchanges) => exchanges === undefined)) continue;
  say(`${name} …`);
  const stored = await readStored(values.dir, name, VARIANTS);
  const judge = await readProfile(await record(name, untilFlag(workload.ready)));
  const { schedules } = new Workload(judge);
  for (const [i, variant] of VARIANTS.entries()) {
    const exchanges = recorded[i];
    if (!exchanges) continue;
    const digests = stored.digests.get(variant)!;
    const layers = stored.blobs.get(variant)!.map((blob, layer) => ({ digest: digests[layer]!, blob }));
    const paths = judge.files.map(({ path }) => path);
    const ledger = ledgerOf({ fetches: exchanges, layers, runs: schedules, paths, locate: stored.locate });
    rows.push({ image: name, variant, ledger });
  }
}
if (rows.length === 0) throw new Error(`${values.dir}: no requests were recorded there on ${values.network}`);

const machine = describeMachine({
  'stargz-snapshotter': ['dpkg-query', '-W', `-f=stargz-snapshotter \${Version}`, 'stargz-snapshotter'],
});
const hotlayer = describeHotlayer();
const markdown = render();
process.stdout.write(markdown);
const data = { schemaVersion: 1, hotlayer, machine, network: values.network, rows: rows.map(shortened) };
say(`written: ${writeReport('bench-ledger', data, markdown, values.out).join(', ')}`);

/** The requests of the first round, as bench:startup has kept them. */
function requestsOf(image: string, variant: string): readonly Exchange[] | undefined {
  const network = values.network.replaceAll('/', '-');
  const path = join(values.dir, 'requests', `${image}-${network}-${variant}-0.json`);
  if (!existsSync(path)) return undefined;
  return (JSON.parse(readFileSync(path, 'utf8')) as { exchanges: readonly Exchange[] }).exchanges;
}

/** A profile that no plan was made from. @returns its path */
async function record(image: string, until: string): Promise<string> {
  const path = join(temp.path, `${image}.json`);
  const state = readFileSync(join(values.dir, 'variants', `${image}-full`, 'made.json'), 'utf8');
  const layout = (JSON.parse(state) as { key: string }).key.split(' ')[0]!;
  const args = ['profile', `oci:${layout}:latest`, '-o', path, '--until', until, '--runs', values.runs];
  await promisify(execFile)(process.execPath, [join(ROOT, 'bin/hotlayer.js'), ...args], {
    cwd: '/',
    maxBuffer: 1 << 28,
  });
  return path;
}

function render(): string {
  const share = (value: number) => value.toFixed(3);
  const misses = rows
    .filter(({ variant }) => variant === 'hotlayer')
    .flatMap(({ image, ledger }) =>
      ledger.misses.map(
        ({ path, bytes }) => `- ${image}: ${path ?? 'nothing that the recorded runs read'}, ${formatBytes(bytes)}`,
      ),
    );
  const wasted = rows
    .filter(({ variant }) => variant === 'hotlayer')
    .flatMap(({ image, ledger }) =>
      ledger.files
        .slice(0, 3)
        .map(({ path, fetched, used }) => `- ${image}: ${path}, ${formatBytes(used)} of ${formatBytes(fetched)} used`),
    );
  return [
    '# What the bytes of lazy starts were good for',
    '',
    `Requests of one cold start on ${values.network} (bench:startup), labelled by what ${values.runs} other recorded runs read, in the reads of up to 128 KiB that the client's kernel makes. Compressed bytes. *Used*: prefetched and read; *late*: read, but fetched on demand; *unused*: fetched and not read. Precision: used of prefetched; recall: used of used and late.`,
    '',
    judgement(),
    '',
    `hotlayer ${hotlayer.version} (${hotlayer.commit}). ${machineLine(machine)}`,
    '',
    markdownTable(
      [
        'image',
        'variant',
        'metadata',
        'prefetched',
        'used',
        'late',
        'unused',
        'requests on demand',
        'precision',
        'recall',
      ],
      rows.map(({ image, variant, ledger }) => [
        image,
        variant,
        ...[ledger.metadata, ledger.prefetched, ledger.used, ledger.late, ledger.unused].map(formatBytes),
        String(ledger.misses.length),
        ledger.prefetched === 0 ? '–' : share(ledger.precision),
        share(ledger.recall),
      ]),
    ),
    '',
    '## Misses of hotlayer',
    '',
    ...(misses.length > 0 ? misses : ['None.']),
    '',
    '## Where hotlayer fetched most that was not used',
    '',
    ...wasted,
    '',
  ].join('\n');
}

/** What was asked for, and where hotlayer's images miss it. */
function judgement(): string {
  const own = rows.filter(({ variant }) => variant === 'hotlayer');
  const sum = (of: (ledger: Ledger) => number) => own.reduce((total, { ledger }) => total + of(ledger), 0);
  const used = sum((ledger) => ledger.used);
  const precision = used / sum(({ prefetched }) => prefetched);
  const recall = used / (used + sum(({ late }) => late));
  const low = own.flatMap(({ image, ledger }) => [
    ...(ledger.precision < 0.75 ? [`${image}'s precision is ${ledger.precision.toFixed(3)}`] : []),
    ...(ledger.recall < 0.98 ? [`${image}'s recall is ${ledger.recall.toFixed(3)}`] : []),
  ]);
  return `Asked for: precision ≥ 0.75 and recall ≥ 0.98. All images of hotlayer together: precision ${precision.toFixed(3)}, recall ${recall.toFixed(3)}. ${low.length > 0 ? `Not held: ${low.join(', ')}. Recall is lost only where the plan leaves a big file that is read here and there behind the landmark, because that makes the start shorter; precision where whole files are prefetched of which part is read, as the format demands.` : 'It holds for each.'}`;
}

/** The files with the most unused bytes; all would be the whole image. */
function shortened({ ledger, ...names }: Row): object {
  return { ...names, ledger: { ...ledger, files: ledger.files.slice(0, 20) } };
}
