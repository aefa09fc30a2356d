// Saved profiles and plans: round trips, the published schemas against ajv, and refusals with the JSON path.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { planLayers } from '../../src/analyze/plan.js';
import type { Policy } from '../../src/analyze/policy.js';
import { buildProfile } from '../../src/analyze/profile.js';
import { rankFiles } from '../../src/analyze/rank.js';
import {
  formatSaved,
  parsePlan,
  parseProfile,
  readPlan,
  readProfile,
  writePlan,
  writeProfile,
} from '../../src/analyze/saved.js';
import { planSchema, profileSchema } from '../../src/analyze/schema.js';
import { viewOfTree } from '../../src/analyze/tree-view.js';
import type { Plan, Profile } from '../../src/analyze/types.js';
import { HotlayerError } from '../../src/errors.js';
import { makeTempDir } from '../../src/temp.js';
import { checkSchema, type Schema } from '../../src/trace/json-schema.js';
import { traceEndSchema, traceEventSchema, traceHeaderSchema } from '../../src/trace/schema.js';
import { dir, layer, reg, sym } from '../rootfs/entries.js';
import { DIGEST, end, events, HEADER, newSeed, random, run, treeOf } from './support.js';

const tmp = makeTempDir();
after(() => tmp.remove());

const LAYERS = [
  [dir('bin'), reg('bin/app', { size: 9000 }), sym('lib', 'bin'), reg('caf\udce9', { size: 3 })],
  [reg('etc/conf', { size: 50 })],
];

const DATABASE = { kind: 'rpm', path: '/var/lib/rpm/Packages', packages: 0, notRead: 'a Berkeley DB' } as const;

function sample(): { profile: Profile; plan: Plan } {
  const profile = buildProfile(
    [
      run(LAYERS, ['open! /bin/app', 'read /bin/app 0+4096', 'readlink /lib', 'read /caf\udce9 0+3', 'lookup? /no'], {
        ready: { t: 40, by: 'line:x' },
      }),
      run(LAYERS, ['open! /bin/app', 'read /bin/app 0+9000', 'read /etc/conf 0+50', 'getattr /bin'], {
        complete: false,
        incompleteBecause: 'disk full',
        signal: 'SIGTERM',
      }),
    ],
    {
      totals: () => ({
        ...viewOfTree(treeOf(...LAYERS)).totals(),
        layers: [{ createdBy: 'COPY' }, {}],
        databases: [DATABASE],
      }),
    },
  );
  const policy: Policy = {
    name: 'all',
    choose: (candidates) => ({
      chosen: candidates.slice(0, -1),
      cut: candidates.slice(-1).map(({ rank }) => ({ path: rank.path, reason: 'last' })),
      chunks: new Map([['/bin/app', [4096]]]),
      behind: [{ path: '/x', because: 'cheaper' }],
      model: {
        client: 'a client',
        networks: [{ name: 'n', bytesPerSecond: 1e6, rtt: 5, prefetch: 6, misses: 7 }],
        prefetchBytes: 8,
        requests: 0.5,
        gap: 0,
        workloads: [{ name: 'web', weight: 2.5, regret: 0.25, networks: [{ nanos: 9, best: 8 }] }],
      },
    }),
  };
  const use = {
    package: 'pkg:deb/debian/dash@0.5.12-2?arch=amd64',
    files: 1,
    bytesRead: 4,
    size: 9,
    largest: '/bin/app',
  };
  const plan = planLayers({
    image: { reference: 'oci:app', digest: DIGEST },
    layers: LAYERS.map((specs, index) => ({
      index,
      digest: `sha256:${String(index).repeat(64)}`,
      diffId: `sha256:${'e'.repeat(64)}`,
      entries: layer(...specs),
    })),
    tree: treeOf(...LAYERS),
    ranking: rankFiles(profile),
    profile,
    policy,
  });
  const ids = profile.runs.map(({ id }) => id) as [string, string];
  const whole: Profile = {
    ...profile,
    outliers: [{ run: ids[0], measure: 'files', value: 3, median: 0 }],
    modes: [{ measure: 'ready', groups: [[ids[0]], [ids[1]]], medians: [1, 2] }],
    files: profile.files.map((file) => ({ ...file, package: use.package })),
    runs: profile.runs.map((one) => ({ ...one, imported: 'another tool' })),
  };
  return { profile: whole, plan: { ...plan, packages: [use] } };
}

interface Ajv {
  compile(schema: object): { (value: unknown): boolean; errors?: unknown };
}
const Ajv2020 = createRequire(import.meta.url)('ajv/dist/2020.js').default as new (options: object) => Ajv;
const ajv = () => new Ajv2020({ strict: true, allErrors: false });

