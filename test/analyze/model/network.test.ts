import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseNetwork, ROBUST, transferNanos } from '../../../src/analyze/model/network.js';
import { HotlayerError } from '../../../src/errors.js';

test('networks as they are written', () => {
  const cases: Record<string, [bytesPerSecond: number, rtt: number]> = {
    '100mbit/20ms': [12.5e6, 20e6],
    '1.5gbit/500us': [187.5e6, 500e3],
    '800kbit/1s': [1e5, 1e9],
    '0mbit/0ms': [Number.POSITIVE_INFINITY, 0],
    wan: [12.5e6, 20e6],
  };
  for (const [text, [bytesPerSecond, rtt]] of Object.entries(cases))
    assert.deepEqual(parseNetwork(text), { name: text, bytesPerSecond, rtt });
  assert.deepEqual(
    ROBUST.map(({ name }) => name),
    ['lan', 'wan', 'edge'],
  );
  assert.equal(transferNanos(parseNetwork('wan'), 12_500_000), 1e9);
  assert.equal(transferNanos(parseNetwork('0mbit/5ms'), 12_500_000), 0);
});

test('what is not a network says what is', () => {
  for (const text of ['', 'dsl', '100/20', '100mbit', '20ms/100mbit', '-1mbit/1ms', 'toString', '1mbit/fast']) {
    assert.throws(
      () => parseNetwork(text),
      (error) => error instanceof HotlayerError && error.code === 'HL_ERR_USAGE' && error.hint !== undefined,
      text,
    );
  }
});
