// Trace files: what is written is read back, what is broken is named by line, what was cut off is incomplete.
import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { HotlayerError } from '../../src/errors.js';
import { makeTempDir } from '../../src/temp.js';
import { eventWriter, formatEvent } from '../../src/trace/event-writer.js';
import type { Trace, TraceEnd, TraceEvent, TraceHeader } from '../../src/trace/events.js';
import { MAX_LINE } from '../../src/trace/lines.js';
import { readTrace } from '../../src/trace/trace-file.js';
import { copyTrace, finishTrace, writeTrace } from '../../src/trace/trace-writer.js';

const tmp = makeTempDir();
after(() => tmp.remove());
let serial = 0;
const fresh = (suffix = '.ndjson') => join(tmp.path, `t${serial++}${suffix}`);

const HEADER: TraceHeader = {
  schemaVersion: 1,
  tool: 'test',
  image: { reference: 'oci:app', digest: `sha256:${'ab'.repeat(32)}` },
  platform: { os: 'linux', architecture: 'arm64', variant: 'v8' },
  workload: { args: ['app', '--fl\u00e4g'], user: '1000:2000', cwd: '/srv' },
  precision: 'exact',
  until: ['line:ready'],
};
const EVENTS: TraceEvent[] = [
  { t: -5, op: 'lookup', path: '/etc/passwd', pid: 0, dur: 7 },
  { t: 0, op: 'open', path: '/bin/app', pid: 12, comm: 'sh', exec: true, dur: 100 },
  { t: 10, op: 'read', path: '/bin/app', offset: 2 ** 40, length: 4096, pid: 12, comm: 'a"b\\', dur: 3 },
  { t: 20, op: 'lookup', path: '/caf\udce9/line\nend\u2028\u0000"', pid: 12, errno: 2, dur: 1 },
  { t: 30, op: 'readdir', path: '/', pid: 12, dur: 0 },
];
const END: TraceEnd = {
  end: true,
  events: EVENTS.length,
  complete: true,
  ready: { t: 25, by: 'line:ready' },
  endedAt: 99,
  signal: 'SIGTERM',
};
const TRACE: Trace = { header: HEADER, events: EVENTS, end: END };
const TEXT = `${JSON.stringify(HEADER)}\n${EVENTS.map(formatEvent).join('')}${JSON.stringify(END)}\n`;

function save(content: string | Uint8Array, suffix?: string): string {
  const path = fresh(suffix);
  writeFileSync(path, content);
  return path;
}

const fails = (code: string, text: RegExp) => (error: unknown) => {
  assert.ok(error instanceof HotlayerError, String(error));
  assert.equal(error.code, code);
  assert.match(error.message, text);
  return true;
};

test('a line is the JSON of its event, members in a fixed order', () => {
  for (const event of EVENTS) {
    assert.deepEqual(JSON.parse(formatEvent(event)), event);
    assert.equal(formatEvent(event).indexOf('\n'), formatEvent(event).length - 1);
  }
  assert.equal(
    formatEvent(EVENTS[2]!),
    '{"t":10,"op":"read","path":"/bin/app","offset":1099511627776,"length":4096,"pid":12,"comm":"a\\"b\\\\","dur":3}\n',
  );
});

