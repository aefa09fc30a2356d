// What a session changed, as a layer of an image: the tar of what was added and changed, with the deletions put into it.
import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { withAddedLayer } from '../image/add-layer.js';
import type { Digest } from '../image/digest.js';
import { type Descriptor, type Image, type ImageSink, MEDIA, type Platform } from '../image/types.js';
import { cleanPath, comparePaths } from '../paths.js';
import { ANNOTATION, stargzAnnotations } from '../stargz/annotations.js';
import { DEFAULT_CODEC, openCodec } from '../stargz/codec/codec.js';
import { END_OF_ARCHIVE, madeHeader } from '../stargz/tar/build.js';
import { scanTarFd } from '../stargz/tar/scan.js';
import { type StargzWarning, writeStargz } from '../stargz/writer.js';
import { makeTempDir } from '../temp.js';
import { MIB } from '../units.js';

export interface CommitOptions {
  /** The image that the session was of; absent: a layer by itself, for `platform`. */
  readonly base?: Image;
  readonly platform: Platform;
  /** Names the step in the image's history. */
  readonly createdBy: string;
  /** Seconds since 1970, of the image and of the deletions. */
  readonly created: number;
  readonly tempParent?: string;
  readonly signal?: AbortSignal;
}

export interface CommitResult {
  readonly manifest: Descriptor;
  readonly layer: Descriptor;
  readonly diffId: Digest;
  readonly warnings: readonly StargzWarning[];
}

/**
 * Writes the image and commits it. A new layer is eStargz, and says so when all below are: a client must not find a
 * layer that it can load lazily on one that it cannot.
 * @param tar descriptor of the tar of what was added or changed, parents before their children; stays open
 * @param deleted paths from the root, with a leading slash, that are in the layers below
 * @throws what reading the base, and writing the target, throw; the sink is then aborted
 */
export async function commitLayer(
  tar: number,
  deleted: readonly string[],
  sink: ImageSink,
  options: CommitOptions,
): Promise<CommitResult> {
  const { base, signal } = options;
  try {
    using temp = makeTempDir(options.tempParent);
    const whole = openSync(join(temp.path, 'layer.tar'), 'wx+');
    try {
      const size = addDeletions(tar, deleted, options.created, whole);
      const scan = scanTarFd(whole, size);
      const blob = await sink.createBlob();
      const written = await writeStargz(
        {
          fd: whole,
          scan,
          order: { hot: [], rest: scan.entries.map((entry) => entry.index) },
          landmark: 'no-prefetch',
          codec: await openCodec(DEFAULT_CODEC),
          name: 'the new layer',
          tempDir: temp.path,
          ...(signal && { signal }),
        },
        (chunk) => blob.write(chunk),
      );
      const stored = await blob.finish();
      const lazy = base?.manifest.layers.every((layer) => layer.annotations?.[ANNOTATION.tocDigest] !== undefined);
      const layer: Descriptor = {
        mediaType: MEDIA.layerGzip,
        digest: stored.digest,
        size: stored.size,
        ...(lazy !== false && { annotations: stargzAnnotations(written) }),
      };
      const created = new Date(options.created * 1000).toISOString();
      const image = withAddedLayer(
        base ?? { platform: options.platform },
        { descriptor: layer, diffId: written.diffId },
        { created, created_by: options.createdBy, comment: 'hotlayer run --commit' },
      );
      for (const lower of base?.layers ?? []) await sink.copyBlob(lower.descriptor, () => lower.open());
      await sink.putBytes(image.configBytes);
      await sink.putBytes(image.manifestBytes);
      await sink.commit(image.descriptor);
      return { manifest: image.descriptor, layer, diffId: written.diffId, warnings: written.warnings };
    } finally {
      closeSync(whole);
    }
  } catch (error) {
    await sink.abort();
    throw error;
  }
}

/** Copies the tar, each whiteout at its place in the order of names. @returns bytes written */
function addDeletions(tar: number, deleted: readonly string[], created: number, into: number): number {
  const { entries } = scanTarFd(tar, fstatSync(tar).size);
  const whiteouts = deleted.map((path) => {
    const slash = path.lastIndexOf('/') + 1;
    return { path: cleanPath(path), name: `${path.slice(1, slash)}.wh.${path.slice(slash)}` };
  });
  whiteouts.sort((a, b) => comparePaths(a.path, b.path));
  let at = 0;
  const write = (bytes: Uint8Array) => {
    for (let done = 0; done < bytes.length; ) done += writeSync(into, bytes, done, bytes.length - done, at + done);
    at += bytes.length;
  };
  const buffer = Buffer.allocUnsafe(MIB);
  let next = 0;
  const deletionsBefore = (path: string | undefined) => {
    for (let one = whiteouts[next]; one && (path === undefined || comparePaths(one.path, path) < 0); ) {
      const meta = { name: one.name, mode: 0, uid: 0, gid: 0, uname: '', gname: '', size: 0 };
      write(madeHeader({ ...meta, mtime: { sec: created, nsec: 0 } }));
      next += 1;
      one = whiteouts[next];
    }
  };
  for (const entry of entries) {
    deletionsBefore(entry.path);
    for (let from = entry.headerOffset; from < entry.end; ) {
      const got = readSync(tar, buffer, 0, Math.min(buffer.length, entry.end - from), from);
      write(buffer.subarray(0, got));
      from += got;
    }
  }
  deletionsBefore(undefined);
  write(END_OF_ARCHIVE);
  return at;
}
