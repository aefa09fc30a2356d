// The sample reports in reports/samples, made anew: real images from Debian packages, each through `hotlayer autorun`.
//   npm run samples -- [--images python,nginx] [--dir DIR] [--out DIR] [--no-pictures]
// Images are made once and kept in --dir (or HOTLAYER_BENCH_DIR). Needs root and what test/e2e/client needs to make
// images; pictures need Chromium. Profiles are not kept: every sample is measured when it is made.
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { formatValue } from '../src/report/format-metric.js';
import type { Report } from '../src/report/types.js';
import { makeTempDir } from '../src/temp.js';
import { formatBytes, formatNanos } from '../src/units.js';
import { CHROMIUM, hasBrowser, launchBrowser } from '../test/support/browser.js';
import { labImage } from '../test/support/lab/images.js';
import { untilFlag, WORKLOADS } from './startup/images.js';
import { describeHotlayer, describeMachine, machineLine, markdownTable, ROOT } from './support/report.js';

const RUNS = 5;
/** What is kept of a run; the rest is larger, and can be made. */
const KEPT = ['report.html', 'report.md', 'junit.xml'];

interface Sample {
  readonly name: string;
  readonly about: string;
  /** Of `WORKLOADS`. */
  readonly image: string;
  /** Instead of what the image runs. */
  readonly command?: readonly string[];
  /** Name of the sample that it is compared with; that is made before. */
  readonly base?: string;
  /** Rules of its budgets. */
  readonly budgets: object;
  /** 1: a budget is exceeded, and that is what the sample shows. */
  readonly status: 0 | 1;
}

const BUDGETS = {
  'prefetch-coverage': ['error', { min: '95%' }],
  'prefetch-waste': ['warn', { max: '10%' }],
  'run-stability': ['warn', { min: 0.9 }],
  'image-growth': ['warn', { max: '5%' }],
};

const size = (max: string) => ({ 'startup-bytes': ['error', { max }], ...BUDGETS });

const SAMPLES: readonly Sample[] = [
  { name: 'python', image: 'python', budgets: size('16MiB') },
  { name: 'nginx', image: 'nginx', budgets: size('8MiB') },
  { name: 'node', image: 'node', budgets: size('48MiB') },
  { name: 'redis', image: 'redis', budgets: size('8MiB') },
  // It leaves a big file that is read here and there behind the landmark: that costs less.
  {
    name: 'postgresql',
    image: 'postgresql',
    budgets: { ...size('160MiB'), 'prefetch-coverage': ['warn', { min: '95%' }] },
  },
]
  .map((sample): Sample => ({ ...sample, about: aboutOf(sample.image), status: 0 }))
  .concat({
    name: 'python-change',
    image: 'python',
    about: 'the same after a change that imports more: a budget against the base is exceeded',
    command: [
      'python3',
      '-c',
      "import json, ssl, http.client, sqlite3, asyncio, xml.dom.minidom, unittest.mock; print('ready', flush=True)",
    ],
    base: 'python',
    budgets: {
      'startup-files': ['error', { maxIncrease: '10%' }],
      'startup-bytes': ['error', { max: '16MiB', maxIncrease: '5%' }],
      'startup-time': ['warn', { maxIncrease: '10%' }],
      ...BUDGETS,
    },
    status: 1,
  });

const { values } = parseArgs({
  options: {
    images: { type: 'string' },
    dir: { type: 'string', default: process.env.HOTLAYER_BENCH_DIR ?? join(tmpdir(), 'hotlayer-bench') },
    out: { type: 'string', default: join(ROOT, 'reports/samples') },
    'no-pictures': { type: 'boolean', default: false },
  },
});
const say = (text: string) => process.stderr.write(`${text}\n`);
const wanted = values.images?.split(',');
const temp = makeTempDir(undefined, 'hotlayer-samples');
try {
  const made = new Map<string, Report>();
  for (const sample of SAMPLES) {
    // What others are compared with is made in any case.
    const needed = SAMPLES.some(({ base, name }) => base === sample.name && (!wanted || wanted.includes(name)));
    if (wanted && !wanted.includes(sample.name) && !needed) continue;
    say(`${sample.name}: ${sample.about}`);
    made.set(sample.name, await make(sample));
  }
  if (!wanted) writeFileSync(join(values.out, 'README.md'), index(made));
  if (!values['no-pictures']) await pictures();
} finally {
  temp.remove();
}

function aboutOf(name: string): string {
  return WORKLOADS.find(({ recipe }) => recipe.name === name)!.about;
}

