// What the real lazy client refuses, it pulls as an ordinary layer and runs all the same: only its log tells. If it did
// not refuse these, the other tests' "accepted" would mean nothing.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { labImage, PYTHON } from '../../support/lab/images.js';
import { lackingClient } from '../../support/lab/tools.js';
import { addChanged, digestOf } from '../../support/layout.js';
import { noFuse } from '../cli.js';
import { type Optimized, optimize, Workbench } from './workbench.js';

const TOC_DIGEST = 'containerd.io/snapshot/stargz/toc.digest';

const MUTANTS: readonly { name: string; mutate: (annotations: Record<string, string>) => void; says: RegExp }[] = [
  {
    name: 'the digest of another TOC',
    mutate: (annotations) => {
      annotations[TOC_DIGEST] = digestOf(Buffer.from('another TOC'));
    },
    says: /invalid TOC JSON/,
  },
  {
    name: 'no digest of the TOC',
    mutate: (annotations) => {
      delete annotations[TOC_DIGEST];
    },
    says: /digest of TOC JSON must be passed/,
  },
];

describe('a lazy layer with', { skip: lackingClient() || noFuse(), concurrency: false }, () => {
  let bench: Workbench;
  let optimized: Optimized;
  before(async () => {
    bench = await Workbench.open();
    const { reference } = await labImage(PYTHON);
    optimized = await optimize(reference, `oci:${bench.at('out')}:good`, ['--no-profile', '--compression-level', '1']);
  });
  after(() => bench?.close());

  for (const [i, { name, mutate, says }] of MUTANTS.entries()) {
    test(name, async () => {
      const mutant = addChanged(bench.at('out'), optimized.result.manifest.digest, `mutant${i}`, {
        layer: (layer, at) => {
          const annotations = { ...layer.annotations };
          if (at === 1) mutate(annotations);
          return { ...layer, annotations };
        },
      });
      const reference = await bench.push(mutant, `mutant${i}:t`);
      await using client = await bench.client();
      await client.pull(reference);
      const { accepted, refused } = client.log();
      assert.equal(refused.length, 1);
      assert.match(refused[0]!.error, says);
      assert.ok(accepted < 3, `${accepted} layers accepted`);
      const { status, stdout } = await client.run(reference);
      assert.deepEqual({ status, stdout }, { status: 0, stdout: 'ready\n' });
    });
  }
});
