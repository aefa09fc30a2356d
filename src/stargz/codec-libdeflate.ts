// libdeflate, compiled to WebAssembly by the npm package of that name. The package's own functions allocate a
// compressor for every call, which costs 15 % and more with small files; so its module is driven directly, the
// compressors and the two transfer buffers are kept, its slowest loops are widened (libdeflate-wide.ts), and the CRC
// is Node's, which has the processor's instructions for it. The bytes are the same (a test compares).
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { crc32 } from 'node:zlib';
import { HotlayerError } from '../errors.js';
import type { RawCodec } from './codec.js';
import { widened } from './libdeflate-wide.js';

/** The part of the package's Emscripten module that is used. Pointers are offsets in HEAPU8; 0 is null. */
interface WasmModule {
  readonly HEAPU8: Uint8Array;
  readonly ready: Promise<unknown>;
  _malloc(size: number): number;
  _free(pointer: number): void;
  _libdeflate_alloc_compressor(level: number): number;
  _libdeflate_deflate_compress_bound(compressor: number, size: number): number;
  _libdeflate_deflate_compress(compressor: number, input: number, size: number, output: number, room: number): number;
}

/** RFC 1952 section 2.3: ID1 ID2, CM 8 (deflate), no flags, no time; XFL and OS are set by codec.ts. */
const HEADER = Buffer.from('1f8b08000000000000ff', 'hex');
/** CRC-32 and length of what was compressed. A member is far below 4 GiB. */
const TRAILER_SIZE = 8;

/** Fields of libdeflate's `struct libdeflate_compressor` in this module: bytes from its start, 32 bits each. */
const FIELD = {
  /** Candidates that are looked at for a match (max_search_depth). */
  depth: 16,
  /** A match of this length is not searched further (nice_match_length). */
  nice: 20,
  /** Of levels 10 and up: how often the cheapest path is sought, each time with the costs that the last one had. */
  passes: 9_011_684,
} as const;

/**
 * Levels of ours: one of libdeflate's with other numbers in its compressor. Each lies between two of libdeflate's in what
 * it makes. `was` is what libdeflate put there: another version's structure may be laid out otherwise.
 */
interface Tuning {
  readonly of: number;
  readonly fields: readonly { readonly field: keyof typeof FIELD; readonly was: number; readonly is: number }[];
}
const TUNINGS: ReadonlyMap<number, Tuning> = new Map([
  // Lazy matching; level 4's is greedy, so it finds less in more candidates (16).
  [4.5, { of: 5, fields: [{ field: 'depth', was: 16, is: 4 }] }],
  [
    9.5,
    {
      of: 10,
      fields: [
        { field: 'depth', was: 35, is: 8 },
        { field: 'nice', was: 75, is: 20 },
        { field: 'passes', was: 2, is: 1 },
      ],
    },
  ],
]);
export const TUNED_LEVELS: readonly number[] = [...TUNINGS.keys()];

let opened: Promise<RawCodec> | undefined;

export function openLibdeflate(): Promise<RawCodec> {
  opened ??= load();
  return opened;
}

async function load(): Promise<RawCodec> {
  const require = createRequire(import.meta.url);
  const entry = pathToFileURL(require.resolve('libdeflate'));
  // The package exports its index only; the module beside it is reached by its place. The version is pinned exactly.
  const file = new URL('./dist/libdeflate.wasm.mjs', entry);
  const loaded = (await import(file.href)) as { default(options: { wasmBinary?: Uint8Array }): WasmModule };
  const wasm = embeddedIn(readFileSync(file, 'latin1'));
  const wasmBinary = wasm && widened(wasm);
  const module = withoutListeners(() => loaded.default(wasmBinary ? { wasmBinary } : {}));
  await module.ready;
  return new Libdeflate(module);
}

