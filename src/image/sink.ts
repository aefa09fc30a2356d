// From a reference to a place where an image can be written.
import { HotlayerError, withContext } from '../errors.js';
import { openArchiveSink } from './archive-sink.js';
import { openLayoutSink } from './layout-sink.js';
import { parseReference, takenAs } from './reference.js';
import type { RegistryOptions } from './registry/settings.js';
import { openRegistrySink } from './registry/sink.js';
import type { RegistryName } from './registry-name.js';
import type { ImageSink } from './types.js';

export interface OpenSinkOptions {
  /** Default true. False: do not wait until the image is on the disk; a power cut may then leave a broken one. */
  fsync?: boolean;
  /** How registries are reached. */
  registry?: RegistryOptions;
  /** Where blobs for a registry are staged. Absent: the system's temporary directory. */
  tempParent?: string;
  /** References of images whose blobs a registry can take over from a repository beside; those elsewhere do nothing. */
  mountFrom?: readonly string[];
}

/**
 * `oci:DIR[:TAG]` (a new layout, or one that exists and keeps its other tags), `oci-archive:FILE[:TAG]`,
 * `docker-archive:FILE[:NAME:TAG]`, or a name in a registry. Nothing is visible at the target before `commit`.
 * @throws HL_ERR_USAGE when the reference or what is there cannot be written to, HL_ERR_NOT_FOUND, HL_ERR_IMAGE, HL_ERR_IO;
 *   of registries also HL_ERR_AUTH, HL_ERR_NETWORK
 */
export async function openSink(reference: string, options: OpenSinkOptions = {}): Promise<ImageSink> {
  const fsync = options.fsync ?? true;
  const refuse = (why: string) =>
    new HotlayerError('HL_ERR_USAGE', `${reference}: ${why}`, {
      hint: 'write the image to oci:DIR:TAG, oci-archive:FILE:TAG or docker-archive:FILE:NAME:TAG',
      context: { image: reference },
    });
  const parsed = parseReference(reference);
  try {
    switch (parsed.kind) {
      case 'registry':
        return await openRegistrySink(parsed.name, {
          ...options.registry,
          ...(options.tempParent === undefined ? {} : { tempParent: options.tempParent }),
          mountFrom: mountNames(options.mountFrom ?? []),
        }).catch((error) => {
          throw takenAs(error, parsed.name, reference);
        });
      case 'dir':
        throw refuse('an image cannot be written as a root file system');
      case 'archive':
        throw refuse('say which kind of archive is to be written');
      case 'docker-archive': {
        if (parsed.position !== undefined) throw refuse('an image is written by name, not by position');
        const { name } = parsed;
        return await openArchiveSink(
          parsed.path,
          { kind: 'docker-archive', ...(name === undefined ? {} : { name }) },
          fsync,
        );
      }
      default: {
        if (parsed.digest !== undefined) throw refuse('an image is written by tag, not by digest');
        const { tag, path, kind } = parsed;
        if (kind === 'oci') return await openLayoutSink(path, tag, fsync);
        return await openArchiveSink(path, { kind, ...(tag === undefined ? {} : { tag }) }, fsync);
      }
    }
  } catch (error) {
    throw withContext(error, { image: reference });
  }
}

function mountNames(references: readonly string[]): RegistryName[] {
  return references.flatMap((text) => {
    const parsed = parseReference(text);
    return parsed.kind === 'registry' ? [parsed.name] : [];
  });
}
