// JSON Schema (draft 2020-12) of a report: published, and what a report that is read is checked by. Members that it does
// not name are allowed, so that a later version may add some. Lists that no program compares by are said in outline.
import { CHANGE_KINDS } from '../analyze/diff/index.js';
import { planSchema, profileSchema } from '../analyze/schema.js';
import type { Schema } from '../trace/json-schema.js';
import { REPORT_SCHEMA } from './types.js';

const text: Schema = { type: 'string' };
const truth: Schema = { type: 'boolean' };
const whole: Schema = { type: 'integer' };
const natural = (description?: string): Schema => ({
  type: 'integer',
  minimum: 0,
  ...(description === undefined ? undefined : { description }),
});
const share = (description: string): Schema => ({ type: 'number', minimum: 0, maximum: 1, description });

function object(properties: Record<string, Schema>, optional: readonly string[] = []): Schema {
  const required = Object.keys(properties).filter((name) => !optional.includes(name));
  return { type: 'object', required, properties };
}

function list(items: Schema, description?: string): Schema {
  return { type: 'array', items, ...(description === undefined ? undefined : { description }) };
}

const part = (of: Schema, name: string): Schema => of.properties![name]!;
const without = (of: Schema, ...names: string[]): Schema => ({
  ...of,
  required: of.required!.filter((name) => !names.includes(name)),
  properties: Object.fromEntries(Object.entries(of.properties!).filter(([name]) => !names.includes(name))),
});
const runOfProfile = part(profileSchema, 'runs').items as Schema;

const metric: Schema = object(
  {
    id: { type: 'string', pattern: '^[a-z0-9][A-Za-z0-9.-]*$', description: 'what budgets and comparisons call it' },
    label: text,
    unit: { type: 'string', enum: ['ns', 'bytes', 'count', 'share'] },
    better: { type: 'string', enum: ['lower', 'higher'] },
    value: { type: 'number', description: 'of something measured in every run: the median' },
    runs: list({ type: 'number' }, 'in the order of the runs, those that are known'),
    simulated: { type: 'boolean', const: true },
    base: object({ value: { type: 'number' }, runs: list({ type: 'number' }) }, ['runs']),
  },
  ['runs', 'simulated', 'base'],
);

const run: Schema = {
  ...without(runOfProfile, 'replay', 'misses'),
  required: [...without(runOfProfile, 'replay', 'misses').required!, 'number', 'failedLookups'],
  properties: {
    ...without(runOfProfile, 'replay', 'misses').properties,
    number: { type: 'integer', minimum: 1 },
    failedLookups: natural('look-ups of names that do not exist'),
  },
};

const startup: Schema = object(
  {
    run: text,
    number: { type: 'integer', minimum: 1 },
    ready: natural('ns'),
    end: whole,
    processes: list(
      object(
        {
          pid: natural(),
          comm: text,
          parent: natural(),
          first: whole,
          last: whole,
          files: natural(),
          bytes: natural(),
        },
        ['comm', 'parent', 'first', 'last'],
      ),
      'one row a thread and name',
    ),
    files: object({
      file: list(natural(), 'index in profile.files'),
      first: list(whole, 'ns'),
      last: list(whole, 'ns'),
      bytes: list(natural(), 'distinct bytes read'),
      process: list(natural(), 'index in processes'),
    }),
    cumulative: list(
      { type: 'array', prefixItems: [whole, natural(), natural()], items: false, minItems: 3 },
      '[ns, distinct bytes read until then, files opened until then]',
    ),
    replay: part(runOfProfile, 'replay'),
  },
  ['ready'],
);

const tree: Schema = object(
  {
    name: text,
    size: natural('bytes, uncompressed'),
    every: natural('of these, in files opened in every run'),
    some: natural('of these, in files opened in some runs'),
    files: natural(),
    children: list({ $ref: '#/$defs/tree' }),
  },
  ['children'],
);

const cells = list({ type: 'integer', minimum: 0, maximum: 100 }, 'per cent of equal parts');

const layer: Schema = object(
  {
    index: natural(),
    digest: text,
    size: natural('of the blob'),
    uncompressedSize: natural(),
    format: { type: 'string', enum: ['estargz', 'gzip', 'zstd', 'tar'] },
    createdBy: text,
    entries: natural(),
    landmark: object({ kind: { type: 'string', enum: ['prefetch', 'no-prefetch'] }, offset: natural() }),
    prefetchBytes: natural(),
    hotFiles: natural(),
    hotBytes: natural(),
    exact: { type: 'boolean', description: 'places are those in the blob; else those in the uncompressed tar' },
    barcode: object({ every: cells, some: cells }),
    tree: { $ref: '#/$defs/tree' },
  },
  ['createdBy', 'landmark'],
);

const image: Schema = object({
  reference: text,
  digest: text,
  platform: text,
  size: natural(),
  prefetchBytes: natural(),
  layers: list(layer),
});

const listed: Schema = object({
  files: natural(),
  bytes: natural(),
  largest: list(object({ path: text, layer: natural(), size: natural(), read: natural(), because: text }, ['because'])),
});

