// The shapes of an image, as the OCI image specification names them. Views are immutable: a change is a new value.
import type { Readable } from 'node:stream';
import type { Bytes } from '../units.js';
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
  readonly subject?: Descriptor;
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

/** What an index names besides images, or cannot be read as one. */
export interface AttestationEntry {
  readonly kind: 'attestation';
  readonly descriptor: Descriptor;
  /** Digest of the manifest it speaks of, as `vnd.docker.reference.digest` says; absent when it does not say. */
  readonly subject?: Digest;
}

export interface OtherEntry {
  /** `other`: an artifact that is no image. `absent`: a manifest that is named, but is not stored there. */
  readonly kind: 'other' | 'absent';
  readonly descriptor: Descriptor;
}

export interface ImageEntry {
  readonly kind: 'image';
  readonly descriptor: Descriptor;
  readonly image: Image;
}

/** An image that is taken along as it is: its layers cannot become eStargz. */
export interface KeptEntry {
  readonly kind: 'kept';
  readonly descriptor: Descriptor;
  readonly platform: Platform;
  /** Why, for people. */
  readonly because: string;
}

export type IndexEntry = ImageEntry | KeptEntry | AttestationEntry | OtherEntry;

/** A manifest that says of itself, or whose tag says, that it is about another one (SBOM, signature …). */
export interface Referrer {
  /** As it stands where it was found. */
  readonly descriptor: Descriptor;
  /** Digest of what it is about. */
  readonly subject: Digest;
  /** `artifactType` of the manifest, else the media type of its config, or of its layers where that says nothing; "": unknown. */
  readonly artifactType: string;
  /** What the tag that names the subject ends with (`.sig` of `sha256-HEX.sig`), when that is how it is known. */
  readonly tagSuffix?: string;
}

/** All that a reference means: an index with all its platforms, or a single image as an index of one. */
export interface ImageIndex extends AsyncDisposable {
  /** As the user wrote it. */
  readonly reference: string;
  /** Of the index document. Absent: the reference leads to image manifests directly. */
  readonly descriptor?: Descriptor;
  /** The index document as it is; its nested indexes are flattened in `entries`. Absent as `descriptor`. */
  readonly document?: Index;
  /** The documents of the nested indexes that are stored there, at any depth. */
  readonly nested: ReadonlyMap<Digest, Index>;
  /** In the order of the index, each manifest once. */
  readonly entries: readonly IndexEntry[];
  /** Those of `entries`, in their order; with the kept ones at least one. They are closed with the index; closing one does nothing. */
  readonly images: readonly Image[];
  /**
   * What is stored there about the index or one of its entries, and about what was found so. Asked for once, when it
   * is wanted: a registry is asked several times for each. @throws HL_ERR_AUTH, HL_ERR_NETWORK, HL_ERR_IMAGE, HL_ERR_DIGEST
   */
  referrers(): Promise<readonly Referrer[]>;
  /** Whether the blob's bytes are there (those of foreign layers often are not). */
  hasBlob(descriptor: Descriptor): Promise<boolean>;
  /** The bytes of a manifest that an entry or a referrer names, checked against its digest. */
  readManifest(descriptor: Descriptor): Promise<Buffer>;
  /** A blob's bytes, not verified. */
  openBlob(descriptor: Descriptor): Readable;
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
  /** True: this form holds one image, not an index. */
  readonly onlyImages?: true;
  /**
   * Fails at once where writing so many bytes is sure to fail later. Absent: they go to no disk of this machine.
   * @throws HL_ERR_IO
   */
  requireSpace?(bytes: Bytes): void;
  createBlob(): Promise<BlobWriter>;
  /** Takes a blob over unchanged, verified while it is copied. */
  copyBlob(descriptor: Descriptor, open: () => Readable): Promise<void>;
  putBytes(bytes: Uint8Array): Promise<{ digest: Digest; size: number }>;
  /**
   * Makes the image visible. `manifest` names blobs already put; it may be an index.
   * @param referrers manifests about it, also put already, that are to be found beside it; the annotation
   *   `org.opencontainers.image.ref.name` of one is the tag that it gets
   */
  commit(manifest: Descriptor, referrers?: readonly Descriptor[]): Promise<void>;
  /** Removes everything staged. Idempotent; harmless after `commit`. */
  abort(): Promise<void>;
}