/** The schema with every object closed: to find members that it does not describe. */
function closed(schema: Schema): object {
  return JSON.parse(JSON.stringify(schema), (_key, value) =>
    value?.type === 'object' && value.properties ? { ...value, additionalProperties: false } : value,
  );
}

const { profile, plan } = sample();

test('the sample uses every member that the types have', () => {
  assert.equal(plan.layers[0]?.chunks?.['bin/app']?.[0], 4096);
  assert.equal(plan.missed.length, 1);
  assert.equal(plan.complete, false);
  assert.ok(profile.ready && profile.files.some((file) => file.executed) && profile.misses.total === 1);
});

test('ajv: real profiles and plans fit the published schemas, and have no member besides', () => {
  for (const [schema, value] of [
    [profileSchema, profile],
    [planSchema, plan],
    [traceHeaderSchema, HEADER],
    [traceEndSchema, end(3, { ready: { t: 1, by: 'exit' } })],
    [traceEventSchema, events('read /x 0+1')[0]],
  ] as const) {
    for (const form of [schema, closed(schema)]) {
      const validate = ajv().compile(form);
      assert.ok(validate(JSON.parse(JSON.stringify(value))), JSON.stringify(validate.errors));
    }
  }
});

test('our check and ajv agree on thousands of damaged documents', () => {
  const seed = newSeed('schema');
  const draw = random(seed);
  const values: unknown[] = [null, true, -1, 0, 0.5, 3, '', 'x', '/x', [], [1], {}, { t: 1 }, DIGEST, 2 ** 53];
  for (const [schema, value] of [
    [profileSchema, profile],
    [planSchema, plan],
    [traceHeaderSchema, HEADER],
    [traceEventSchema, events('read /x 0+1')[0]],
  ] as const) {
    const validate = ajv().compile(schema);
    let refused = 0;
    for (let round = 0; round < 1500; round++) {
      const document = JSON.parse(JSON.stringify(value)) as unknown;
      damage(document, draw, values);
      const ours = checkSchema(document, schema).length === 0;
      // Ours also refuses integers that have lost digits; JSON Schema takes any number without a fraction.
      const digits = JSON.stringify(document).includes(String(2 ** 53));
      if (!digits) assert.equal(ours, validate(document), `SEED=${seed}: ${JSON.stringify(document)}`);
      if (!ours) refused += 1;
    }
    assert.ok(refused > 300, `${schema.title}: ${refused} refused`);
  }
});

/** Replaces, removes or adds one member somewhere below. */
function damage(value: unknown, draw: (below: number) => number, values: readonly unknown[]): void {
  if (typeof value !== 'object' || value === null) return;
  const keys = Object.keys(value);
  const holder = value as Record<string, unknown>;
  const key = keys[draw(keys.length)];
  if (key === undefined) return;
  const inner = holder[key];
  if (typeof inner === 'object' && inner !== null && Object.keys(inner).length > 0 && draw(4) > 0)
    damage(inner, draw, values);
  else if (draw(5) === 0 && !Array.isArray(value)) delete holder[key];
  else if (Array.isArray(value) && draw(3) === 0) value.push(values[draw(values.length)]);
  else holder[key] = values[draw(values.length)];
}

test('write and read back, the same bytes each time', async () => {
  const a = join(tmp.path, 'a.json');
  await writeProfile(a, profile);
  assert.deepEqual(await readProfile(a), profile);
  const b = join(tmp.path, 'b.json');
  await writePlan(b, plan);
  assert.deepEqual(await readPlan(b), plan);
  const again = sample();
  assert.equal(readFileSync(a, 'utf8'), formatSaved(again.profile));
  assert.equal(readFileSync(b, 'utf8'), formatSaved(again.plan));
  assert.deepEqual(readdirSync(tmp.path).sort(), ['a.json', 'b.json']);
  // One line for each file, for a diff that people can read.
  const lines = readFileSync(a, 'utf8').split('\n');
  assert.equal(lines.filter((line) => line.includes('"seenIn"')).length, profile.files.length);
  assert.ok(readFileSync(a, 'utf8').includes('/caf\\udce9'));
});

test('a target that cannot be written, a source that is not there', async () => {
  const nowhere = join(tmp.path, 'no', 'x.json');
  await assert.rejects(writePlan(nowhere, plan), (e) => e instanceof HotlayerError && e.code === 'HL_ERR_IO');
  await assert.rejects(readPlan(nowhere), (e) => e instanceof HotlayerError && e.code === 'HL_ERR_NOT_FOUND');
});

