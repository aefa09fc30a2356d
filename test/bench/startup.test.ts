// bench/startup: what measurements come to, and the report of them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { untilFlag, WORKLOADS } from '../../bench/startup/images.js';
import { NETWORKS, parseNetwork } from '../../bench/startup/networks.js';
import { readOptions } from '../../bench/startup/options.js';
import { render } from '../../bench/startup/report.js';
import { casesOf, type Measurement, meansOf, type Scope, shortcomings } from '../../bench/startup/results.js';
import { rotated, rounds } from '../../bench/startup/rounds.js';
import { VARIANTS } from '../../bench/startup/variants.js';
import { parseReadyRule } from '../../src/container/index.js';

const SCOPE: Scope = {
  images: ['python', 'nginx', 'java'],
  extra: ['java'],
  networks: ['loopback'],
  variants: ['full', 'plain', 'peer', 'hotlayer'],
  digests: new Map(
    ['python', 'nginx', 'java'].flatMap((image) =>
      ['full', 'plain', 'peer', 'hotlayer'].map((variant) => [`${image} ${variant}`, `${image}-${variant}`] as const),
    ),
  ),
};

function measured(image: string, variant: string, readyMs: readonly number[], onDemand = 0): Measurement[] {
  const lazy = variant !== 'full';
  return readyMs.map((ms, round) => ({
    ...{ image, network: 'loopback', variant, round, digest: `${image}-${variant}`, at: '2026-01-01T00:00:00Z' },
    ...{ readyMs: ms, pullMs: ms / 2, bytes: 1e6, requests: 7, connections: 2, cpuMs: 500, neighboursMs: 50 },
    ...{ onDemand: lazy ? onDemand : null, prefetched: lazy ? 4e5 : null },
  }));
}

function all(image: string, times: Record<string, number[]>, misses: Record<string, number> = {}): Measurement[] {
  return Object.entries(times).flatMap(([variant, ms]) => measured(image, variant, ms, misses[variant]));
}

const GOOD = [
  ...all('python', { full: [900, 910, 920], plain: [400, 410, 420], peer: [200, 210, 220], hotlayer: [100, 105, 110] }),
  ...all('nginx', { full: [900, 910, 920], plain: [400, 410, 420], peer: [200, 210, 220], hotlayer: [200, 210, 220] }),
  ...all('java', { full: [900, 910, 920], plain: [100, 105, 110], peer: [200, 210, 220], hotlayer: [100, 105, 110] }),
];

test('cases: medians and ratios per image and network', () => {
  const cases = casesOf(GOOD, SCOPE);
  assert.deepEqual(
    cases.map((one) => [one.image, one.network, one.rounds]),
    [
      ['python', 'loopback', 3],
      ['nginx', 'loopback', 3],
      ['java', 'loopback', 3],
    ],
  );
  const [full, , , ours] = cases[0]!.variants;
  assert.equal(ours!.measures.readyMs!.median, 105);
  assert.equal(ours!.readyRatio.peer!.ratio, 0.5);
  assert.deepEqual(ours!.readyRatio.peer!.interval, [0.5, 0.5]);
  assert.equal(full!.measures.onDemand, undefined, 'a full pull has no misses to count');
  assert.equal(full!.measures.requests!.median, 7);
});

test('only rounds count in which every variant was measured, and only what is measured now', () => {
  const python = GOOD.filter((m) => m.image === 'python');
  const without = python.filter((m) => !(m.variant === 'peer' && m.round === 1));
  const [one] = casesOf(without, SCOPE);
  assert.equal(one!.rounds, 2);
  assert.deepEqual(one!.variants[3]!.measures.readyMs!.values, [100, 110]);
  const older = python.map((m) => (m.variant === 'plain' ? { ...m, digest: 'of another image' } : m));
  assert.deepEqual(casesOf(older, SCOPE), []);
});

test('geometric means leave the extra images out', () => {
  const means = meansOf(casesOf(GOOD, SCOPE), SCOPE);
  const of = (over: string) => means.find((m) => m.variant === 'hotlayer' && m.over === over)!;
  assert.equal(of('peer').images, 2);
  assert.ok(Math.abs(of('peer').ratio.ratio - Math.sqrt(0.5)) < 1e-9);
});

test('what falls short is named, what is noise is not', () => {
  assert.deepEqual(shortcomings(casesOf(GOOD, SCOPE)), []);
  const bad = [
    ...all('python', {
      full: [900, 900, 900],
      plain: [100, 100, 100],
      peer: [200, 200, 200],
      hotlayer: [150, 150, 150],
    }),
    ...all('nginx', {
      full: [900, 900, 900],
      plain: [400, 400, 400],
      peer: [200, 210, 190],
      hotlayer: [205, 200, 195],
    }),
    ...all(
      'java',
      { full: [900, 900, 900], plain: [400, 400, 400], peer: [200, 200, 200], hotlayer: [150, 150, 150] },
      { peer: 1, hotlayer: 2 },
    ),
  ];
  assert.deepEqual(shortcomings(casesOf(bad, SCOPE)), [
    'python, loopback: ready later than plain, ratio 1.500',
    'java, loopback: 2 chunks fetched on demand, peer 1',
  ]);
});

