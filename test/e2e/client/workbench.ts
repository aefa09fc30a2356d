// What the tests with the real client share: a lab (registry and cold clients) with its images, and an image as one
// client saw it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Plan, Profile } from '../../../src/analyze/types.js';
import type { OptimizeResult } from '../../../src/rewrite/optimize.js';
import { makeTempDir, type TempDir } from '../../../src/temp.js';
import { LazyClient } from '../../support/lab/client.js';
import { Registry } from '../../support/lab/registry.js';
import { documentOf, expectCli } from '../cli.js';
import type { Foretold } from './predict.js';

/** ms, for the work on a whole image, which takes seconds on a machine that is idle. */
export const PATIENCE = { timeout: 300_000 };

/** stargz-snapshotter, docs/estargz.md, "Footer". */
const FOOTER_BYTES = 51;

export class Workbench implements AsyncDisposable {
  private started = 0;

  private constructor(
    private readonly temp: TempDir,
    readonly registry: Registry,
  ) {}

  static async open(): Promise<Workbench> {
    const temp = makeTempDir(undefined, 'hl-lab');
    try {
      return new Workbench(temp, await Registry.start(join(temp.path, 'registry')));
    } catch (error) {
      temp.remove();
      throw error;
    }
  }

  /** A path in the lab's directory. */
  at(name: string): string {
    return join(this.temp.path, name);
  }

  /**
   * A client that has seen nothing yet; the caller closes it. It waits for the prefetch however long that takes, not
   * for 10 s only: on a machine that is busy the container would start before.
   */
  client(): Promise<LazyClient> {
    this.started += 1;
    return LazyClient.start(this.at(`client-${this.started}`), { settings: 'prefetch_timeout_sec = 300' });
  }

  /** Pushes an image of a layout. @returns the reference for clients */
  async push(source: string, name: string): Promise<string> {
    await this.registry.push(source, name);
    return `${this.registry.host}/${name}`;
  }

  /** Compressed bytes of the TOCs and footers of an image written to the layout `name`: a client needs them to mount. */
  tocBytes(result: OptimizeResult, name: string): number {
    return result.layers.reduce((sum, { digest, size }) => {
      const blob = readFileSync(join(this.at(name), 'blobs/sha256', digest.slice(7)));
      // The footer is a gzip member whose extra field says where the TOC begins: 16 hexadecimal digits, then STARGZ.
      const offset = /([0-9a-f]{16})STARGZ/.exec(blob.toString('latin1', size - FOOTER_BYTES))![1]!;
      return sum + size - Number.parseInt(offset, 16);
    }, 0);
  }

  async close(): Promise<void> {
    await this.registry.close();
    this.temp.remove();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Of counts by layer. */
export function total(counts: ReadonlyMap<string, number>): number {
  return [...counts.values()].reduce((a, b) => a + b, 0);
}

export interface Optimized {
  readonly plan: Plan;
  readonly result: OptimizeResult;
}

/** `hotlayer profile`, one run: what is hot does not depend on how often it was seen. */
export async function profile(source: string, file: string, args: readonly string[] = []): Promise<Profile> {
  const argv = ['profile', source, '--runs', '1', '--json', '-o', file, ...args];
  const made = documentOf<Profile>(await expectCli(0, argv, PATIENCE));
  assert.equal(made.complete, true);
  return made;
}

export async function optimize(source: string, target: string, args: readonly string[]): Promise<Optimized> {
  return documentOf<Optimized>(await expectCli(0, ['optimize', source, target, '--json', ...args], PATIENCE));
}

/** What the client should fetch before the start, by the layer's digest: up to each landmark. */
export function expectedPrefetch(result: OptimizeResult): Map<string, number> {
  const hot = result.layers.filter((layer) => layer.landmark === 'prefetch');
  return new Map(hot.map((layer) => [layer.digest, layer.prefetchBytes]));
}

/** Every layer was mounted lazily: from the log, because containerd pulls what is refused without a word. */
export function assertAllLazy(client: LazyClient, layers: number): void {
  const { accepted, refused, failedPrefetches } = client.log();
  assert.deepEqual({ accepted, refused, failedPrefetches }, { accepted: layers, refused: [], failedPrefetches: [] });
}

export function assertForetold(misses: number, { least, most }: Foretold): void {
  assert.ok(most - least <= Math.max(4, least / 10), `foretold are ${least} to ${most}: that says too little`);
  assert.ok(misses >= least && misses <= most, `${misses} chunks fetched on demand, foretold were ${least} to ${most}`);
}
