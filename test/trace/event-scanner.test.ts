// The scanner of event lines beside JSON.parse: whatever it reads, JSON.parse reads the same; whatever is wrong, it
// leaves alone.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { HotlayerError } from '../../src/errors.js';
import { makeTempDir } from '../../src/temp.js';
import { EventScanner } from '../../src/trace/event-scanner.js';
import { formatEvent } from '../../src/trace/event-writer.js';
import type { Op, Trace, TraceEnd, TraceEvent, TraceHeader } from '../../src/trace/events.js';
import { peekReady, readTrace } from '../../src/trace/trace-file.js';
import { newSeed, random } from '../analyze/support.js';

const tmp = makeTempDir();
after(() => tmp.remove());

const scan = (scanner: EventScanner, line: string) => {
  // In the middle of other bytes, as in a file.
  const bytes = Buffer.from(`xx${line}\n{"t":1}`);
  return scanner.scan(bytes, 2, 2 + Buffer.byteLength(line));
};

type Below = (n: number) => number;
const OPS: readonly Op[] = ['lookup', 'getattr', 'open', 'read', 'readlink', 'readdir', 'getxattr'];
const PLAIN = [
  '/',
  '/a',
  '/usr/lib/x86_64-linux-gnu/libc.so.6',
  '/etc/a file with spaces',
  `/${'deep/'.repeat(300)}end`,
];
const ODD = ['/caf\u00e9', '/caf\udce9', '/a"b', '/a\\b', '/a\nb', '/\u2028', '/\u007f'];

function someEvent(below: Below, paths: readonly string[]): TraceEvent {
  const op = OPS[below(OPS.length)]!;
  const maybe = (n: number) => below(n) === 0;
  const large = () => [0, 1, 4096, 2 ** 31, 2 ** 40, 999_999_999_999_999][below(6)]!;
  return {
    t: maybe(5) ? -Math.max(1, large()) : large(),
    op,
    path: paths[below(paths.length)]! + (maybe(3) ? String(below(1000)) : ''),
    ...(op === 'read' ? { offset: large(), length: below(2 ** 20) } : undefined),
    pid: below(5) * 1000,
    ...(maybe(4) ? undefined : { comm: ['sh', '', 'node main', 'x'.repeat(15)][below(4)]! }),
    ...(maybe(4) ? { parent: 1 + below(9) } : undefined),
    ...(maybe(4) ? { errno: 1 + below(9) } : undefined),
    ...(op === 'open' && maybe(3) ? { exec: true as const } : undefined),
    dur: large(),
  };
}

test('every plain event is read as JSON.parse reads it', () => {
  const below = random(newSeed('plain'));
  const scanner = new EventScanner();
  for (let i = 0; i < 5000; i++) {
    const event = someEvent(below, PLAIN);
    const line = formatEvent(event).trimEnd();
    const found = scan(scanner, line);
    assert.deepEqual(found, event, line);
    assert.equal(JSON.stringify(found), line);
  }
});

test('names that need an escape, or are not ASCII, are left to JSON.parse', () => {
  const below = random(newSeed('odd'));
  const scanner = new EventScanner();
  for (let i = 0; i < 500; i++) {
    const line = formatEvent(someEvent(below, ODD)).trimEnd();
    assert.equal(scan(scanner, line), undefined, line);
  }
});

test('a table of a hundred thousand names gives each back', () => {
  const scanner = new EventScanner();
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 100_000; i++) {
      const event: TraceEvent = { t: i, op: 'open', path: `/f${i}`, pid: 1, dur: 0 };
      assert.equal(scan(scanner, formatEvent(event).trimEnd())?.path, event.path);
    }
  }
});