for (const suffix of ['.ndjson', '.ndjson.gz']) {
  test(`write and read back ${suffix}`, async () => {
    const path = fresh(suffix);
    await writeTrace(path, TRACE);
    assert.deepEqual(await readTrace(path), TRACE);
    const bytes = readFileSync(path);
    assert.equal((suffix.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString(), TEXT);
    const again = fresh(suffix);
    await writeTrace(again, TRACE);
    assert.deepEqual(readFileSync(again), bytes);
  });
}

test('a packed copy holds the same trace; gzip is known by its bytes, not by the name', async () => {
  const plain = save(TEXT);
  const packed = fresh('.gz');
  await copyTrace(plain, packed);
  assert.equal(gunzipSync(readFileSync(packed)).toString(), TEXT);
  assert.deepEqual(await readTrace(save(gzipSync(TEXT), '.ndjson')), TRACE);
});

test('a target that cannot be written leaves nothing', async () => {
  await assert.rejects(
    writeTrace(join(tmp.path, 'no', 'dir', 't'), TRACE),
    fails('HL_ERR_IO', /cannot write the trace/),
  );
});

const lines = TEXT.trimEnd().split('\n');
const withLine = (index: number, line: string) =>
  [...lines.slice(0, index), line, ...lines.slice(index + 1), ''].join('\n');
const changed = (index: number, change: object) =>
  withLine(index, JSON.stringify({ ...JSON.parse(lines[index]!), ...change }));

const BROKEN: [name: string, text: string | Uint8Array, code: string, message: RegExp][] = [
  ['an empty file', '', 'HL_ERR_DATA', /expected a trace, found an empty file/],
  ['not JSON at all', 'hello\n', 'HL_ERR_DATA', /:1: not JSON/],
  ["another program's JSON", '{"traceEvents":[]}\n', 'HL_ERR_DATA', /:1: \$\.schemaVersion: expected 1, found nothing/],
  ['a later schema', changed(0, { schemaVersion: 2 }), 'HL_ERR_DATA', /:1: \$\.schemaVersion: expected 1, found 2/],
  ['a bad precision', changed(0, { precision: 'rough' }), 'HL_ERR_DATA', /"exact", "fast", found "rough"/],
  ['a line in the middle cut', withLine(2, '{"t":1,'), 'HL_ERR_DATA', /:3: not JSON/],
  ['an empty line', withLine(2, ''), 'HL_ERR_DATA', /:3: not JSON/],
  ['an unknown operation', changed(1, { op: 'write' }), 'HL_ERR_DATA', /:2: \$\.op: expected one of .*found "write"/],
  ['a relative path', changed(1, { path: 'etc' }), 'HL_ERR_DATA', /:2: \$\.path: .*\^\/, found "etc"/],
  ['a fraction of a nanosecond', changed(1, { t: 0.5 }), 'HL_ERR_DATA', /:2: \$\.t: expected an integer, found 0\.5/],
  ['a number past 2^53', changed(3, { offset: 2 ** 60 }), 'HL_ERR_DATA', /:4: \$\.offset: expected an integer/],
  ['a read without range', changed(3, { offset: undefined }), 'HL_ERR_DATA', /:4: .*a read has offset and length/],
  ['a range without read', changed(1, { length: 4 }), 'HL_ERR_DATA', /:2: .*only a read has offset/],
  ['exec of a read', changed(3, { exec: true }), 'HL_ERR_DATA', /:4: operation "read"/],
  ['an array', withLine(1, '[]'), 'HL_ERR_DATA', /:2: \$: expected an object, found an array of 0/],
  ['null', withLine(1, 'null'), 'HL_ERR_DATA', /:2: \$: expected an object, found null/],
  ['errno 0', changed(1, { errno: 0 }), 'HL_ERR_DATA', /:2: \$\.errno: expected 1 or more, found 0/],
  ['a broken end', changed(6, { complete: 'yes' }), 'HL_ERR_DATA', /:7: \$\.complete: expected a boolean, found "yes"/],
  ['a line after the end', `${TEXT}${lines[1]}\n`, 'HL_ERR_DATA', /:8: found a line after the end record/],
  [
    'bytes that are not UTF-8',
    Buffer.concat([Buffer.from(`${lines[0]}\n`), Buffer.of(0xff, 0x0a)]),
    'HL_ERR_DATA',
    /not UTF-8/,
  ],
  [
    'an endless line',
    Buffer.concat([Buffer.from(`${lines[0]}\n`), Buffer.alloc(MAX_LINE + 300_000, 0x20)]),
    'HL_ERR_LIMIT',
    /:2: the line is longer/,
  ],
  ['broken gzip', corrupted(gzipSync(TEXT)), 'HL_ERR_DATA', /broken gzip data/],
];

function corrupted(bytes: Buffer): Buffer {
  // Byte 3 before the end is in the CRC's neighbour ISIZE; 6 before it in the CRC itself (RFC 1952 section 2.3.1).
  bytes[bytes.length - 6]! ^= 0xff;
  return bytes;
}

for (const [name, text, code, message] of BROKEN) {
  test(`refused: ${name}`, async () => {
    await assert.rejects(readTrace(save(text)), fails(code, message));
  });
}

test('no such file', async () => {
  await assert.rejects(readTrace(join(tmp.path, 'nowhere')), fails('HL_ERR_NOT_FOUND', /no such trace file/));
});

const CUT: [name: string, text: string | Uint8Array, events: number, because: RegExp][] = [
  ['no end record', `${lines.slice(0, 4).join('\n')}\n`, 3, /no end record: what wrote it/],
  ['cut within an event', lines.slice(0, 4).join('\n').slice(0, -9), 2, /no end record \(line 4 was cut off\)/],
  ['cut within the end record', TEXT.slice(0, -20), 5, /line 7 was cut off/],
  ['only a header', `${lines[0]}\n`, 0, /no end record/],
  ['an event missing', [...lines.slice(0, 2), ...lines.slice(3), ''].join('\n'), 4, /counts 5 events, the file has 4/],
];

for (const [name, text, events, because] of CUT) {
  test(`incomplete: ${name}`, async () => {
    const trace = await readTrace(save(text));
    assert.equal(trace.end.complete, false);
    assert.match(trace.end.incompleteBecause ?? '', because);
    assert.equal(trace.end.events, events);
    assert.deepEqual(trace.events, trace.events.slice(0, events));
  });
}

test('incomplete: a gzip file cut off keeps the lines before the cut', async () => {
  const many = Array.from({ length: 20_000 }, (_, i) => formatEvent({ ...EVENTS[2]!, t: i, offset: i * 7919 }));
  const packed = gzipSync(`${lines[0]}\n${many.join('')}`);
  const trace = await readTrace(save(packed.subarray(0, packed.length >> 1)));
  assert.equal(trace.end.complete, false);
  assert.match(trace.end.incompleteBecause ?? '', /gzip stream was cut off/);
  assert.ok(trace.events.length > 5000 && trace.events.length < 20_000, `${trace.events.length}`);
  assert.equal(trace.events.at(-1)?.t, trace.events.length - 1);
});

test('a last line without newline is still a line', async () => {
  assert.deepEqual(await readTrace(save(TEXT.trimEnd())), TRACE);
});

test("the writer batches, and its file becomes the run's trace with time counted from the start", async () => {
  const raw = fresh();
  const fd = openSync(raw, 'w');
  const sizes: number[] = [];
  const { writeSync } = await import('node:fs');
  const writer = eventWriter(fd, (to, bytes) => {
    sizes.push(bytes.length);
    return writeSync(to, bytes);
  });
  const events = Array.from({ length: 3000 }, (_, i) => ({ ...EVENTS[i % EVENTS.length]!, t: i * 1000 }));
  for (const event of events) writer.record(event);
  assert.deepEqual(writer.finish(), { events: 3000, complete: true });
  assert.deepEqual(writer.finish(), { events: 3000, complete: true });
  closeSync(fd);
  assert.ok(sizes.length > 2 && sizes.length < 10, `${sizes.length} writes`);
  const path = fresh();
  const end = await finishTrace(raw, path, HEADER, 5_000, (count, cutOff) => ({
    ...END,
    events: count,
    complete: !cutOff,
  }));
  assert.equal(end.events, 3000);
  const trace = await readTrace(path);
  assert.deepEqual(trace.end, end);
  assert.deepEqual(
    trace.events,
    events.map((event) => ({ ...event, t: event.t - 5_000 })),
  );
});

test('short writes are continued; a write that fails makes the trace incomplete and throws nothing', async () => {
  const raw = fresh();
  const fd = openSync(raw, 'w');
  const { writeSync } = await import('node:fs');
  let left = 100_000;
  const writer = eventWriter(fd, (to, bytes) => {
    if (left === 0) throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
    const taken = writeSync(to, bytes.subarray(0, Math.min(left, 30_000)));
    left -= taken;
    return taken;
  });
  for (let i = 0; i < 3000; i++) writer.record({ ...EVENTS[2]!, t: i });
  const summary = writer.finish();
  closeSync(fd);
  assert.equal(summary.complete, false);
  assert.match(summary.incompleteBecause ?? '', /failed after 97\.7 KiB: ENOSPC.*; \d+ events were lost/);
  const lost = Number(/(\d+) events were lost/.exec(summary.incompleteBecause ?? '')?.[1]);
  assert.equal(summary.events + lost, 3000);
  const path = fresh();
  const end = await finishTrace(raw, path, HEADER, 0, (events, cutOff) => ({
    end: true,
    events,
    complete: !cutOff,
    endedAt: 1,
  }));
  assert.equal(end.complete, false);
  const trace = await readTrace(path);
  assert.ok(trace.events.length >= summary.events);
  assert.equal(trace.events.at(-1)?.t, trace.events.length - 1);
});

test('an event costs less than 3 µs to record', () => {
  const writer = eventWriter(0, (_fd, bytes) => bytes.length);
  const event = EVENTS[2]!;
  const run = () => {
    const begin = process.hrtime.bigint();
    for (let i = 0; i < 50_000; i++) writer.record({ ...event, t: i });
    return Number(process.hrtime.bigint() - begin) / 50_000;
  };
  // The best of a few rounds: other processes share this machine.
  const best = Math.min(run(), run(), run(), run(), run());
  assert.ok(best < 3000, `${best} ns`);
});