/** The WebAssembly in a script that Emscripten made to be one file. */
export function embeddedIn(script: string): Uint8Array<ArrayBuffer> | undefined {
  const base64 = /"data:application\/octet-stream;base64,([A-Za-z0-9+/=]+)"/.exec(script)?.[1];
  return base64 === undefined ? undefined : new Uint8Array(Buffer.from(base64, 'base64'));
}

/** Emscripten's start-up code listens for uncaught errors, only to rethrow them: that would change how hotlayer dies. */
function withoutListeners<T>(start: () => T): T {
  const events = ['uncaughtException', 'unhandledRejection'] as const;
  const before = events.map((event) => process.listeners(event as 'exit'));
  const result = start();
  events.forEach((event, i) => {
    for (const listener of process.listeners(event as 'exit')) {
      if (!before[i]!.includes(listener)) process.removeListener(event, listener);
    }
  });
  return result;
}

class Libdeflate implements RawCodec {
  private readonly compressors = new Map<number, number>();
  private input = { at: 0, size: 0 };
  private output = { at: 0, size: 0 };

  /** The version that package.json pins; the self-test holds it to that. */
  readonly id = 'libdeflate-0.1.0';

  constructor(private readonly module: WasmModule) {}

  gzip(bytes: Uint8Array, level: number): Buffer {
    const { module } = this;
    const compressor = this.compressor(level);
    const room = module._libdeflate_deflate_compress_bound(compressor, bytes.length);
    this.input = this.grow(this.input, bytes.length);
    this.output = this.grow(this.output, HEADER.length + room + TRAILER_SIZE);
    const { at } = this.output;
    // HEAPU8 is a new view after every growth of the memory: take it after the allocations.
    module.HEAPU8.set(bytes, this.input.at);
    const deflated = at + HEADER.length;
    const written = module._libdeflate_deflate_compress(compressor, this.input.at, bytes.length, deflated, room);
    if (written === 0) {
      throw new HotlayerError('HL_ERR_BUG', `libdeflate did not compress ${bytes.length} bytes into ${room}`);
    }
    const member = Buffer.from(module.HEAPU8.buffer, at, HEADER.length + written + TRAILER_SIZE);
    HEADER.copy(member);
    member.writeUInt32LE(crc32(bytes), HEADER.length + written);
    member.writeUInt32LE(bytes.length, HEADER.length + written + 4);
    return member;
  }

  private compressor(level: number): number {
    let pointer = this.compressors.get(level);
    if (pointer === undefined) {
      const tuning = TUNINGS.get(level);
      pointer = this.module._libdeflate_alloc_compressor(tuning?.of ?? level);
      if (pointer === 0) throw new HotlayerError('HL_ERR_BUG', `libdeflate has no compressor of level ${level}`);
      if (tuning) this.tune(pointer, tuning, level);
      this.compressors.set(level, pointer);
    }
    return pointer;
  }

  private tune(compressor: number, { fields }: Tuning, level: number): void {
    const memory = new DataView(this.module.HEAPU8.buffer);
    for (const { field, was, is } of fields) {
      const found = memory.getUint32(compressor + FIELD[field], true);
      if (found !== was) {
        throw new HotlayerError(
          'HL_ERR_BUG',
          `libdeflate's compressor has a ${field} of ${found}, expected ${was}: level ${level} cannot be made`,
          { hint: 'install the dependencies again with npm ci' },
        );
      }
      memory.setUint32(compressor + FIELD[field], is, true);
    }
  }

  private grow(area: { at: number; size: number }, size: number): { at: number; size: number } {
    if (area.at !== 0 && area.size >= size) return area;
    if (area.at !== 0) this.module._free(area.at);
    const wanted = Math.max(size, 64 * 1024);
    const at = this.module._malloc(wanted);
    if (at === 0) {
      throw new HotlayerError('HL_ERR_LIMIT', `libdeflate's memory has no room for a member of ${size} bytes`, {
        hint: 'use a smaller --chunk-size, or --codec zlib',
      });
    }
    return { at, size: wanted };
  }
}
