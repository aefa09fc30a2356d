// From a reference to a place where an image can be written.
import { HotlayerError, withContext } from '../errors.js';
import { openArchiveSink } from './archive-sink.js';
import { openLayoutSink } from './layout-sink.js';
import { parseReference, registryRefused } from './reference.js';
import type { ImageSink } from './types.js';

export interface OpenSinkOptions {
  /** Default true. False: do not wait until the image is on the disk; a power cut may then leave a broken one. */
  fsync?: boolean;
}

/**
 * `oci:DIR[:TAG]` (a new layout, or one that exists and keeps its other tags), `oci-archive:FILE[:TAG]`,
 * `docker-archive:FILE[:NAME:TAG]`. Nothing is visible at the target before `commit`.
 * @throws HL_ERR_USAGE when the reference or what is there cannot be written to, HL_ERR_NOT_FOUND, HL_ERR_IMAGE, HL_ERR_IO
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
        throw registryRefused(parsed.name, reference);
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
