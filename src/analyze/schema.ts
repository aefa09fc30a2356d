// JSON Schemas (draft 2020-12) of the saved profile and plan. They are published, and they are also what readProfile
// and readPlan check by. Members that they do not name are allowed, so that a later version may add some.
import type { Schema } from '../trace/json-schema.js';
import { PLAN_SCHEMA, PROFILE_SCHEMA } from './types.js';

const DIALECT = 'https://json-schema.org/draft/2020-12/schema';

const natural = (description?: string): Schema => ({
  type: 'integer',
  minimum: 0,
  ...(description === undefined ? undefined : { description }),
});
const text: Schema = { type: 'string' };
const truth: Schema = { type: 'boolean' };
const digest: Schema = { type: 'string', pattern: '^sha256:[0-9a-f]{64}$' };

function object(properties: Record<string, Schema>, optional: readonly string[] = []): Schema {
  const required = Object.keys(properties).filter((name) => !optional.includes(name));
  return { type: 'object', required, properties };
}

function list(items: Schema, description?: string): Schema {
  return { type: 'array', items, ...(description === undefined ? undefined : { description }) };
}

const spread: Schema = object({
  median: { type: 'integer' },
  mad: natural('median absolute deviation from the median'),
  min: { type: 'integer' },
  max: { type: 'integer' },
});

const proportion: Schema = object({
  estimate: { type: 'number', minimum: 0, maximum: 1 },
  low: { type: 'number', minimum: 0, maximum: 1, description: 'of the 95 % interval (Wilson)' },
  high: { type: 'number', minimum: 0, maximum: 1 },
});

const ready: Schema = object({ t: natural('ns since the workload was started'), by: text });

const replay: Schema = object({
  accesses: natural('rows'),
  processes: list(
    object(
      {
        pid: natural('thread id; 0: not known'),
        comm: text,
        parent: natural('index of the row that it came from, by fork or under another name'),
      },
      ['comm', 'parent'],
    ),
    'threads, each name of a thread a row',
  ),
  columns: {
    type: 'string',
    pattern: '^[A-Za-z0-9+/]+={0,2}$',
    description:
      'base64 of a gzip member of seven columns, one after the other, each of as many LEB128 numbers as there are accesses, in order of time: t in ns (zigzag, less the row before), process, file (index in files; zigzag, less the row before), kind (0 look, 1 open, 2 exec, 3 read, 4 readlink, 5 readdir), offset (zigzag, less the end of the last read of the same file), bytes delivered, duration in ns',
  },
});

const run: Schema = object(
  {
    id: { type: 'string', pattern: '^[0-9a-f]{16}$', description: 'of its content: the same run in two profiles' },
    complete: truth,
    incompleteBecause: text,
    imported: { type: 'string', description: 'what recorded it, when hotlayer did not' },
    events: natural(),
    ready,
    endedAt: { type: 'integer' },
    exitCode: natural(),
    signal: text,
    filesRead: natural('regular files of which bytes were read before ready'),
    bytesRead: natural('distinct bytes of them'),
    misses: list(
      { type: 'array', prefixItems: [natural(), { type: 'integer', minimum: 1 }], items: false, minItems: 2 },
      '[index in misses.directories, look-ups of names that do not exist]',
    ),
    replay,
  },
  ['incompleteBecause', 'imported', 'ready', 'exitCode', 'signal'],
);

const unit: Schema = { type: 'number', minimum: 0, maximum: 1 };
const runId: Schema = { type: 'string', pattern: '^[0-9a-f]{16}$' };

const agreement: Schema = object(
  {
    runs: natural('complete runs that were compared'),
    files: { ...unit, description: 'mean pairwise Jaccard index of the sets of files read' },
    bytes: { ...unit, description: 'mean pairwise weighted Jaccard index of the bytes read of each file' },
    order: { type: 'number', minimum: -1, maximum: 1, description: "mean pairwise Kendall's tau-b of first accesses" },
  },
  ['order'],
);

const outlier: Schema = object({
  run: runId,
  measure: { type: 'string', enum: ['ready', 'filesRead', 'bytesRead', 'files'] },
  value: { type: 'integer' },
  median: { type: 'integer' },
});

const pair = (items: Schema): Schema => ({ type: 'array', prefixItems: [items, items], items: false, minItems: 2 });

const modes: Schema = object({
  measure: { type: 'string', enum: ['ready', 'bytesRead', 'files'] },
  groups: pair(list(runId)),
  medians: pair({ type: 'integer' }),
});

const advice: Schema = object({
  undecided: natural('files opened in some runs and not in others, for which it is open whether prefetching pays'),
  moreRuns: natural('runs worth making'),
  settles: natural('undecided files that they are expected to decide'),
});

const purl: Schema = { type: 'string', pattern: '^pkg:(deb|apk|rpm|npm|pypi|gem)/.' };

const database: Schema = object(
  {
    kind: { type: 'string', enum: ['deb', 'apk', 'rpm', 'npm', 'pypi', 'gem'] },
    path: text,
    packages: natural('packages it lists'),
    notRead: { type: 'string', description: 'why it could not be read' },
  },
  ['notRead'],
);

const packageUse: Schema = object(
  {
    package: { ...purl, description: 'absent: files that no package owns' },
    files: natural('regular files whose content was asked for'),
    bytesRead: natural('distinct bytes read of them, medians added up'),
    size: natural('of the whole files, uncompressed'),
    largest: { type: 'string', pattern: '^/', description: 'the file of which most was read' },
  },
  ['package'],
);

