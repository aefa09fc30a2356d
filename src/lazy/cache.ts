// The cache on disk that all runs of a user share: documents by digest, what names led to, lazily read layers by the
// digest of their TOC, whole layers by diffID. Any process may end at any moment, and any number may use it at once.
//
//   documents/HEX         manifests and configs as stored
//   names/HEX             what a name led to when it was last asked for; HEX is the sha256 of name and platform
//   layers/HEX/           layer-directory.ts
//   tars/HEX/             tar-store.ts
//   trash/                what is being removed
import { createHash, randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { HotlayerError } from '../errors.js';
import type { Digest } from '../image/digest.js';
import type { Descriptor } from '../image/types.js';
import { type Bytes, GIB } from '../units.js';
import { LAYER_FILES } from './layer-directory.js';
import { isAlive, ownMark } from './process-mark.js';
import { replaceFile } from './replace-file.js';

export const DEFAULT_CACHE_SIZE: Bytes = 20 * GIB;

/** Raised when what is kept is kept differently: older content is then not seen any more, and evicted first. */
const VERSION = 'v1';
const KINDS = ['layers', 'tars'] as const;
/** Staged files of processes that were killed are older than that. */
const STALE_MS = 3_600_000;

export interface CacheOptions {
  /** Absent: `$XDG_CACHE_HOME/hotlayer`, else `~/.cache/hotlayer`. */
  readonly directory?: string | undefined;
  /** Bytes of layers that are kept; those in use are kept beyond it. Absent: DEFAULT_CACHE_SIZE. */
  readonly limit?: Bytes | undefined;
}

export function defaultCacheDirectory(env: Readonly<Record<string, string | undefined>> = process.env): string {
  const base = env.XDG_CACHE_HOME;
  // Relative ones are to be ignored (XDG Base Directory Specification).
  return join(base?.startsWith('/') ? base : join(env.HOME || homedir(), '.cache'), 'hotlayer');
}

export class Cache {
  readonly directory: string;
  readonly limit: Bytes;
  readonly #root: string;
  readonly #marked = new Set<string>();

  /** @throws HL_ERR_IO when it cannot be made */
  constructor(options: CacheOptions = {}) {
    this.directory = resolve(options.directory ?? defaultCacheDirectory());
    this.limit = options.limit ?? DEFAULT_CACHE_SIZE;
    this.#root = join(this.directory, VERSION);
    try {
      for (const name of ['documents', 'names', ...KINDS, 'trash'])
        mkdirSync(join(this.#root, name), { recursive: true, mode: 0o700 });
    } catch (cause) {
      throw new HotlayerError('HL_ERR_IO', `cannot use the cache ${this.directory}: ${(cause as Error).message}`, {
        hint: 'choose another place with --cache-dir',
        cause,
        context: { file: this.directory },
      });
    }
  }

  /** The bytes with this digest; undefined when they are not here, or not what they were. */
  document(digest: Digest): Buffer | undefined {
    try {
      const bytes = readFileSync(join(this.#root, 'documents', digest.slice('sha256:'.length)));
      return `sha256:${createHash('sha256').update(bytes).digest('hex')}` === digest ? bytes : undefined;
    } catch {
      return undefined;
    }
  }

  /** Keeps a document where that is possible: it is only a saving. */
  keepDocument(bytes: Uint8Array): void {
    quietly(() => replaceFile(join(this.#root, 'documents', hex(bytes)), bytes));
  }

  /** What a name led to for a platform. */
  name(name: string, platform: string): Descriptor | undefined {
    try {
      const kept = JSON.parse(readFileSync(this.#nameFile(name, platform), 'utf8')) as KeptName;
      return kept.name === name && kept.platform === platform ? kept.descriptor : undefined;
    } catch {
      return undefined;
    }
  }

  keepName(name: string, platform: string, descriptor: Descriptor): void {
    const kept: KeptName = { name, platform, descriptor };
    quietly(() => replaceFile(this.#nameFile(name, platform), JSON.stringify(kept)));
  }

  /**
   * The directory of a layer, made if it is missing. It counts as used now, and is not evicted while this process lives
   * or until `close`.
   * @throws HL_ERR_IO
   */
  use(kind: (typeof KINDS)[number], digest: Digest): string {
    const directory = join(this.#root, kind, digest.slice('sha256:'.length));
    const mark = join(directory, LAYER_FILES.users, ownMark());
    try {
      // Again when somebody evicted it in between.
      for (let tries = 0; ; tries++) {
        try {
          mkdirSync(join(directory, LAYER_FILES.users), { recursive: true, mode: 0o700 });
          writeFileSync(mark, '', { mode: 0o600 });
          touch(join(directory, LAYER_FILES.used));
          break;
        } catch (error) {
          if (tries >= 3) throw error;
        }
      }
    } catch (cause) {
      throw new HotlayerError('HL_ERR_IO', `cannot use the cache ${this.directory}: ${(cause as Error).message}`, {
        hint: 'choose another place with --cache-dir',
        cause,
        context: { file: directory },
      });
    }
    this.#marked.add(mark);
    return directory;
  }

  /**
   * Removes the layers that were not used for the longest time until what is left is within the limit. Those that living
   * processes use stay. Processes that read what is removed nevertheless keep what they have open.
   * @returns bytes removed
   */
  evict(limit = this.limit): Bytes {
    for (const name of list(join(this.#root, 'trash'))) remove(join(this.#root, 'trash', name));
    const kept = KINDS.flatMap((kind) =>
      list(join(this.#root, kind)).map((name) => measure(join(this.#root, kind, name))),
    );
    let total = kept.reduce((sum, one) => sum + one.bytes, 0);
    let removed = 0;
    for (const one of kept.sort((a, b) => a.usedMs - b.usedMs)) {
      if (total <= limit) break;
      if (inUse(one.path) || !this.#discard(one.path)) continue;
      total -= one.bytes;
      removed += one.bytes;
    }
    return removed;
  }

  /** Whether anything is kept of the lazily read layer with this TOC. */
  hasLayer(tocDigest: Digest): boolean {
    return existsSync(join(this.#root, 'layers', tocDigest.slice('sha256:'.length), LAYER_FILES.index));
  }

  /** Bytes on disk of all layers. */
  size(): Bytes {
    const paths = KINDS.flatMap((kind) => list(join(this.#root, kind)).map((name) => join(this.#root, kind, name)));
    return paths.reduce((sum, path) => sum + measure(path).bytes, 0);
  }

  /** Ends the use of what was used. Idempotent. */
  close(): void {
    for (const mark of this.#marked) rmSync(mark, { force: true });
    this.#marked.clear();
  }

  /** Out of the way first, so that nobody finds half of it. */
  #discard(path: string): boolean {
    const aside = join(this.#root, 'trash', randomBytes(8).toString('hex'));
    try {
      renameSync(path, aside);
      // Somebody may have begun to use it a moment ago.
      if (inUse(aside)) {
        renameSync(aside, path);
        return false;
      }
    } catch {
      return false;
    }
    remove(aside);
    return true;
  }

  #nameFile(name: string, platform: string): string {
    return join(this.#root, 'names', hex(`${name}\n${platform}`));
  }
}

interface KeptName {
  readonly name: string;
  readonly platform: string;
  readonly descriptor: Descriptor;
}

function inUse(directory: string): boolean {
  return list(join(directory, LAYER_FILES.users)).some((mark) => {
    if (isAlive(mark)) return true;
    rmSync(join(directory, LAYER_FILES.users, mark), { force: true });
    return false;
  });
}

function measure(path: string): { path: string; bytes: Bytes; usedMs: number } {
  let bytes = 0;
  let usedMs = 0;
  for (const name of list(path)) {
    const found = statSync(join(path, name), { throwIfNoEntry: false });
    if (!found?.isFile()) continue;
    if (name.endsWith('.tmp') && Date.now() - found.mtimeMs > STALE_MS) {
      rmSync(join(path, name), { force: true });
      continue;
    }
    // Blocks of 512 bytes, holes not counted.
    bytes += found.blocks * 512;
    if (name === LAYER_FILES.used) usedMs = found.mtimeMs;
  }
  return { path, bytes, usedMs };
}

function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function remove(path: string): void {
  quietly(() => rmSync(path, { recursive: true, force: true }));
}

function touch(path: string): void {
  closeSync(openSync(path, 'a', 0o600));
  const now = new Date();
  utimesSync(path, now, now);
}

function hex(data: Uint8Array | string): string {
  return createHash('sha256').update(data).digest('hex');
}

function quietly(what: () => void): void {
  try {
    what();
  } catch {
    // a full disk, or no right to write: what is not kept is fetched again
  }
}
