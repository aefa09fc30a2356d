// The sample image as eStargz, on disk and in a registry behind a proxy that breaks what it is told to break.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { openImage } from '../../src/image/open.js';
import { startRegistry } from '../image/registry-server.js';
import { type FaultyProxy, startProxy } from '../support/registry-proxy.js';
import { testDir } from '../support/temp.js';
import { lacking } from '../support/tools.js';
import { expectCli, noFuse } from './cli.js';
import { sampleImage } from './sample.js';

export function lackingLazy(): string | false {
  return noFuse() || lacking('docker-registry', 'skopeo');
}

export interface LazyImage {
  readonly dir: string;
  /** `oci:…` before and after optimize. */
  readonly original: string;
  readonly optimized: string;
  /** Of the whole optimized image, compressed bytes of its layers. */
  readonly layerBytes: number;
}

export async function lazyImage(t: TestContext): Promise<LazyImage> {
  const dir = testDir(t);
  const original = sampleImage(join(dir, 'image')).reference;
  const optimized = `oci:${join(dir, 'lazy')}:1`;
  const quick = ['--codec', 'zlib', '--compression-level', '1', '--chunk-size', '64KiB'];
  await expectCli(0, ['optimize', '--no-profile', ...quick, original, optimized]);
  await using image = await openImage(optimized);
  const layerBytes = image.layers.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
  return { dir, original, optimized, layerBytes };
}

export interface Served {
  /** `127.0.0.1:PORT/app:1`, through the proxy. */
  readonly reference: string;
  readonly proxy: FaultyProxy;
}

/** Pushes an image to a registry of its own. */
export async function serve(t: TestContext, reference: string): Promise<Served> {
  const registry = await startRegistry(t);
  const args = ['--insecure-policy', 'copy', '-q', '--preserve-digests', '--dest-tls-verify=false'];
  execFileSync('skopeo', [...args, reference, `docker://${registry.host}/app:1`], { stdio: 'pipe' });
  const proxy = await startProxy(t, registry.port);
  return { reference: `${proxy.host}/app:1`, proxy };
}
