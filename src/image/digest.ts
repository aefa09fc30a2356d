// Content digests: `sha256:` and 64 lowercase hex digits (OCI image-spec, descriptor.md "Digests").
import { createHash } from 'node:crypto';
import { HotlayerError } from '../errors.js';

export type Digest = `sha256:${string}`;

const DIGEST = /^sha256:[0-9a-f]{64}$/;

export function isDigest(text: unknown): text is Digest {
  return typeof text === 'string' && DIGEST.test(text);
}

/** @throws HL_ERR_IMAGE for anything but a sha256 digest; `where` names the document and member it was found in */
export function parseDigest(text: unknown, where: string): Digest {
  if (isDigest(text)) return text;
  throw new HotlayerError(
    'HL_ERR_IMAGE',
    `${where}: ${JSON.stringify(text)} is not a digest; expected "sha256:" and 64 hex digits`,
  );
}

export function sha256(bytes: Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** The 64 hex digits alone, the name of the blob's file in a layout. */
export function hexOf(digest: Digest): string {
  return digest.slice('sha256:'.length);
}