const file: Schema = object(
  {
    path: {
      type: 'string',
      pattern: '^/',
      description: 'absolute; a byte b that is not valid UTF-8 is the lone surrogate U+DC00+b',
    },
    type: { type: 'string', enum: ['reg', 'dir', 'symlink', 'other'] },
    layer: natural('index of the layer that owns it, 0 = the lowest'),
    size: natural('bytes'),
    package: { ...purl, description: 'package URL of the package that it belongs to' },
    seenIn: { type: 'integer', minimum: 1, description: 'runs in which it was touched before ready' },
    openedIn: natural('runs in which its content was asked for'),
    probability: { $ref: '#/$defs/proportion' },
    firstAccess: { $ref: '#/$defs/spread' },
    bytesRead: { $ref: '#/$defs/spread' },
    reads: natural('read calls that reached the file system, median over the runs'),
    ranges: list(
      {
        type: 'array',
        prefixItems: [natural(), { type: 'integer', minimum: 1 }, { type: 'integer', minimum: 1 }],
        items: false,
        minItems: 3,
      },
      '[offset, length, runs that read all of it]; sorted, disjoint',
    ),
    executed: { type: 'boolean', const: true },
    comms: list(text, 'command names that asked for its content, or else looked at it first'),
  },
  ['layer', 'package', 'executed'],
);

export const profileSchema: Schema = {
  $schema: DIALECT,
  title: 'a hotlayer profile',
  description: 'What a workload touched in its root file system until it was ready. Times are ns, sizes are bytes.',
  $defs: { spread, proportion },
  ...object(
    {
      schemaVersion: { type: 'integer', const: PROFILE_SCHEMA },
      tool: { type: 'string', minLength: 1 },
      image: object(
        {
          reference: text,
          digest,
          files: natural(),
          bytes: natural(),
          layers: list(object({ createdBy: text }, ['createdBy']), 'what made each layer, as the history says'),
          databases: list(database, 'package databases in the image'),
        },
        ['digest', 'layers', 'databases'],
      ),
      platform: object({ os: text, architecture: text, variant: text }, ['variant']),
      workload: object({ args: list(text), user: text, cwd: text }),
      precision: { type: 'string', enum: ['exact', 'fast'] },
      until: list(text, 'ready rules'),
      complete: { type: 'boolean', description: 'false when any run may have lost events' },
      runs: { type: 'array', items: run, minItems: 1 },
      ready: { $ref: '#/$defs/spread' },
      agreement,
      outliers: list(outlier, 'runs unlike the others'),
      modes: list(modes, 'two kinds of runs'),
      advice,
      files: list(file, 'by path, in byte order'),
      packages: list(packageUse, 'what was read, by package, the most first'),
      misses: object({
        total: natural('look-ups of names that do not exist, over all runs'),
        directories: list(object({ path: { type: 'string', pattern: '^/' }, count: { type: 'integer', minimum: 1 } })),
      }),
    },
    ['platform', 'ready', 'packages'],
  ),
};

const planned: Schema = object({
  path: { type: 'string', description: 'name of the entry in the layer, without leading or trailing slash; root = ""' },
  because: text,
  size: natural('uncompressed bytes'),
});

const layer: Schema = object(
  {
    index: natural('0 = the lowest'),
    digest,
    diffId: digest,
    hot: list(planned, 'entries before the landmark, in this order'),
    hotBytes: natural('uncompressed'),
    landmark: { type: 'string', enum: ['prefetch', 'no-prefetch'] },
    chunks: {
      type: 'object',
      description: 'chunk boundaries per path: offsets in the file, ascending, without 0',
      additionalProperties: list({ type: 'integer', minimum: 1 }),
    },
  },
  ['chunks'],
);

const model: Schema = object(
  {
    client: text,
    networks: list(
      object(
        {
          name: text,
          bytesPerSecond: { type: 'number', description: 'absent: not limited' },
          rtt: natural('ns'),
          prefetch: natural('ns that the prefetched files cost'),
          misses: natural('ns that the files left behind cost, on average'),
        },
        ['bytesPerSecond'],
      ),
    ),
    prefetchBytes: natural('compressed'),
    requests: { type: 'number', minimum: 0, description: 'on demand, on average' },
    workloads: list(
      object({
        name: text,
        weight: { type: 'number', minimum: 0 },
        regret: { type: 'number', minimum: 0, description: 'part of the time by which its own best plan is faster' },
        networks: list(object({ nanos: natural('of a start with this plan'), best: natural('with its own best one') })),
      }),
      'of a plan for several workloads',
    ),
    gap: {
      type: 'number',
      minimum: 0,
      description: 'part of the time by which a better plan could be faster, at most',
    },
    exact: object({
      boundaries: natural("of chunks, for hotlayer's own reader"),
      bytes: natural('compressed, that it fetches of the files'),
      nanos: list(natural('on each network'), 'in the order of the networks'),
    }),
  },
  ['workloads', 'exact'],
);

export const planSchema: Schema = {
  $schema: DIALECT,
  title: 'a hotlayer plan',
  description: 'Which entries of each layer go before the prefetch landmark, and in what order.',
  ...object(
    {
      schemaVersion: { type: 'integer', const: PLAN_SCHEMA },
      tool: { type: 'string', minLength: 1 },
      image: object({ reference: text, digest }),
      complete: { type: 'boolean', description: 'false when the profile it rests on was not complete' },
      chunkSize: { type: 'integer', minimum: 1 },
      layers: list(layer),
      missed: list(object({ path: text, reason: text }), 'paths that could not be placed, or were left out, and why'),
      behind: list(object({ path: text, because: text }), 'hot files that are cheaper behind the landmark'),
      model,
      start: list(
        object({ layer: natural('index'), path: text, at: list(natural('offset of a chunk in the file')) }),
        "chunks that hotlayer's own reader fetches while the container starts, first needed first",
      ),
      packages: list(packageUse, 'what is prefetched, by package, the most first'),
    },
    ['behind', 'model', 'start', 'packages'],
  ),
};