/** As a job in CI: a directory with the image and two files, one command. */
async function make(sample: Sample): Promise<Report> {
  const workload = WORKLOADS.find(({ recipe }) => recipe.name === sample.image)!;
  const image = await labImage(workload.recipe, join(values.dir, 'images'));
  const job = join(temp.path, sample.name);
  mkdirSync(job);
  symlinkSync(image.layout, join(job, sample.image));
  const base = sample.base === undefined ? undefined : join('..', sample.base, 'reports/report.json');
  const config = {
    autorun: {
      image: `oci:${sample.image}`,
      target: `oci:optimized:${sample.image}-hot`,
      ...(sample.command ? { command: sample.command } : {}),
    },
    profile: { runs: RUNS, until: [untilFlag(workload.ready)] },
    report: { budgets: 'hotlayer.budgets.json', ...(base === undefined ? {} : { base }) },
  };
  writeFileSync(join(job, 'hotlayer.config.json'), JSON.stringify(config));
  writeFileSync(join(job, 'hotlayer.budgets.json'), JSON.stringify({ budgets: sample.budgets }));
  const { status } = spawnSync(process.execPath, [join(ROOT, 'bin/hotlayer.js'), 'autorun', '-q'], {
    cwd: job,
    stdio: ['ignore', 'pipe', 2],
    // The summary of the job that makes the samples is not theirs.
    env: { ...process.env, GITHUB_ACTIONS: '' },
  });
  if (status !== sample.status) throw new Error(`${sample.name}: exit status ${status}, expected ${sample.status}`);
  const out = join(values.out, sample.name);
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  for (const file of KEPT) copyFileSync(join(job, 'reports', file), join(out, file));
  return JSON.parse(readFileSync(join(job, 'reports/report.json'), 'utf8')) as Report;
}

function index(made: ReadonlyMap<string, Report>): string {
  const rows = [...made].map(([name, { metrics, simulation, budgets = [], findings }]) => {
    const value = (id: string): string => {
      const metric = metrics.find((one) => one.id === id);
      return metric ? formatValue(metric.value, metric.unit) : '–';
    };
    const on = (id: string): string => {
      const found = simulation?.variants
        .find((variant) => variant.id === id)
        ?.on.find(({ network }) => network === 'wan');
      return found ? `${formatNanos(found.ready.median)}, ${formatBytes(found.bytes.median)}` : '–';
    };
    const failed = budgets.filter(({ ok, level }) => !ok && level === 'error').map(({ id }) => id);
    return {
      name,
      findings,
      cells: [
        `[${name}](${name}/report.html) ([md](${name}/report.md), [junit](${name}/junit.xml))`,
        value('startup-files'),
        `${value('startup-bytes')} (${value('startup-share')})`,
        value('prefetch-coverage'),
        value('image-growth'),
        on('pull'),
        on('lazy-before'),
        on('lazy-after'),
        failed.length === 0 ? 'kept' : `exceeded: ${[...new Set(failed)].join(', ')}`,
      ],
    };
  });
  const head = [
    'sample',
    'files read',
    'bytes read (of the image)',
    'of them prefetched',
    'image grows by',
    'pulled whole',
    'lazily, no prefetch',
    'lazily, optimized',
    'budgets',
  ];
  const { version } = describeHotlayer();
  const machine = machineLine(describeMachine({}));
  return [
    '# Sample reports',
    '',
    'Real images from Debian 12 packages (`bench/startup/images.ts` has the recipes), each through `hotlayer autorun`;',
    `made by \`npm run samples\` with hotlayer ${version}. Open the HTML files in a browser: they load nothing.`,
    'The three columns of times are simulated starts on 100 Mbit/s with 20 ms, with the bytes that are fetched until ready;',
    'the times of the runs in the reports are those of a shared machine with all files at hand.',
    '',
    markdownTable(
      head,
      rows.map(({ cells }) => cells),
    ),
    '',
    ...SAMPLES.filter(({ name }) => made.has(name)).map(({ name, about }) => `- **${name}**: ${about}`),
    '',
    `${machine}`,
    '',
  ].join('\n');
}

/** The top of a report, light and dark, as README shows it. */
async function pictures(): Promise<void> {
  const file = join(values.out, 'python/report.html');
  if (!existsSync(file) || !hasBrowser()) {
    say(`no pictures: ${existsSync(file) ? CHROMIUM : file} is not there`);
    return;
  }
  const browser = await launchBrowser();
  try {
    for (const colorScheme of ['light', 'dark'] as const) {
      const page = await browser.newPage({ viewport: { width: 1180, height: 1130 }, colorScheme });
      await page.goto(`file://${file}`);
      await page.waitForSelector('html[data-drawn=yes]');
      await page.screenshot({ path: join(values.out, `report-${colorScheme}.png`) });
      await page.close();
    }
  } finally {
    await browser.close();
  }
}
