// Every form that is text, with paths that try to be something else: read by parsers that are not ours.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Ajv } from 'ajv';
import { marked } from 'marked';
import { renderAnnotations } from '../../src/report/annotations.js';
import { renderMarkdown } from '../../src/report/markdown.js';
import { OUTPUTS } from '../../src/report/outputs.js';
import { assembleReport } from '../../src/report/report.js';
import { lacking } from '../support/tools.js';
import { HOSTILE, hostileProfile, hostileReport, textOf } from './fixture.js';

const report = hostileReport();
const rendered = Object.fromEntries(
  Object.entries(OUTPUTS).map(([form, { render }]) => [form, textOf(render(report))]),
) as Record<keyof typeof OUTPUTS, string>;

test('every form: UTF-8 without control characters, turning marks or lone surrogates, and the same each time', () => {
  for (const [form, { render }] of Object.entries(OUTPUTS)) {
    const text = rendered[form as keyof typeof OUTPUTS];
    assert.ok(text.length > 50, form);
    assert.equal(textOf(render(hostileReport())), text, form);
    assert.doesNotMatch(text, /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\r]/, form);
    // JSON of the report keeps names as they are, so that it can be read back; JSON has escapes for its own safety.
    if (form !== 'report') assert.doesNotMatch(text, /[\u200e\u200f\u202a-\u202e\u2066-\u2069]/, form);
    assert.equal(Buffer.from(text, 'utf8').toString('utf8'), text, form);
  }
});

test('JSON: names come back without loss', () => {
  const read = JSON.parse(rendered.report) as typeof report;
  assert.deepEqual(read.profile.files.map(({ path }) => path).sort(), [...HOSTILE].sort());
});

