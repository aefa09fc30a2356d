// The shapes of an image, as the OCI image specification names them. Views are immutable: a change is a new value.
import type { Readable } from 'node:stream';
import type { Digest } from './digest.js';

export const MEDIA = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layerTar: 'application/vnd.oci.image.layer.v1.tar',
  layerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  layerZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  dockerManifestList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayerGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  dockerLayerTar: 'application/vnd.docker.image.rootfs.diff.tar',
  dockerLayerZstd: 'application/vnd.docker.image.rootfs.diff.tar.zstd',
} as const;

export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
  readonly 'os.version'?: string;
}

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes of the blob as stored. */
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platform?: Platform;
  readonly urls?: readonly string[];
  readonly artifactType?: string;
}

export interface Manifest {
  readonly schemaVersion: 2;
  /** Absent in some OCI manifests. */
  readonly mediaType?: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly subject?: Descriptor;
}

export interface Index {
  readonly schemaVersion: 2;
  readonly mediaType?: string;
  readonly manifests: readonly Descriptor[];
  readonly annotations?: Readonly<Record<string, string>>;
}

/** What a container is started with; every member may be absent. Members that hotlayer does not use are kept as they are. */
export interface ProcessConfig {
  readonly User?: string;
  readonly Env?: readonly string[];
  readonly Entrypoint?: readonly string[] | null;
  readonly Cmd?: readonly string[] | null;
  readonly WorkingDir?: string;
  readonly Volumes?: Readonly<Record<string, unknown>> | null;
  readonly ExposedPorts?: Readonly<Record<string, unknown>> | null;
  readonly StopSignal?: string;
  readonly Labels?: Readonly<Record<string, string>> | null;
  readonly [other: string]: unknown;
}

export interface HistoryStep {
  readonly created?: string;
  readonly created_by?: string;
  readonly comment?: string;
  readonly author?: string;
  /** True: the step made no layer. */
  readonly empty_layer?: boolean;
}

export interface ImageConfig {
  readonly architecture: string;
  readonly os: string;
  readonly variant?: string;
  readonly created?: string;
  readonly config?: ProcessConfig;
  readonly rootfs: { readonly type: 'layers'; readonly diff_ids: readonly Digest[] };
  readonly history?: readonly HistoryStep[];
  readonly [other: string]: unknown;
}

export interface Layer {
  /** 0 = the lowest. */
  readonly index: number;
  readonly descriptor: Descriptor;
  /** Digest of the uncompressed tar, as the config claims it; whoever decompresses checks it. */
  readonly diffId: Digest;
  readonly compression: 'gzip' | 'zstd' | 'none';
  /** The blob's bytes; the stream fails with HL_ERR_DIGEST at its end when size or digest are not the descriptor's. */
  open(): Readable;
  /** The blob as a file that can be read at any offset, when it is one (an OCI layout). Not verified. */
  readonly file?: string;
}

/** One image for one platform. Manifest and config have been checked against their digests. */
export interface Image extends AsyncDisposable {
  /** As the user wrote it. */
  readonly reference: string;
  /** Descriptor of the platform's manifest; annotations are those of the index that named it. */
  readonly descriptor: Descriptor;
  readonly platform: Platform;
  readonly manifest: Manifest;
  readonly config: ImageConfig;
  readonly layers: readonly Layer[];
  /** Releases files and temporary space. Idempotent. */
  close(): Promise<void>;
}

export interface BlobWriter {
  write(chunk: Uint8Array): Promise<void>;
  /** Digest and size of what was written; the blob is now part of the staged image (kept once if it was there already). */
  finish(): Promise<{ digest: Digest; size: number }>;
  /** Throws away what was written. Idempotent. */
  abort(): Promise<void>;
}

/** Where an image is written. Nothing is visible at the target until `commit` has returned; then all of it is. */
export interface ImageSink {
  /** True: readers of this form drop the descriptors' annotations, so the image cannot be loaded lazily from it. */
  readonly losesAnnotations?: true;
  createBlob(): Promise<BlobWriter>;
  /** Takes a blob over unchanged, verified while it is copied. */
  copyBlob(descriptor: Descriptor, open: () => Readable): Promise<void>;
  putBytes(bytes: Uint8Array): Promise<{ digest: Digest; size: number }>;
  /** Makes the image visible. `manifest` names blobs already put. */
  commit(manifest: Descriptor): Promise<void>;
  /** Removes everything staged. Idempotent; harmless after `commit`. */
  abort(): Promise<void>;
}