const onNetwork: Schema = object({
  network: text,
  ready: { $ref: '#/$defs/spread' },
  bytes: { $ref: '#/$defs/spread' },
  requests: { $ref: '#/$defs/spread' },
  misses: { $ref: '#/$defs/spread' },
  runs: list({ type: 'number' }, 'ns'),
});

const grid: Schema = object({ id: text, ready: list(list({ type: 'number' })) });

const simulation: Schema = object(
  {
    client: text,
    networks: list(object({ name: text, bytesPerSecond: { type: 'number' }, rtt: natural() }, ['bytesPerSecond'])),
    variants: list(
      object({
        id: { type: 'string', enum: ['pull', 'lazy-before', 'lazy-after', 'ideal'] },
        label: text,
        on: list(onNetwork),
      }),
    ),
    plane: object({
      bytesPerSecond: list({ type: 'number' }),
      rtts: list(natural()),
      from: grid,
      to: grid,
    }),
    fetched: object({
      network: text,
      ways: list(
        object({
          id: text,
          ready: natural('ns'),
          curve: list(
            { type: 'array', prefixItems: [natural(), natural()], items: false, minItems: 2 },
            '[ns, compressed bytes that have come until then]',
          ),
        }),
      ),
    }),
    left: list(text, 'runs that could not be played, and why'),
  },
  ['plane', 'fetched'],
);

const mismatch: Schema = object({ layer: natural(), entry: text, message: text, expected: text, found: text }, [
  'layer',
  'entry',
  'expected',
  'found',
]);

const verification: Schema = object({
  ok: truth,
  checks: list(object({ id: text, label: text, ok: truth, detail: text, mismatches: list(mismatch) })),
  exceptions: list(object({ layer: natural(), entry: text, kind: text, message: text })),
});

const group = (more: Record<string, Schema> = {}): Schema =>
  object(
    {
      kind: { type: 'string', enum: [...CHANGE_KINDS] },
      name: text,
      files: natural(),
      bytes: whole,
      size: whole,
      first: whole,
      shift: whole,
      largest: text,
      ...more,
    },
    ['name', 'first', 'shift'],
  );

const changes: Schema = object({
  findings: list(text),
  kinds: list(object({ kind: { type: 'string', enum: [...CHANGE_KINDS] }, files: natural(), bytes: whole })),
  places: list(group({ whole: truth })),
  packages: list(group({ whole: truth })),
  steps: list(group()),
  unsure: natural('files opened in another share of the runs, within the noise'),
});

const sometimes: Schema = object(
  { path: text, runs: { type: 'string', pattern: '^[01]+$' }, bytes: natural(), prefetched: truth, because: text },
  ['prefetched', 'because'],
);

export const reportSchema: Schema = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  title: 'a hotlayer report',
  description: 'What a start reads, what of it is prefetched, and what that is worth. Times are ns, sizes are bytes.',
  $defs: { ...profileSchema.$defs, ...planSchema.$defs, tree },
  ...object(
    {
      schemaVersion: { type: 'integer', const: REPORT_SCHEMA },
      tool: { type: 'string', minLength: 1 },
      date: { type: 'string', description: 'ISO 8601, from SOURCE_DATE_EPOCH' },
      findings: { type: 'object', additionalProperties: text, required: ['verdict', 'stability', 'misses', 'files'] },
      image: part(profileSchema, 'image'),
      workload: object({ ...part(profileSchema, 'workload').properties!, until: list(text) }),
      environment: object({ profiledBy: text, platform: text, precision: text }, ['platform']),
      metrics: list(metric),
      runs: { ...list(run), minItems: 1 },
      profile: without(profileSchema, 'runs', 'image', 'workload', 'platform'),
      startup,
      stability: object({
        openedIn: list(natural(), 'files opened in exactly 1, 2, … n runs'),
        compared: list(natural(), 'numbers of runs'),
        jaccard: list(list(share('of a pair of runs'))),
        sometimes: list(sometimes),
        sometimesTotal: natural(),
      }),
      heat: list(object({ path: text, size: natural(), read: natural(), cells })),
      before: image,
      after: image,
      prefetch: object({
        bytes: natural(),
        files: natural(),
        compressed: natural(),
        covered: list(natural(), 'indices in profile.files'),
        coverage: share('of the bytes that a start reads, prefetched'),
        waste: share('of the prefetched bytes, in files that no run opened'),
        unused: listed,
        missing: listed,
      }),
      plan: without(planSchema),
      simulation,
      verification,
      budgets: list(
        object(
          {
            id: text,
            level: { type: 'string', enum: ['error', 'warn'] },
            ok: truth,
            limit: text,
            expected: text,
            found: text,
            detail: text,
          },
          ['detail', 'limit'],
        ),
      ),
      base: object({ reference: text, digest: text, runs: natural() }, ['digest']),
      changes,
      warnings: list(text),
      method: list(text),
    },
    [
      'date',
      'startup',
      'before',
      'after',
      'prefetch',
      'plan',
      'simulation',
      'verification',
      'budgets',
      'base',
      'changes',
    ],
  ),
};