test('the report has all cases, the means and the verdict', () => {
  const cases = casesOf(GOOD, SCOPE);
  const digest = 'sha256:00';
  const input = {
    workloads: WORKLOADS.filter((w) => SCOPE.images.includes(w.recipe.name)),
    variants: VARIANTS,
    networks: SCOPE.networks,
    made: new Map([
      [
        'python full',
        { repository: 'python', tag: 'full', digest, layers: [{ digest, size: 5e6 }], seconds: 1, details: {} },
      ],
    ]),
    cases,
    means: meansOf(cases, SCOPE),
    shortcomings: [],
    machine: { cpu: 'a processor', cores: 2, memoryBytes: 1e9, kernel: '6', node: 'v20', programs: {} },
    hotlayer: { version: '0.1.0', commit: 'abc' },
  };
  const text = render(input);
  assert.match(text, /## Bare loopback/);
  assert.match(text, /\| python \| 0\.91 s \(0\.90–0\.92\) \| .* \| 0\.50 \(0\.50–0\.50\) \| 0\.26 .*\| 0\.12 /);
  assert.match(text, /\| geometric mean \|.*\*\*0\.71 \(0\.71–0\.71\)\*\*/);
  assert.match(text, /\| java \* \|/);
  assert.match(text, /This holds in all 3 cases/);
  // 50 ms of two processors in 100 … 920 ms.
  assert.match(text, /Other programs used 11 % of it in the median of all measurements, at most 25 %/);
  assert.match(text, /\| python \| .* \| the line “ready” \| 5\.0 \|/);
  assert.match(render({ ...input, shortcomings: ['a: b'] }), /does not hold here:\n\n- a: b/);
});

test('rounds have everything once, and everybody is first in turn', () => {
  assert.deepEqual(rotated(['a', 'b', 'c'], 4), ['b', 'c', 'a']);
  const turns = rounds(4, WORKLOADS.slice(0, 2), NETWORKS, VARIANTS);
  assert.equal(turns.length, 4 * 2 * 3 * 4);
  const here = turns.filter((turn) => turn.workload === WORKLOADS[1] && turn.network === NETWORKS[2]);
  const first = [0, 1, 2, 3].map((round) => here.find((turn) => turn.round === round)!.variant.name);
  assert.deepEqual(first.sort(), ['full', 'hotlayer', 'peer', 'plain']);
});

test('flags choose images, networks and variants', () => {
  const all = readOptions([]);
  assert.deepEqual([all.runs, all.dry, all.fresh, all.reportOnly], [5, false, false, false]);
  assert.deepEqual([all.workloads, all.networks, all.variants], [WORKLOADS, NETWORKS, VARIANTS]);
  const some = readOptions([
    '--images',
    'nginx,python',
    '--networks',
    '5ms/10mbit',
    '--variants',
    'peer',
    '--runs',
    '9',
  ]);
  assert.deepEqual(
    some.workloads.map((w) => w.recipe.name),
    ['python', 'nginx'],
  );
  assert.deepEqual(some.networks, [{ name: '5ms/10mbit', rtt: 5, mbit: 10 }]);
  assert.deepEqual(
    some.variants.map((v) => v.name),
    ['peer'],
  );
  assert.equal(some.runs, 9);
  assert.deepEqual(
    readOptions(['--variants', 'hotlayer,all-read']).variants.map((v) => v.title),
    ['hotlayer', 'hotlayer, all that is read'],
  );
  const quick = readOptions(['--quick', '--dir', 'here']);
  assert.deepEqual([quick.runs, quick.dry, quick.directory, quick.workloads.length], [2, true, 'here', 1]);
  assert.throws(() => readOptions(['--images', 'pyhton']), /unknown: pyhton; there are python, nginx/);
  assert.throws(() => readOptions(['--runs', '0']), /whole number/);
});

test('networks by name', () => {
  assert.deepEqual(parseNetwork('20ms/100mbit'), { name: '20ms/100mbit', rtt: 20, mbit: 100 });
  assert.deepEqual(parseNetwork('loopback'), { name: 'loopback', rtt: 0, mbit: 0 });
  assert.throws(() => parseNetwork('fast'), /not a network/);
});

test('every workload has a name, a port and a rule of its own that the product understands', () => {
  const names = WORKLOADS.map((w) => w.recipe.name);
  assert.equal(new Set(names).size, names.length);
  assert.ok(WORKLOADS.filter((w) => !w.extra).length >= 5);
  const ports = WORKLOADS.flatMap(({ ready }) => ('port' in ready ? [ready.port] : []));
  assert.equal(new Set(ports).size, ports.length);
  for (const { ready, recipe } of WORKLOADS) {
    assert.equal(parseReadyRule(untilFlag(ready)).kind, ready.kind);
    if ('port' in ready) assert.match(JSON.stringify(recipe), new RegExp(`\\b${ready.port}\\b`));
  }
});
