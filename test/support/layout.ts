// OCI layouts for tests, made without src/image's writers.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Digest } from '../../src/image/digest.js';
import { type Descriptor, type ImageConfig, type Index, type Manifest, MEDIA } from '../../src/image/types.js';

export interface LayoutSpec {
  /** Uncompressed tar bytes, lowest first. */
  layers: readonly Uint8Array[];
  /** Default true; false: layers are stored as plain tar. */
  gzip?: boolean;
  /** Merged over `{ architecture, os, rootfs }`; give `config: { … }` in it for Env, Cmd and the like. */
  config?: Record<string, unknown>;
  /** Default `latest`; null: an index entry without a name. */
  tag?: string | null;
  /** Of the config and of the index entry. Default: this machine's architecture on linux. */
  platform?: { os: string; architecture: string; variant?: string };
  /** `docker`: Docker schema 2 media types. Default `oci`. */
  media?: 'oci' | 'docker';
  /** Of the manifest. */
  annotations?: Record<string, string>;
  /** Of the i-th layer's descriptor. */
  layerAnnotations?: readonly (Record<string, string> | undefined)[];
}

export interface BuiltLayout {
  /** `oci:DIR:TAG`, ready for openImage. */
  reference: string;
  /** As it stands in index.json. */
  manifest: Descriptor;
  config: Descriptor;
  layers: Descriptor[];
  diffIds: Digest[];
}

export const HOST_ARCHITECTURE = process.arch === 'x64' ? 'amd64' : process.arch === 'ia32' ? '386' : process.arch;

export function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Stores a blob in the layout at `dir` and returns its descriptor. */
export function putBlob(dir: string, bytes: Uint8Array, mediaType: string): Descriptor {
  const digest = digestOf(bytes);
  mkdirSync(join(dir, 'blobs', 'sha256'), { recursive: true });
  writeFileSync(join(dir, 'blobs', 'sha256', digest.slice(7)), bytes);
  return { mediaType, digest, size: bytes.length };
}

export function putJson(dir: string, value: unknown, mediaType: string): Descriptor {
  return putBlob(dir, Buffer.from(JSON.stringify(value)), mediaType);
}

/** Adds a descriptor to index.json (made with oci-layout when missing); an entry of the same tag and platform is replaced. */
export function addToIndex(dir: string, descriptor: Descriptor): void {
  const path = join(dir, 'index.json');
  const old: Index = existsSync(path)
    ? (JSON.parse(readFileSync(path, 'utf8')) as Index)
    : { schemaVersion: 2, manifests: [] };
  const key = (d: Descriptor) => JSON.stringify([d.annotations?.['org.opencontainers.image.ref.name'], d.platform]);
  const manifests = [...old.manifests.filter((d) => key(d) !== key(descriptor)), descriptor];
  writeFileSync(join(dir, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(path, JSON.stringify({ ...old, manifests }));
}

/** Writes an image into the layout at `dir` (made when missing). Same input, same bytes. */
export function buildLayout(dir: string, spec: LayoutSpec): BuiltLayout {
  mkdirSync(dir, { recursive: true });
  const docker = spec.media === 'docker';
  const gzip = spec.gzip ?? true;
  const platform = spec.platform ?? { os: 'linux', architecture: HOST_ARCHITECTURE };
  const diffIds = spec.layers.map(digestOf);
  const layerType = docker
    ? gzip
      ? MEDIA.dockerLayerGzip
      : MEDIA.dockerLayerTar
    : gzip
      ? MEDIA.layerGzip
      : MEDIA.layerTar;
  const layers = spec.layers.map((tar, i) => {
    const descriptor = putBlob(dir, gzip ? gzipSync(tar) : tar, layerType);
    const annotations = spec.layerAnnotations?.[i];
    return annotations ? { ...descriptor, annotations } : descriptor;
  });
  const config = putJson(
    dir,
    { ...platform, rootfs: { type: 'layers', diff_ids: diffIds }, ...spec.config },
    docker ? MEDIA.dockerConfig : MEDIA.config,
  );
  const mediaType = docker ? MEDIA.dockerManifest : MEDIA.manifest;
  const body = { schemaVersion: 2, mediaType, config, layers };
  const plain = putJson(dir, spec.annotations ? { ...body, annotations: spec.annotations } : body, mediaType);
  const tag = spec.tag === undefined ? 'latest' : spec.tag;
  const manifest: Descriptor = {
    ...plain,
    platform,
    ...(tag === null ? {} : { annotations: { 'org.opencontainers.image.ref.name': tag } }),
  };
  addToIndex(dir, manifest);
  return { reference: tag === null ? `oci:${dir}` : `oci:${dir}:${tag}`, manifest, config, layers, diffIds };
}

export interface ImageChange {
  readonly layer?: (layer: Descriptor, i: number) => Descriptor;
  readonly config?: (config: ImageConfig) => ImageConfig;
}

/**
 * Adds to a layout an image that is one of its others but for a few words of its manifest or config.
 * @returns `oci:DIR:TAG`
 */
export function addChanged(dir: string, of: Digest, tag: string, change: ImageChange): string {
  const read = (digest: Digest) => JSON.parse(readFileSync(join(dir, 'blobs/sha256', digest.slice(7)), 'utf8'));
  const manifest: Manifest = read(of);
  const { layer = (same) => same, config } = change;
  const changed: Manifest = {
    ...manifest,
    layers: manifest.layers.map(layer),
    config: config ? putJson(dir, config(read(manifest.config.digest)), manifest.config.mediaType) : manifest.config,
  };
  const descriptor = putJson(dir, changed, manifest.mediaType ?? MEDIA.manifest);
  addToIndex(dir, { ...descriptor, annotations: { 'org.opencontainers.image.ref.name': tag } });
  return `oci:${dir}:${tag}`;
}