/** Something small done to a line that may or may not leave it an event. */
function mutated(line: string, below: Below): string {
  const at = below(line.length);
  const token = [...'{}[]",:-+.0123456789eE \\/\u007f\u00e9\t', '00', '-0', 'null', '"t"', ',"dur":1', 'true', '1e3'];
  const put = token[below(token.length)]!;
  switch (below(4)) {
    case 0:
      return line.slice(0, at) + put + line.slice(at + 1);
    case 1:
      return line.slice(0, at) + put + line.slice(at);
    case 2:
      return line.slice(0, at) + line.slice(at + 1 + below(12));
    default: {
      const members = line.slice(1, -1).split(/,(?=")/);
      const [a, b] = [below(members.length), below(members.length)];
      [members[a], members[b]] = [members[b]!, members[a]!];
      return `{${members.join(',')}}`;
    }
  }
}

test('of lines with something changed, those that are read are what JSON.parse says', () => {
  const below = random(newSeed('mutated'));
  const scanner = new EventScanner();
  let read = 0;
  for (let i = 0; i < 20_000; i++) {
    const line = mutated(formatEvent(someEvent(below, PLAIN)).trimEnd(), below);
    const found = scan(scanner, line);
    if (found === undefined) continue;
    read += 1;
    const parsed: unknown = JSON.parse(line);
    assert.deepEqual(found, parsed, line);
    assert.deepEqual(Object.keys(found), Object.keys(parsed as object), line);
  }
  assert.ok(read > 2000 && read < 18_000, `${read}`);
});

const HEADER: TraceHeader = {
  ...{ schemaVersion: 1, tool: 'test', image: { reference: 'oci:app' }, precision: 'exact', until: ['exit'] },
  workload: { args: ['/a'], user: '', cwd: '/' },
};

const outcome = async (text: string): Promise<Trace | string> => {
  const path = join(tmp.path, 'trace');
  writeFileSync(path, text);
  try {
    return await readTrace(path);
  } catch (error) {
    assert.ok(error instanceof HotlayerError, String(error));
    // What the parser says of a line differs by where in it something was found.
    return `${error.code} ${error.message.replace(/not JSON: .*/s, 'not JSON')}`;
  }
};

test('a file is read, or refused, as one whose every line goes to JSON.parse', async () => {
  const below = random(newSeed('file'));
  const kinds = { read: 0, refused: 0 };
  for (let i = 0; i < 400; i++) {
    const lines = Array.from({ length: 4 }, () => formatEvent(someEvent(below, [...PLAIN, ...ODD])).trimEnd());
    lines[2] = mutated(lines[2]!, below);
    const end: TraceEnd = { end: true, events: 4, complete: true, endedAt: 9 };
    // The scanner takes no line with a space at its end; to JSON it is the same.
    const file = (tail: string) =>
      `${JSON.stringify(HEADER)}\n${lines.map((line) => `${line}${tail}\n`).join('')}${JSON.stringify(end)}\n`;
    const found = await outcome(file(''));
    assert.deepEqual(found, await outcome(file(' ')), lines[2]);
    kinds[typeof found === 'string' ? 'refused' : 'read'] += 1;
  }
  assert.ok(kinds.read > 40 && kinds.refused > 40, JSON.stringify(kinds));
});

const EVENT = formatEvent({ t: 1, op: 'open', path: '/a', pid: 1, dur: 1 });
const end = (more: object) => JSON.stringify({ end: true, events: 1, complete: true, endedAt: 9, ...more });
const READY = { ready: { t: 5, by: 'exit' } };
const PEEKED: readonly [name: string, content: string | Uint8Array, ready: TraceEnd['ready']][] = [
  ['an end record', `${EVENT}${end(READY)}\n`, READY.ready],
  ['one without a newline after it', `${EVENT}${end(READY)}`, READY.ready],
  ['one that was never ready', `${EVENT}${end({})}\n`, undefined],
  ['one after more than is looked at', `${EVENT.repeat(10_000)}${end(READY)}\n`, READY.ready],
  ['a packed one', gzipSync(`${EVENT.repeat(10_000)}${end(READY)}\n`), READY.ready],
  ['a packed one that was cut off', gzipSync(`${EVENT.repeat(10_000)}${end(READY)}\n`).subarray(0, -9), undefined],
  ['one that is broken', `${EVENT}${end({ ready: { t: 'soon' } })}\n`, undefined],
  ['one cut off', `${EVENT}${end(READY).slice(0, -3)}`, undefined],
  [
    'one that is too long to be seen',
    `${EVENT}${end({ ...READY, incompleteBecause: 'x'.repeat(300_000) })}`,
    undefined,
  ],
  ['an event', EVENT, undefined],
  ['nothing', '', undefined],
];
for (const [name, content, ready] of PEEKED) {
  test(`the moment of readiness from the end of a file: ${name}`, async () => {
    const path = join(tmp.path, 'peeked');
    writeFileSync(path, content);
    assert.deepEqual(await peekReady(path), ready);
  });
}
