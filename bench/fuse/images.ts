// The tree as images: one layer made with GNU tar, and the same as eStargz.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { MEDIA } from '../../src/image/types.js';
import { addToIndex, HOST_ARCHITECTURE, putBlob, putJson } from '../../test/support/layout.js';
import { ROOT } from '../support/report.js';

/** @returns references, and the directory of a chunk cache to use */
export function makeImages(tree: string, directory: string): { plain: string; lazy: string; cache: string } {
  const layout = join(directory, 'layout');
  mkdirSync(layout);
  const file = join(directory, 'layer.tar');
  execFileSync('tar', ['--sort=name', '--numeric-owner', '-C', tree, '-cf', file, '.']);
  const bytes = readFileSync(file);
  const layer = putBlob(layout, bytes, MEDIA.layerTar);
  const diffId = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  execFileSync('rm', [file]);
  const platform = { os: 'linux', architecture: HOST_ARCHITECTURE };
  const config = putJson(
    layout,
    { ...platform, rootfs: { type: 'layers', diff_ids: [diffId] }, config: {} },
    MEDIA.config,
  );
  const manifest = putJson(
    layout,
    { schemaVersion: 2, mediaType: MEDIA.manifest, config, layers: [layer] },
    MEDIA.manifest,
  );
  addToIndex(layout, { ...manifest, platform, annotations: { 'org.opencontainers.image.ref.name': 'plain' } });
  const [plain, lazy] = [`oci:${layout}:plain`, `oci:${layout}:lazy`];
  const hotlayer = join(ROOT, 'bin/hotlayer.js');
  execFileSync(
    process.execPath,
    [hotlayer, 'optimize', '--no-profile', '--compression-level', '1', '-q', plain, lazy],
    { stdio: 'inherit' },
  );
  return { plain, lazy, cache: join(directory, 'cache') };
}
