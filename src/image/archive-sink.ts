// Writing an image as one tar file: oci-archive, or docker-archive. Same image, same bytes: members in order of name,
// times and owners zero.
import { constants, createReadStream, createWriteStream } from 'node:fs';
import { open, realpath, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type Pack, pack } from 'tar-stream';
import { errnoOf, HotlayerError } from '../errors.js';
import { comparePaths } from '../paths.js';
import { makeStagingDir } from '../temp.js';
import { hexOf } from './digest.js';
import { DOCKER_MANIFEST_FILE, type DockerImage } from './docker-archive.js';
import { parseManifest, serialize } from './documents.js';
import { collect, fileError, readRange } from './files.js';
import { blobPath, INDEX_FILE, LAYOUT_FILE, LAYOUT_FILE_TEXT } from './layout.js';
import { named, newIndex, requireBlobs, requireParent } from './layout-sink.js';
import { sniffCompression } from './media.js';
import { formatRegistryName, parseRegistryName } from './registry-name.js';
import { makeStaging, type Staging, syncPath } from './staging.js';
import type { Descriptor, ImageSink } from './types.js';

export type ArchiveForm =
  | { readonly kind: 'oci-archive'; readonly tag?: string }
  /** `name`: `NAME:TAG`; absent: the image has no name when it is loaded. */
  | { readonly kind: 'docker-archive'; readonly name?: string };

/** A member's bytes, or the staged file that has them. */
type Content = Buffer | { readonly file: string; readonly size: number };

/**
 * A file that is there already is replaced, if it is an archive.
 * @throws HL_ERR_USAGE when it is something else, HL_ERR_NOT_FOUND when its directory is missing, HL_ERR_IO
 */
export async function openArchiveSink(file: string, form: ArchiveForm, fsync: boolean): Promise<ImageSink> {
  const target = await archiveTarget(file);
  await requireParent(target);
  const temp = makeStagingDir(target);
  const staging = makeStaging(temp, fsync);
  let state: 'open' | 'committed' | 'aborted' = 'open';
  return {
    ...(form.kind === 'docker-archive' ? { losesAnnotations: true, onlyImages: true } : {}),
    requireSpace: staging.requireSpace,
    createBlob: staging.createBlob,
    copyBlob: staging.copyBlob,
    putBytes: staging.putBytes,
    async commit(manifest, referrers = []) {
      if (state !== 'open') throw new HotlayerError('HL_ERR_BUG', `commit of an image that was ${state}`);
      await staging.close();
      for (const one of [manifest, ...referrers]) await requireBlobs(one, staging);
      const archive = join(temp.path, 'archive.tar');
      try {
        await writeTar(archive, await membersOf(staging, manifest, referrers, form));
        if (fsync) await syncPath(archive);
        await rename(archive, target);
        if (fsync) await syncPath(dirname(target));
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
}

/** Where the file really is, so that a link to it stays one. */
async function archiveTarget(file: string): Promise<string> {
  const refuse = (what: string) =>
    new HotlayerError('HL_ERR_USAGE', `${file} exists and is ${what}; nothing was written`, {
      hint: 'name a new file, or remove that one',
      context: { file },
    });
  try {
    const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stat = await handle.stat();
      if (!stat.isFile()) throw refuse('not a regular file');
      const head = await collect(readRange(handle, 0, 512));
      const tar = head.toString('latin1', 257, 262) === 'ustar';
      if (head.length > 0 && !tar && sniffCompression(head) !== 'gzip') throw refuse('not an image archive');
    } finally {
      await handle.close();
    }
    return await realpath(file);
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return resolve(file);
    throw fileError(cause, file);
  }
}

async function membersOf(
  staging: Staging,
  manifest: Descriptor,
  referrers: readonly Descriptor[],
  form: ArchiveForm,
): Promise<Map<string, Content>> {
  const members = new Map<string, Content>();
  for (const [digest, size] of staging.blobs) {
    members.set(blobPath(digest), { file: join(staging.path, 'blobs', 'sha256', hexOf(digest)), size });
  }
  members.set(LAYOUT_FILE, Buffer.from(LAYOUT_FILE_TEXT));
  if (form.kind === 'oci-archive') {
    members.set(INDEX_FILE, serialize(newIndex([named(manifest, form.tag), ...referrers])));
    return members;
  }
  // Since version 25, docker save writes both forms into one file: manifest.json for every docker load, the layout for
  // those that can keep descriptors. Names stand in the index as docker writes them.
  const name = form.name === undefined ? undefined : parseRegistryName(form.name);
  const full = name === undefined ? undefined : formatRegistryName(name);
  members.set(INDEX_FILE, serialize(newIndex([named(manifest, name?.tag, full), ...referrers])));
  const bytes = await collect(createReadStream(join(staging.path, blobPath(manifest.digest))));
  const { config, layers } = parseManifest(bytes, `manifest ${manifest.digest}`);
  const image: DockerImage = {
    Config: blobPath(config.digest),
    RepoTags: full === undefined ? null : [full],
    Layers: layers.map((layer) => blobPath(layer.digest)),
  };
  members.set(DOCKER_MANIFEST_FILE, serialize([image]));
  return members;
}

/** Staged files are removed as they go into the archive, so that the image is not on disk twice. */
async function writeTar(path: string, members: ReadonlyMap<string, Content>): Promise<void> {
  const tar = pack();
  const fill = async () => {
    for (const name of ['blobs/', 'blobs/sha256/']) {
      tar.entry({ ...PLAIN, name, type: 'directory', mode: 0o755 });
    }
    for (const name of [...members.keys()].sort(comparePaths)) {
      const content = members.get(name)!;
      if (Buffer.isBuffer(content)) tar.entry({ ...PLAIN, name, mode: 0o644 }, content);
      else {
        await addFile(tar, name, content);
        await rm(content.file);
      }
    }
    tar.finalize();
  };
  const written = pipeline(tar, createWriteStream(path));
  try {
    await Promise.all([fill(), written]);
  } catch (cause) {
    tar.destroy();
    await written.catch(() => {});
    throw cause;
  }
}

const PLAIN = { uid: 0, gid: 0, mtime: new Date(0) } as const;

async function addFile(tar: Pack, name: string, { file, size }: { file: string; size: number }): Promise<void> {
  await pipeline(
    createReadStream(file, { highWaterMark: 256 * 1024 }),
    tar.entry({ ...PLAIN, name, mode: 0o644, size }),
  );
}
