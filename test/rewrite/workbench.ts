// Images on disk for the tests of this room: build, optimize, verify, look at the bytes.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { Plan } from '../../src/analyze/types.js';
import { openImage } from '../../src/image/open.js';
import { openSink } from '../../src/image/sink.js';
import type { Image } from '../../src/image/types.js';
import { type OptimizeOptions, type OptimizeResult, optimizeImage } from '../../src/rewrite/optimize.js';
import { planWithout } from '../../src/rewrite/plan-fit.js';
import type { VerifyReport } from '../../src/rewrite/verify/findings.js';
import { verifyImages } from '../../src/rewrite/verify/verify.js';
import { buildLayout, type LayoutSpec } from '../support/layout.js';

export const CHUNK = 64 * 1024;

export class Workbench implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'hl-rewrite-'));
  private count = 0;

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }

  /** A directory name that is not taken. */
  fresh(label: string): string {
    this.count += 1;
    return join(this.path, `${label}-${this.count}`);
  }

  /** @returns the reference */
  layout(spec: LayoutSpec): string {
    return buildLayout(this.fresh('image'), spec).reference;
  }

  /** @param hot per layer, paths most wanted first */
  async optimize(
    reference: string,
    hot: readonly (readonly string[])[] = [],
    options: Partial<OptimizeOptions> & { chunks?: readonly Record<string, number[]>[] } = {},
  ): Promise<{ reference: string; result: OptimizeResult; plan: Plan }> {
    const target = `oci:${this.fresh('optimized')}:t`;
    await using image = await openImage(reference);
    const plan = planFor(image, hot, options.chunks);
    const sink = await openSink(target, { fsync: false });
    const result = await optimizeImage(image, sink, plan, {
      chunkSize: CHUNK,
      codec: 'zlib',
      level: 1,
      tempParent: this.path,
      ...options,
    });
    return { reference: target, result, plan };
  }

  async verify(before: string, after: string, plan?: Plan): Promise<VerifyReport> {
    await using original = await openImage(before);
    await using optimized = await openImage(after);
    return await verifyImages(original, optimized, { plan, tempParent: this.path });
  }
}

export function planFor(
  image: Image,
  hot: readonly (readonly string[])[],
  chunks: readonly Record<string, number[]>[] = [],
): Plan {
  const plan = planWithout(image, { chunkSize: CHUNK, tool: 'test' });
  return {
    ...plan,
    layers: plan.layers.map((layer, i) => ({
      ...layer,
      hot: (hot[i] ?? []).map((path) => ({ path, because: 'test', size: 0 })),
      landmark: (hot[i] ?? []).length > 0 ? 'prefetch' : 'no-prefetch',
      ...(chunks[i] ? { chunks: chunks[i] } : {}),
    })),
  };
}

/** Every mismatch, one line each; empty when the report is good. */
export function complaints(report: VerifyReport): string[] {
  return report.checks.flatMap((check) =>
    check.mismatches.map(
      (m) => `${check.id}: layer ${m.layer} ${m.entry}: ${m.message}: expected ${m.expected}, found ${m.found}`,
    ),
  );
}

/** Compressed blobs of an image's layers. */
export async function blobsOf(reference: string): Promise<Buffer[]> {
  await using image = await openImage(reference);
  return image.layers.map((layer) => readFileSync(layer.file!));
}

/** Uncompressed tars of an image's layers. */
export async function tarsOf(reference: string): Promise<Buffer[]> {
  return (await blobsOf(reference)).map((blob) => (blob[0] === 0x1f ? gunzipSync(blob) : blob));
}