test('Markdown: no markup, links or mentions but ours; small; marked', () => {
  const html = marked.parse(rendered.markdown, { gfm: true }) as string;
  const tags = new Set([...html.matchAll(/<\/?([a-z][a-z0-9]*)/gi)].map(([, tag]) => tag));
  assert.deepEqual([...tags].sort(), [
    'details',
    'h3',
    'li',
    'p',
    'summary',
    'table',
    'tbody',
    'td',
    'th',
    'thead',
    'tr',
    'ul',
  ]);
  assert.doesNotMatch(rendered.markdown, /(?<!\\)\[link|@you|<script|<img/);
  assert.ok(rendered.markdown.startsWith('<!-- hotlayer-report -->\n'));
  assert.ok(Buffer.byteLength(rendered.markdown) <= 64 * 1024);
  // Each table has rows as wide as its head, whatever is in the cells.
  for (const [, head, body] of html.matchAll(/<thead>([\s\S]*?)<\/thead>\s*<tbody>([\s\S]*?)<\/tbody>/g)) {
    const columns = head!.split('<th>').length;
    for (const row of body!.split('<tr>').slice(1)) assert.equal(row.split('<td>').length, columns, row);
  }
});

test('Markdown says in its title what became of the budgets', () => {
  const budget = (ok: boolean, level: 'error' | 'warn') => ({ id: 'a', level, ok, expected: '≤ 1', found: '2' });
  const report = hostileReport();
  const titles = [
    { budgets: [budget(true, 'error'), budget(true, 'warn')], title: /✅ .*: all 2 budgets kept$/ },
    { budgets: [budget(true, 'error'), budget(false, 'warn')], title: /⚠️ .*: 1 of 2 budgets exceeded, as a warning$/ },
    { budgets: [budget(false, 'error'), budget(false, 'warn')], title: /❌ .*: 1 of 2 budgets exceeded$/ },
  ];
  const { verification: _, ...unverified } = report;
  for (const { budgets, title } of titles)
    assert.match(renderMarkdown({ ...unverified, budgets }).split('\n')[1]!, title);
});

test('Markdown of a huge report stays below its limit, and says so', () => {
  const warnings = Array.from({ length: 10 }, () => '*'.repeat(20_000));
  const text = renderMarkdown({ ...report, warnings });
  assert.ok(Buffer.byteLength(text) <= 64 * 1024);
  assert.match(text, /more sections are in the report itself/);
});

test('JUnit, read by libxml2', { skip: lacking('xmllint') }, () => {
  const ask = (path: string): string =>
    execFileSync('xmllint', ['--noent', '--nonet', '--xpath', path, '-'], {
      input: rendered.junit,
      encoding: 'utf8',
    }).trim();
  assert.equal(ask('string(/testsuites/@tests)'), '5');
  assert.equal(ask('count(//testcase)'), '5');
  assert.equal(ask('count(//failure)'), ask('string(/testsuites/@failures)'));
  assert.equal(ask('string(//testcase[@name="startup-files"]/failure/@message)'), '13, expected ≤ 10');
  assert.match(ask('string(//testcase[@name="same content"]/failure)'), /layer 0 .*two\\x0alines/);
  const none = textOf(OUTPUTS.junit.render(assembleReport({ profile: hostileProfile })));
  assert.match(none, /tests="1" failures="0"/);
});

test('annotations: one line each, nothing in a message begins another command', () => {
  const lines = renderAnnotations(report).trimEnd().split('\n');
  assert.equal(lines.length, 3);
  assert.match(lines[0]!, /^::error title=startup-files::13, expected ≤ 10/);
  assert.match(lines[1]!, /^::warning title=startup-bytes::/);
  for (const line of lines) assert.match(line, /^::(error|warning) title=[^:,]*::/);
});

const PYTHON = '/usr/bin/python3';

test("OpenMetrics, read by Prometheus' own parser", { skip: lacking('python3') }, () => {
  const script = `
import sys, json
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
print(json.dumps([[f.name, f.unit, s.labels.get("run", ""), s.value] for f in parse(sys.stdin.read()) for s in f.samples]))`;
  const samples = JSON.parse(
    execFileSync(PYTHON, ['-c', script], { input: rendered.openmetrics, encoding: 'utf8' }),
  ) as [string, string, string, number][];
  const find = (name: string, run = ''): number | undefined => samples.find(([n, , r]) => n === name && r === run)?.[3];
  assert.equal(find('hotlayer_startup_files'), HOSTILE.length);
  assert.equal(
    find('hotlayer_startup_time_seconds'),
    report.metrics.find(({ id }) => id === 'startup-time')!.value / 1e9,
  );
  assert.equal(find('hotlayer_startup_bytes', '2'), report.metrics.find(({ id }) => id === 'startup-bytes')!.runs![1]);
  assert.deepEqual([...new Set(samples.map(([, unit]) => unit))].sort(), ['', 'bytes', 'ratio', 'seconds']);
});

test('benchmark JSON: the members that github-action-benchmark and hyperfine write about', () => {
  const entries = JSON.parse(rendered.benchmark) as { name: string; unit: string; value: number }[];
  assert.equal(entries.length, report.metrics.length);
  for (const { name, unit, value } of entries) assert.ok(name && unit && Number.isFinite(value));
  const { results } = JSON.parse(rendered.hyperfine) as { results: Record<string, unknown>[] };
  const [first] = results;
  assert.equal((first!.times as number[]).length, 3);
  assert.ok((first!.min as number) <= (first!.median as number) && (first!.median as number) <= (first!.max as number));
  assert.deepEqual(Object.keys(first!), [
    'command',
    'mean',
    'stddev',
    'median',
    'user',
    'system',
    'min',
    'max',
    'times',
    'exit_codes',
    'parameters',
  ]);
});

test('speedscope: its own schema; as many bytes as were read', () => {
  const file = fileURLToPath(
    new URL('../../../node_modules/speedscope/dist/release/file-format-schema.json', import.meta.url),
  );
  const schema = JSON.parse(readFileSync(file, 'utf8')) as object;
  const value = JSON.parse(rendered.speedscope) as { profiles: { weights: number[]; samples: number[][] }[] };
  const ajv = new Ajv({ strict: false });
  assert.ok(ajv.validate(schema, value), JSON.stringify(ajv.errors));
  const read = report.startup!.files.bytes.reduce((a, b) => a + b, 0);
  assert.equal(
    value.profiles[0]!.weights.reduce((a, b) => a + b, 0),
    read,
  );
});

test('folded stacks: one line each, the weight last', () => {
  const lines = rendered.folded.trimEnd().split('\n');
  assert.equal(lines.length, HOSTILE.length);
  for (const line of lines) assert.match(line, /^\S+ \d+$/);
  assert.ok(lines.every((line) => line.startsWith('<comm>\\x3b"')));
});

test('trace events: tracks on which nothing overlaps, from zero on', () => {
  const { traceEvents } = JSON.parse(rendered.perfetto) as {
    traceEvents: { ph: string; tid: number; ts: number; dur: number; name: string }[];
  };
  const slices = traceEvents.filter(({ ph }) => ph === 'X');
  assert.equal(slices.length, report.startup!.replay.accesses);
  const ends = new Map<number, number>();
  for (const { tid, ts, dur } of slices) {
    assert.ok(ts >= (ends.get(tid) ?? 0) - 1e-6);
    ends.set(tid, ts + dur);
  }
  assert.equal(
    traceEvents.filter(({ ph, name }) => ph === 'M' && name === 'thread_name').length,
    report.startup!.processes.length,
  );
});
