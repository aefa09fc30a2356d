// Writing an image into an OCI layout directory. A new layout appears by one rename; in a layout that exists, blobs
// are moved in first, and then index.json is replaced, so that readers see the old image or the new one. Power lost
// between the two leaves blobs that nothing names; so does replacing a tag, as with every other tool (`umoci gc`).
import { createHash } from 'node:crypto';
import { lstat, mkdir, readdir, realpath, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { errnoOf, HotlayerError } from '../errors.js';
import { makeStagingDir, makeTempDir, type TempDir } from '../temp.js';
import { type Digest, hexOf } from './digest.js';
import { blobsOf, INDEX_TYPES, MANIFEST_TYPES, parseIndex, serialize } from './documents.js';
import { type Files, fileError, openDirectory } from './files.js';
import { blobPath, INDEX_FILE, LAYOUT_FILE, LAYOUT_FILE_TEXT, readLayoutIndex } from './layout.js';
import { withLock } from './lock.js';
import { isForeign } from './media.js';
import { CONTAINERD_NAME, isOther, REF_NAME } from './select.js';
import { makeStaging, type Staging, syncPath, writeSynced } from './staging.js';
import { type Descriptor, type ImageSink, type Index, MEDIA } from './types.js';

/** What a directory may hold and still count as empty: blobs of an image never finished, a new volume's own directory. */
const RESIDUE = [LAYOUT_FILE, 'blobs', 'lost+found'];

/** Errors of rename(2) when something has appeared at the target meanwhile, or it is a mount point. */
const OCCUPIED = ['ENOTEMPTY', 'EEXIST'];

/**
 * @param directory made by `commit` when it does not exist; its parent must
 * @param tag absent: the entry in index.json has no name
 * @throws HL_ERR_USAGE when something else is there, HL_ERR_IMAGE when its index.json is broken, HL_ERR_IO
 */
export async function openLayoutSink(directory: string, tag: string | undefined, fsync: boolean): Promise<ImageSink> {
  const existing = await existingLayout(directory);
  const target = existing?.path ?? resolve(directory);
  let temp: TempDir;
  if (existing) temp = makeTempDir(target);
  else {
    await requireParent(target);
    temp = makeStagingDir(target);
  }
  const staging = makeStaging(temp, fsync);
  let state: 'open' | 'committed' | 'aborted' = 'open';

  const sink: ImageSink = {
    requireSpace: staging.requireSpace,
    createBlob: staging.createBlob,
    putBytes: staging.putBytes,
    async copyBlob(descriptor, open) {
      if (existing && (await hasBlob(existing.files, descriptor))) return;
      await staging.copyBlob(descriptor, open);
    },
    async commit(manifest, referrers = []) {
      if (state !== 'open') throw new HotlayerError('HL_ERR_BUG', `commit of an image that was ${state}`);
      await staging.close();
      for (const one of [manifest, ...referrers]) await requireBlobs(one, staging, existing?.files);
      const entries = [named(manifest, tag), ...referrers];
      try {
        if (existing || !(await moveIntoPlace(staging, target, entries, fsync))) {
          await withLock(target, () => mergeInto(staging, target, entries, fsync));
        }
      } catch (cause) {
        throw fileError(cause, target, 'write');
      }
      state = 'committed';
      temp.remove();
    },
    async abort() {
      if (state === 'open') state = 'aborted';
      await staging.close();
      temp.remove();
    },
  };
  return sink;
}

/** The index entry: the sink's own name replaces those of where the image came from. */
export function named(manifest: Descriptor, tag: string | undefined, containerdName?: string): Descriptor {
  const { [REF_NAME]: _, [CONTAINERD_NAME]: __, ...others } = manifest.annotations ?? {};
  const annotations: Record<string, string> = { ...others };
  if (containerdName !== undefined) annotations[CONTAINERD_NAME] = containerdName;
  if (tag !== undefined) annotations[REF_NAME] = tag;
  const { annotations: ___, ...rest } = manifest;
  return Object.keys(annotations).length > 0 ? { ...rest, annotations } : rest;
}

/** An index.json that has just these entries. */
export function newIndex(entries: readonly Descriptor[]): Index {
  return { schemaVersion: 2, mediaType: MEDIA.index, manifests: entries };
}

/**
 * All that a manifest or index names, down to the layers, is there.
 * @throws HL_ERR_BUG naming what was not put
 */
export async function requireBlobs(root: Descriptor, staging: Staging, existing?: Files): Promise<void> {
  const files = await openDirectory(staging.path);
  const holder = async (digest: Digest) => {
    if (staging.blobs.has(digest)) return files;
    return existing && (await existing.size(blobPath(digest))) !== undefined ? existing : undefined;
  };
  const visit = async (descriptor: Descriptor, what: string): Promise<void> => {
    const { digest, mediaType } = descriptor;
    const source = await holder(digest);
    if (!source) {
      // The content of foreign layers is elsewhere on purpose.
      if (isForeign(mediaType)) return;
      throw new HotlayerError('HL_ERR_BUG', `commit of an image whose ${what} ${digest} was not written`);
    }
    const isIndex = INDEX_TYPES.includes(mediaType);
    if (!isIndex && !MANIFEST_TYPES.includes(mediaType)) return;
    const bytes = await source.head(blobPath(digest), descriptor.size);
    if (isIndex) {
      for (const inner of parseIndex(bytes, `index ${digest}`, mediaType).manifests) await visit(inner, 'manifest');
    } else {
      for (const [i, blob] of blobsOf(bytes, `manifest ${digest}`, mediaType).entries()) {
        await visit(blob, i === 0 ? 'config' : `layer ${i - 1}`);
      }
    }
  };
  await visit(root, 'manifest');
}

/** The directory when it is there and may be written into: a layout, or empty, or the blobs of one that was never finished. */
async function existingLayout(directory: string): Promise<{ path: string; files: Files } | undefined> {
  try {
    const stat = await lstat(directory);
    const path = await realpath(directory).catch(() => undefined);
    if (path === undefined || !(stat.isDirectory() || stat.isSymbolicLink()))
      throw notALayout(directory, 'is not a directory');
    const names = (await readdir(path)).filter((name) => !name.startsWith('.hotlayer'));
    const files = await openDirectory(path);
    if (names.includes(INDEX_FILE)) await readLayoutIndex(files);
    else if (!names.every((name) => RESIDUE.includes(name))) {
      throw notALayout(directory, `is not an OCI layout: it has no ${INDEX_FILE}, but ${names.length} other entries`);
    }
    return { path, files };
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return undefined;
    if (errnoOf(cause) === 'ENOTDIR') throw notALayout(directory, 'is not a directory');
    throw fileError(cause, directory);
  }
}

function notALayout(directory: string, why: string): HotlayerError {
  return new HotlayerError('HL_ERR_USAGE', `${directory} exists and ${why}; nothing was written`, {
    hint: 'name a new directory, or an OCI layout that the image is to be added to',
    context: { file: directory },
  });
}

/** @throws HL_ERR_NOT_FOUND */
export async function requireParent(target: string): Promise<void> {
  const parent = dirname(target);
  const stat = await lstat(await realpath(parent).catch(() => parent)).catch(() => undefined);
  if (stat?.isDirectory()) return;
  throw new HotlayerError('HL_ERR_NOT_FOUND', `cannot write ${target}: the directory ${parent} does not exist`, {
    hint: `mkdir -p ${parent}`,
    context: { file: target },
  });
}

/** Whether a blob is there already, with the right bytes: one that is damaged gets replaced. */
async function hasBlob(files: Files, { digest, size }: Descriptor): Promise<boolean> {
  const path = blobPath(digest);
  if ((await files.size(path)) !== size) return false;
  const hash = createHash('sha256');
  for await (const chunk of files.open(path) as AsyncIterable<Buffer>) hash.update(chunk);
  return `sha256:${hash.digest('hex')}` === digest;
}

/** @returns false when the target has come to exist meanwhile */
async function moveIntoPlace(
  staging: Staging,
  target: string,
  entries: readonly Descriptor[],
  fsync: boolean,
): Promise<boolean> {
  const from = staging.path;
  await writeSynced(join(from, LAYOUT_FILE), Buffer.from(LAYOUT_FILE_TEXT), fsync);
  await writeSynced(join(from, INDEX_FILE), serialize(newIndex(entries)), fsync);
  if (fsync) for (const path of [join(from, 'blobs', 'sha256'), join(from, 'blobs'), from]) await syncPath(path);
  try {
    await rename(from, target);
  } catch (cause) {
    if (OCCUPIED.includes(errnoOf(cause) ?? '')) {
      // Another process was faster. Its directory may hold anything.
      await existingLayout(target);
      return false;
    }
    throw cause;
  }
  if (fsync) await syncPath(dirname(target));
  return true;
}

/** Under the lock: nobody else changes index.json between our reading and replacing it. */
async function mergeInto(
  staging: Staging,
  target: string,
  entries: readonly Descriptor[],
  fsync: boolean,
): Promise<void> {
  const files = await openDirectory(target);
  const old = (await files.size(INDEX_FILE)) === undefined ? undefined : await readLayoutIndex(files);
  const blobs = join(target, 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true });
  const added: string[] = [];
  try {
    for (const digest of staging.blobs.keys()) {
      const path = join(blobs, hexOf(digest));
      if ((await files.size(blobPath(digest))) === undefined) added.push(path);
      await rename(join(staging.path, 'blobs', 'sha256', hexOf(digest)), path);
    }
    if (fsync) await syncPath(blobs);
    if ((await files.size(LAYOUT_FILE)) === undefined) {
      await writeSynced(join(staging.path, LAYOUT_FILE), Buffer.from(LAYOUT_FILE_TEXT), fsync);
      await rename(join(staging.path, LAYOUT_FILE), join(target, LAYOUT_FILE));
    }
    await writeSynced(join(staging.path, INDEX_FILE), serialize(withEntries(old, entries)), fsync);
    await rename(join(staging.path, INDEX_FILE), join(target, INDEX_FILE));
  } catch (cause) {
    for (const path of added) await rm(path, { force: true });
    throw cause;
  }
  if (fsync) await syncPath(target);
}

/**
 * The index with the image's entry (the first) in place of those of the same name; all others, and their order, stay.
 * Artifacts without a name are many, and replaced by nobody; one with a tag replaces what had the tag.
 */
export function withEntries(old: Index | undefined, entries: readonly Descriptor[]): Index {
  const [entry, ...referrers] = entries as [Descriptor, ...Descriptor[]];
  if (!old) return newIndex(entries);
  const name = entry.annotations?.[REF_NAME];
  const same = (descriptor: Descriptor) => !isOther(descriptor) && descriptor.annotations?.[REF_NAME] === name;
  const at = old.manifests.findIndex(same);
  const manifests = old.manifests.filter((descriptor, i) => i === at || !same(descriptor));
  if (at < 0) manifests.push(entry);
  else manifests[manifests.indexOf(old.manifests[at]!)] = entry;
  for (const referrer of referrers) {
    const tag = referrer.annotations?.[REF_NAME];
    const there = manifests.findIndex((descriptor) =>
      tag === undefined ? descriptor.digest === referrer.digest : descriptor.annotations?.[REF_NAME] === tag,
    );
    if (there < 0) manifests.push(referrer);
    else if (tag !== undefined) manifests[there] = referrer;
  }
  return { ...old, manifests };
}