// biome-ignore lint/suspicious/noExplicitAny: documents are damaged at will here
type Damage = (document: any) => void;

const refusals = (
  parse: (text: string, where: string) => unknown,
  value: object,
  cases: readonly (readonly [name: string, damage: Damage, message: RegExp])[],
): void => {
  for (const [name, change, message] of cases) {
    test(`refused: ${name}`, () => {
      const document = JSON.parse(JSON.stringify(value));
      change(document);
      assert.throws(
        () => parse(JSON.stringify(document), 'p.json'),
        (e) => {
          assert.ok(e instanceof HotlayerError && e.code === 'HL_ERR_DATA', String(e));
          assert.match(e.message, message);
          return true;
        },
      );
    });
  }
};

const app = profile.files.findIndex((file) => file.path === '/bin/app');
const at = `\\$\\.files\\[${app}\\]`;
refusals(parseProfile, profile, [
  ['a profile of a later schema', (d) => (d.schemaVersion = 3), /^p\.json: \$\.schemaVersion: expected 2, found 3/],
  ['a profile without runs', (d) => (d.runs = []), /\$\.runs: expected 1 items or more, found an array of 0/],
  ['a missing member', (d) => delete d.files[app].size, new RegExp(`${at}\\.size: expected an integer, found nothing`)],
  ['a size below zero', (d) => (d.files[app].size = -1), new RegExp(`${at}\\.size: expected 0 or more, found -1`)],
  [
    'several mismatches',
    (d) => {
      d.tool = 3;
      d.precision = 'x';
    },
    /\$\.tool: .*; also \$\.precision/,
  ],
  [
    'seen in more runs than there are',
    (d) => (d.files[app].seenIn = 3),
    new RegExp(`${at}\\.seenIn: expected 2 or less`),
  ],
  [
    'opened more often than seen',
    (d) => {
      d.files[app].seenIn = 1;
    },
    new RegExp(`${at}\\.openedIn: expected 1 or less`),
  ],
  [
    'a range too long',
    (d) => (d.files[app].ranges = [[0, 9001, 1]]),
    new RegExp(`${at}\\.ranges\\[0\\]: .*9000 bytes, found 9001`),
  ],
  [
    'ranges that overlap',
    (d) =>
      (d.files[app].ranges = [
        [0, 10, 1],
        [9, 2, 2],
      ]),
    new RegExp(`${at}\\.ranges\\[1\\]: .*10 or more`),
  ],
  [
    'a range of four',
    (d) => (d.files[app].ranges = [[0, 10, 1, 1]]),
    new RegExp(`${at}\\.ranges\\[0\\]: expected 3 items`),
  ],
  [
    'a range read by too many runs',
    (d) => (d.files[app].ranges = [[0, 10, 3]]),
    new RegExp(`${at}\\.ranges\\[0\\]\\[2\\]: `),
  ],
  ['files out of order', (d) => d.files.reverse(), /\$\.files\[1\]\.path: expected paths in byte order/],
  [
    'a plan',
    (d) => {
      for (const key of Object.keys(d)) delete d[key];
      Object.assign(d, plan);
    },
    /\$\.workload: expected an object/,
  ],
]);

refusals(parsePlan, plan, [
  ['layers out of order', (d) => d.layers.reverse(), /\$\.layers\[0\]\.index: expected 0, its position, found 1/],
  [
    'a landmark that does not fit',
    (d) => (d.layers[0].landmark = 'no-prefetch'),
    /\$\.layers\[0\]\.landmark: expected "prefetch"/,
  ],
  ['a sum that does not fit', (d) => (d.layers[0].hotBytes += 1), /\$\.layers\[0\]\.hotBytes: expected 900/],
  [
    'an entry twice',
    (d) => d.layers[0].hot.push({ ...d.layers[0].hot[0], size: 0 }),
    /\$\.layers\[0\]\.hot\[\d\]\.path: expected each entry once/,
  ],
  [
    'chunk boundaries out of order',
    (d) => (d.layers[0].chunks = { 'bin/app': [8192, 4096] }),
    /chunks\["bin\/app"\]\[1\]: expected ascending/,
  ],
  ['a digest that is none', (d) => (d.image.digest = 'sha256:12'), /\$\.image\.digest: expected a string that matches/],
]);

test('refused: not JSON', () => {
  assert.throws(
    () => parsePlan('{', 'x'),
    (e) => e instanceof HotlayerError && /^x: not JSON/.test(e.message),
  );
});
