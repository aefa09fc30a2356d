// The pure parts of the registry client.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backoffMs, DEFAULT_RETRY, isTransient, retryAfterMs } from '../../src/image/registry/backoff.js';
import { parseChallenges } from '../../src/image/registry/challenge.js';
import { makeLimit } from '../../src/image/registry/limit.js';
import { makeSecrets, showUrl } from '../../src/image/registry/secrets.js';

test('challenges', () => {
  const rows: [string | string[] | undefined, [string, Record<string, string>][]][] = [
    [undefined, []],
    ['', []],
    ['Basic realm="x"', [['basic', { realm: 'x' }]]],
    [
      'Bearer realm="https://auth.example/token?a=b,c",service="r.example",scope="repository:a/b:pull,push"',
      [
        [
          'bearer',
          { realm: 'https://auth.example/token?a=b,c', service: 'r.example', scope: 'repository:a/b:pull,push' },
        ],
      ],
    ],
    ['bearer Realm = "a" , ERROR=insufficient_scope', [['bearer', { realm: 'a', error: 'insufficient_scope' }]]],
    [
      'Basic realm="a \\"quoted\\" one", Bearer realm="b"',
      [
        ['basic', { realm: 'a "quoted" one' }],
        ['bearer', { realm: 'b' }],
      ],
    ],
    [
      'Negotiate, Basic realm=x',
      [
        ['negotiate', {}],
        ['basic', { realm: 'x' }],
      ],
    ],
    [
      'Negotiate YWJj==, Basic realm=x',
      [
        ['negotiate', {}],
        ['basic', { realm: 'x' }],
      ],
    ],
    [
      ['Negotiate', 'Bearer realm="b"'],
      [
        ['negotiate', {}],
        ['bearer', { realm: 'b' }],
      ],
    ],
    ['Bearer realm="never closed', [['bearer', {}]]],
    ['realm="without a scheme"', []],
    ['Bearer realm="first",realm="second"', [['bearer', { realm: 'first' }]]],
  ];
  for (const [header, want] of rows) {
    const found = parseChallenges(header).map((c) => [c.scheme, c.parameters]);
    assert.deepEqual(found, want, String(header));
  }
});

test('Retry-After in seconds or as a date', () => {
  const now = Date.parse('2030-01-01T00:00:00Z');
  const rows: [string | undefined, number | undefined][] = [
    [undefined, undefined],
    ['', undefined],
    ['0', 0],
    [' 120 ', 120_000],
    ['1.5', undefined],
    ['-1', undefined],
    ['soon', undefined],
    ['Tue, 01 Jan 2030 00:00:30 GMT', 30_000],
    ['Mon, 31 Dec 2029 00:00:00 GMT', 0],
  ];
  for (const [text, want] of rows) assert.equal(retryAfterMs(text, now), want, text);
});

test('waits double up to the longest, with jitter over the upper half', () => {
  const at = (failures: number, random: number) => backoffMs(DEFAULT_RETRY, failures, random);
  assert.deepEqual(
    [1, 2, 3, 4].map((n) => at(n, 0)),
    [200, 400, 800, 1600],
  );
  assert.equal(at(1, 0.5), 300);
  assert.equal(at(100, 0.999_999_9).toFixed(0), '20000');
  const transient = [200, 307, 400, 401, 403, 404, 408, 416, 429, 500, 501, 502, 503, 504, 505].filter(isTransient);
  assert.deepEqual(transient, [408, 429, 500, 502, 503, 504]);
});

test('no more than so many at once, first come first served, also after failures', async () => {
  const limit = makeLimit(2);
  const begun: number[] = [];
  let [running, most] = [0, 0];
  const work = (n: number) =>
    limit.run(async () => {
      begun.push(n);
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, 3));
      running -= 1;
      if (n % 3 === 0) throw new Error(`${n}`);
      return n;
    });
  const done = await Promise.allSettled([0, 1, 2, 3, 4, 5, 6].map(work));
  assert.deepEqual(begun, [0, 1, 2, 3, 4, 5, 6]);
  assert.equal(most, 2);
  assert.deepEqual(
    done.map((d) => (d.status === 'fulfilled' ? d.value : 'failed')),
    ['failed', 1, 2, 'failed', 4, 5, 'failed'],
  );
  assert.equal(await work(7), 7);
});

test('secrets are found in every form in which they are sent', () => {
  const secrets = makeSecrets();
  for (const secret of ['hunter2', 'hunter2-and-more', 'p:ss w/rd', 'abc']) secrets.add(secret);
  const base64 = Buffer.from('p:ss w/rd').toString('base64');
  assert.equal(
    secrets.redact(`hunter2 hunter2-and-more p:ss w/rd p%3Ass%20w%2Frd ${base64} abc`),
    '*** *** *** *** *** abc',
  );
  assert.equal(showUrl(new URL('https://user:pass@h.example:1/a?signature=s#f')), 'https://h.example:1/a');
});
