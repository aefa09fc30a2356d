import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Digest } from '../../src/image/digest.js';
import { stargzAnnotations } from '../../src/stargz/index.js';

const digest = (c: string) => `sha256:${c.repeat(64)}` as Digest;
const blob = { tocDigest: digest('a'), uncompressedSize: 12_345, diffId: digest('b') };

test('the two annotations that lazy clients need', () => {
  assert.deepEqual(stargzAnnotations(blob), {
    'containerd.io/snapshot/stargz/toc.digest': digest('a'),
    'io.containers.estargz.uncompressed-size': '12345',
  });
});

test("the layer's own are kept in their order, those of the old blob go", () => {
  const annotations = stargzAnnotations(blob, {
    'org.example': 'mine',
    'io.github.containers.zstd-chunked.manifest-checksum': 'sha256:old',
    'containerd.io/snapshot/stargz/toc.digest': 'sha256:old',
    'io.containers.zstd-chunked.manifest-position': '1:2:3:1',
    'containerd.io/uncompressed': 'sha256:old',
    last: '',
  });
  assert.deepEqual(Object.entries(annotations), [
    ['org.example', 'mine'],
    ['containerd.io/uncompressed', digest('b')],
    ['last', ''],
    ['containerd.io/snapshot/stargz/toc.digest', digest('a')],
    ['io.containers.estargz.uncompressed-size', '12345'],
  ]);
});
