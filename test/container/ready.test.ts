import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseListening, refuseTakenPorts } from '../../src/container/ready/listening.js';
import { formatReadyRule, parseReadyRule } from '../../src/container/ready/ready.js';
import { lineMatcher, Output } from '../../src/container/session/output.js';
import { firstProcessNotices, parseSignal } from '../../src/container/session/signals.js';
import type { ReadyRule } from '../../src/container/types.js';
import { HotlayerError } from '../../src/errors.js';

const has = (code: string, text: RegExp) => (e: unknown) =>
  e instanceof HotlayerError && e.code === code && text.test(`${e.message} ${e.hint}`);

describe('ready rules', () => {
  const rows: [text: string, rule: ReadyRule, back?: string][] = [
    ['exit', { kind: 'exit' }],
    ['line:listening on :80', { kind: 'line', text: 'listening on :80' }],
    ['line:/ready in \\d+ ms$/', { kind: 'line', pattern: 'ready in \\d+ ms$' }],
    ['line:/', { kind: 'line', text: '/' }],
    ['line://', { kind: 'line', text: '//' }],
    ['tcp:8080', { kind: 'tcp', port: 8080 }],
    ['http:http://localhost:8080/health?x=1', { kind: 'http', url: 'http://localhost:8080/health?x=1' }],
    ['http://localhost:8080', { kind: 'http', url: 'http://localhost:8080/' }, 'http:http://localhost:8080/'],
    ['https://localhost', { kind: 'http', url: 'https://localhost/' }, 'http:https://localhost/'],
    ['http:localhost:81/x', { kind: 'http', url: 'http://localhost:81/x' }, 'http:http://localhost:81/x'],
    ['http:8080/up', { kind: 'http', url: 'http://127.0.0.1:8080/up' }, 'http:http://127.0.0.1:8080/up'],
    ['idle:2s', { kind: 'idle', forNanos: 2e9 }],
    ['idle:1.5', { kind: 'idle', forNanos: 15e8 }, 'idle:1500ms'],
    ['period:10m', { kind: 'period', forNanos: 600e9 }, 'period:600s'],
  ];
  for (const [text, rule, back] of rows) {
    test(text, () => {
      assert.deepEqual(parseReadyRule(text), rule);
      assert.equal(formatReadyRule(rule), back ?? text);
      assert.deepEqual(parseReadyRule(formatReadyRule(rule)), rule);
    });
  }

  for (const text of [
    '',
    'exit:',
    'exits',
    'line:',
    'line:/(/',
    'tcp:',
    'tcp:0',
    'tcp:65536',
    'tcp:80a',
    'http:',
    'http:99999/',
    'idle:',
    'idle:0',
    'idle:soon',
    'period:-1s',
  ]) {
    test(`"${text}" is refused with examples`, () => {
      assert.throws(
        () => parseReadyRule(text),
        has('HL_ERR_USAGE', /is not a ready rule: .+ write one of: exit, line:/),
      );
    });
  }
});

describe('output', () => {
  function collect() {
    const output = new Output();
    const seen: string[] = [];
    output.onLine((line, complete) => seen.push(complete ? line : `${line}…`));
    return { output, seen };
  }

  test('lines across chunks, CRLF, a character cut in two, the streams apart', () => {
    const { output, seen } = collect();
    const euro = Buffer.from('€');
    output.push(Buffer.concat([Buffer.from('one\r\ntw'), euro.subarray(0, 1)]), 'stdout');
    output.push(Buffer.from('err\n'), 'stderr');
    output.push(Buffer.concat([euro.subarray(1), Buffer.from('o\n\nend')]), 'stdout');
    output.end('stdout');
    output.end('stderr');
    assert.deepEqual(seen, ['one', 'tw…', 'err', 'tw€o', '', 'end…', 'end']);
    assert.deepEqual(output.tail(), ['one', 'err', 'tw€o', '', 'end']);
  });

  test('the tail keeps 20 lines, shortened, without colours', () => {
    const { output } = collect();
    for (let i = 0; i < 30; i++) output.push(Buffer.from(`line ${i}\n`), i % 2 ? 'stdout' : 'stderr');
    output.push(Buffer.from(`\u001b[31mred\u001b[0m ${'x'.repeat(5000)}`), 'stdout');
    const tail = output.tail();
    assert.equal(tail.length, 20);
    assert.equal(tail[0], 'line 11');
    assert.equal(tail[19], `red ${'x'.repeat(996)}…`);
  });

  test('text is seen in an unfinished line, a pattern only in a whole one; colours are not text', () => {
    const text = lineMatcher({ text: 'is ready' });
    assert.ok(text('server is ready', false));
    assert.ok(text('server \u001b[1mis\u001b[0m ready', true));
    assert.ok(!text('server is', true));
    const pattern = lineMatcher({ pattern: '^up in \\d+$' });
    assert.ok(!pattern('up in 1', false));
    assert.ok(pattern('up in 12', true));
    assert.ok(pattern('\u001b[32mup\u001b[0m in 12', true));
    assert.ok(!pattern('up in 12 s', true));
  });
});

describe('ports', () => {
  // Two lines of each table as a 6.18 kernel prints them.
  const TCP = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 24331 1 0000000000000000 100 0 0 10 0
   1: 0100007F:C350 0100007F:1F91 01 00000000:00000000 00:00000000 00000000     0        0 24332 1 0000000000000000 20 0 0 10 -1
`;
  const TCP6 = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0000000000000000 100 0 0 10 0
`;
  test('only listening sockets count', () => {
    assert.deepEqual([...parseListening(TCP)], [0x1f90]);
    assert.deepEqual([...parseListening(TCP6)], [443]);
  });

  test('a taken port is refused for tcp and for a URL of this machine', () => {
    const taken = (port: number) => port === 8080 || port === 443;
    for (const rule of ['tcp:8080', 'http:8080/', 'http://localhost:8080/', 'https://[::1]/']) {
      assert.throws(
        () => refuseTakenPorts([parseReadyRule(rule)], taken),
        has('HL_ERR_MACHINE', /port \d+ .* in use .*--net none/),
      );
    }
    for (const rule of ['tcp:8081', 'exit', 'line:8080', 'https://example.test/'])
      refuseTakenPorts([parseReadyRule(rule)], taken);
  });
});

describe('signals', () => {
  for (const [text, number] of [
    ['SIGTERM', 15],
    ['term', 15],
    ['9', 9],
    ['SIGRTMIN+3', 37],
    ['RTMAX-1', 63],
    ['SIGRTMIN', 34],
  ] as const) {
    test(text, () => assert.equal(parseSignal(text), number));
  }
  for (const text of ['', '0', '65', 'SIGNOPE', 'SIGRTMIN+31', 'SIGRTMAX-31']) {
    test(`"${text}" is refused`, () => assert.throws(() => parseSignal(text), has('HL_ERR_USAGE', /is not a signal/)));
  }

  test('process 1 notices what it catches or blocks, nothing else', () => {
    const status = 'Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000004000\nSigCgt:\t0000000000000002\n';
    assert.equal(firstProcessNotices(status, 1), 'blocked');
    assert.equal(firstProcessNotices(status, 2), 'caught');
    assert.equal(firstProcessNotices(status, 15), 'never');
    assert.equal(firstProcessNotices('', 15), 'never');
  });
});
