// Names of images in registries, `[host[:port]/]path[:tag][@digest]`, with Docker's short forms spelled out
// (distribution reference grammar; "Docker Hub" names: `app` means docker.io/library/app).
import { HotlayerError } from '../errors.js';
import { type Digest, isDigest } from './digest.js';

export interface RegistryName {
  /** `docker.io` when none was written. */
  readonly host: string;
  readonly repository: string;
  /** `latest` when neither tag nor digest was written; absent when only a digest was. */
  readonly tag?: string;
  readonly digest?: Digest;
}

const COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const REPOSITORY = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);
const TAG = /^\w[\w.-]{0,127}$/;
const HOST =
  /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])(?::\d+)?$/;

const MAX_REPOSITORY = 255;

/** @throws HL_ERR_USAGE */
export function parseRegistryName(text: string): RegistryName {
  refuseCredentials(text);
  const bad = (why: string) =>
    new HotlayerError('HL_ERR_USAGE', `"${text}" is not an image name: ${why}`, {
      hint: 'names look like registry.example/team/app:1.0, or oci:DIR:TAG for a layout on disk',
    });
  let rest = text;
  let digest: Digest | undefined;
  const at = rest.indexOf('@');
  if (at >= 0) {
    const written = rest.slice(at + 1);
    if (!isDigest(written)) throw bad(`"${written}" is not a sha256 digest`);
    digest = written;
    rest = rest.slice(0, at);
  }
  let tag: string | undefined;
  const colon = rest.lastIndexOf(':');
  if (colon > rest.lastIndexOf('/')) {
    tag = rest.slice(colon + 1);
    if (!TAG.test(tag)) throw bad(`"${tag}" is not a tag`);
    rest = rest.slice(0, colon);
  }
  let host = 'docker.io';
  const slash = rest.indexOf('/');
  const first = rest.slice(0, slash);
  // Docker's rule: a first part without dot, colon or capital that is not localhost belongs to the path.
  if (slash > 0 && (/[.:A-Z]/.test(first) || first === 'localhost')) {
    if (!HOST.test(first)) throw bad(`"${first}" is not a host`);
    host = first === 'index.docker.io' ? 'docker.io' : first;
    rest = rest.slice(slash + 1);
  }
  if (host === 'docker.io' && !rest.includes('/')) rest = `library/${rest}`;
  if (!REPOSITORY.test(rest) || rest.length > MAX_REPOSITORY) throw bad(`"${rest}" is not a repository`);
  if (tag === undefined && digest === undefined) tag = 'latest';
  return { host, repository: rest, ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) };
}

/** `user:password@host/…` and `https://token@host/…`: nobody's name for an image, and not to be shown. @throws HL_ERR_USAGE */
function refuseCredentials(text: string): void {
  const [, scheme = '', before = '', after = ''] = /^([a-z]+:\/\/)?(.*)@(?!sha\d+:)(.*)$/is.exec(text) ?? [];
  if (!before.includes(':') && !(before !== '' && after.includes('/'))) return;
  throw new HotlayerError('HL_ERR_USAGE', `"${scheme}***@${after}" is not an image name: it holds a user or password`, {
    hint: 'log in with docker login, podman login or skopeo login; a digest is written NAME@sha256:…',
  });
}

/** With host, repository and tag written out. */
export function formatRegistryName(name: RegistryName): string {
  const tag = name.tag === undefined ? '' : `:${name.tag}`;
  const digest = name.digest === undefined ? '' : `@${name.digest}`;
  return `${name.host}/${name.repository}${tag}${digest}`;
}

/** `app` and `docker.io/library/app:latest` are the same image; a name that cannot be parsed is compared as it is. */
export function fullName(name: string): string {
  try {
    return formatRegistryName(parseRegistryName(name));
  } catch {
    return name;
  }
}
