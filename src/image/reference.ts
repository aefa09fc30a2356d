// What the user writes to name an image: where it is stored, and which one of several there.
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { HotlayerError } from '../errors.js';
import { type Digest, isDigest } from './digest.js';
import { formatRegistryName, parseRegistryName, type RegistryName } from './registry-name.js';

export type Reference =
  | { readonly kind: 'oci'; readonly path: string; readonly tag?: string; readonly digest?: Digest }
  | { readonly kind: 'oci-archive'; readonly path: string; readonly tag?: string; readonly digest?: Digest }
  /** `name`: `NAME:TAG` as in the archive's RepoTags; `position`: the n-th image, from 0. */
  | { readonly kind: 'docker-archive'; readonly path: string; readonly name?: string; readonly position?: number }
  /** An archive file named without saying of which kind; openImage looks. */
  | { readonly kind: 'archive'; readonly path: string; readonly tag?: string; readonly digest?: Digest }
  /** A root file system as a directory: not an image. */
  | { readonly kind: 'dir'; readonly path: string }
  | { readonly kind: 'registry'; readonly name: RegistryName };

export type ReferenceKind = Reference['kind'];

/** What is at a path now; a seam for tests. */
export type Probe = (path: string) => 'layout' | 'directory' | 'file' | undefined;

const SCHEME = /^(oci|oci-archive|docker-archive|dir):(?!\/\/)(.*)$/s;

/**
 * `oci:DIR[:TAG]`, `oci:DIR@DIGEST`, `oci-archive:FILE[:TAG]`, `docker-archive:FILE[:NAME:TAG]`, `docker-archive:FILE:@N`,
 * `dir:PATH`, a path that exists (`PATH` or `PATH:TAG`), or a name in a registry (`docker://` may precede it).
 * A path ends at the first colon before which something exists, else at the first colon.
 * @throws HL_ERR_USAGE for what is none of these, HL_ERR_NOT_FOUND for a path that does not exist
 */
export function parseReference(text: string, probe: Probe = probePath): Reference {
  if (text === '' || text.includes('\0')) {
    throw new HotlayerError('HL_ERR_USAGE', `"${text.replaceAll('\0', '\\0')}" is not an image reference`, {
      hint: 'name an image like oci:DIR:TAG or docker-archive:FILE',
    });
  }
  if (text.startsWith('docker://'))
    return { kind: 'registry', name: parseRegistryName(text.slice('docker://'.length)) };
  const match = SCHEME.exec(text);
  if (!match) return parseBare(text, probe);
  const [, kind, rest] = match as unknown as [string, 'oci' | 'oci-archive' | 'docker-archive' | 'dir', string];
  if (rest === '') {
    throw new HotlayerError('HL_ERR_USAGE', `"${text}" names no path`, { hint: `write ${kind}:PATH` });
  }
  if (kind === 'dir') return { kind, path: rest };
  const { path, suffix } = splitPath(rest, probe);
  if (kind === 'docker-archive') return { kind, path, ...dockerPart(suffix, text) };
  return { kind, path, ...ociPart(suffix, text) };
}

/** The inverse of parseReference; an `archive` gives its path. */
export function formatReference(reference: Reference): string {
  switch (reference.kind) {
    case 'dir':
      return `dir:${reference.path}`;
    case 'registry':
      return formatRegistryName(reference.name);
    case 'docker-archive': {
      const { name, position } = reference;
      const suffix = name !== undefined ? `:${name}` : position !== undefined ? `:@${position}` : '';
      return `docker-archive:${reference.path}${suffix}`;
    }
    default: {
      const scheme = reference.kind === 'archive' ? '' : `${reference.kind}:`;
      const suffix = reference.digest ? `@${reference.digest}` : reference.tag !== undefined ? `:${reference.tag}` : '';
      return `${scheme}${reference.path}${suffix}`;
    }
  }
}

/** A failure about a name that the user perhaps did not mean as one in a registry says how it was read. */
export function takenAs(error: unknown, name: RegistryName, text: string): unknown {
  if (!(error instanceof HotlayerError) || text.startsWith('docker://') || text.startsWith(`${name.host}/`))
    return error;
  const message = `${error.message} (nothing named ${text} is on disk, so it was taken as ${formatRegistryName(name)})`;
  return new HotlayerError(error.code, message, {
    cause: error.cause,
    context: error.context,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
  });
}

function parseBare(text: string, probe: Probe): Reference {
  const { path, suffix } = splitPath(text, probe);
  const what = probe(path);
  if (what === 'layout') return { kind: 'oci', path, ...ociPart(suffix, text) };
  if (what === 'file') return { kind: 'archive', path, ...ociPart(suffix, text) };
  if (what === 'directory') {
    throw new HotlayerError('HL_ERR_USAGE', `${path} is a directory, but not an OCI layout: it has no index.json`, {
      hint: `write dir:${path} if it is a root file system`,
      context: { file: path },
    });
  }
  if (/^\.{0,2}\//.test(text)) {
    throw new HotlayerError('HL_ERR_NOT_FOUND', `${path}: no such file or directory`, {
      hint: 'to write a new image, say in which form: oci:DIR:TAG, oci-archive:FILE or docker-archive:FILE:NAME:TAG',
      context: { file: path },
    });
  }
  return { kind: 'registry', name: parseRegistryName(text) };
}

/** `PATH[:SUFFIX]` or `PATH@sha256:…`. */
function splitPath(text: string, probe: Probe): { path: string; suffix: string } {
  const cuts: number[] = [];
  for (let at = 0; at < text.length; at++) {
    if (text[at] === ':' || text.startsWith('@sha256:', at)) cuts.push(at);
  }
  const first = cuts[0];
  if (first === undefined) return { path: text, suffix: '' };
  const at = [...cuts, text.length].find((cut) => cut > 0 && probe(text.slice(0, cut)) !== undefined) ?? first;
  return { path: text.slice(0, at), suffix: text.slice(at) };
}

function ociPart(suffix: string, text: string): { tag?: string; digest?: Digest } {
  if (suffix === '') return {};
  if (suffix.startsWith('@') && isDigest(suffix.slice(1))) return { digest: suffix.slice(1) as Digest };
  const tag = suffix.slice(1);
  // image-spec annotations.md, org.opencontainers.image.ref.name, and what Docker allows in tags.
  if (suffix[0] === ':' && /^\w[\w.:@+/-]{0,254}$/.test(tag)) return { tag };
  throw new HotlayerError('HL_ERR_USAGE', `"${text}": "${suffix.slice(1)}" is not a tag or sha256 digest`);
}

function dockerPart(suffix: string, text: string): { name?: string; position?: number } {
  if (suffix === '') return {};
  const position = /^:@(\d{1,6})$/.exec(suffix);
  if (position) return { position: Number(position[1]) };
  const name = suffix.slice(1);
  if (parseRegistryName(name).digest !== undefined || suffix[0] !== ':') {
    throw new HotlayerError('HL_ERR_USAGE', `"${text}": a docker-archive names its images NAME:TAG, not by digest`);
  }
  return { name };
}

function probePath(path: string): ReturnType<Probe> {
  try {
    const stat = statSync(path);
    if (!stat.isDirectory()) return 'file';
    return existsSync(join(path, 'oci-layout')) || existsSync(join(path, 'index.json')) ? 'layout' : 'directory';
  } catch {
    return undefined;
  }
}
