// libdeflate, compiled to WebAssembly by the npm package of that name. The package's own functions allocate a
// compressor for every call, which costs 15 % and more with small files; so its module is driven directly, the
// compressors and the two transfer buffers are kept, its slowest loops are widened (libdeflate-wide.ts), and the CRC
// is Node's, which has the processor's instructions for it. The bytes are the same (a test compares).
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { crc32 } from 'node:zlib';
import { HotlayerError } from '../../errors.js';
import type { RawCodec } from './codec.js';
import { widened } from './libdeflate-wide.js';

/** A compiled module; threads hand it on to each other. The types of Node do not have WebAssembly. */
export type WasmModule = object;
interface Memory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => WasmModule;
  Instance: new (module: WasmModule, imports: object) => { readonly exports: unknown };
};

/** What the module has, by the names that Emscripten gave it. Pointers are offsets in the memory; 0 is null. */
interface Exports {
  readonly c: Memory;
  /** __wasm_call_ctors */
  d(): void;
  /** libdeflate_alloc_compressor */
  e(level: number): number;
  /** libdeflate_deflate_compress; returns 0 when there is too little room. */
  f(compressor: number, input: number, size: number, output: number, room: number): number;
  /** libdeflate_deflate_compress_bound */
  h(compressor: number, size: number): number;
  /** malloc */
  n(size: number): number;
  /** free */
  o(pointer: number): void;
}

const WASM_PAGE = 64 * 1024;

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

let opened: RawCodec | undefined;

/** @param module of another thread's; absent: the package's */
export function openLibdeflate(module?: WasmModule): RawCodec {
  opened ??= new Libdeflate(module ?? compile());
  return opened;
}

function compile(): WasmModule {
  const entry = pathToFileURL(createRequire(import.meta.url).resolve('libdeflate'));
  // The package exports its index only; the module beside it is reached by its place. The version is pinned exactly.
  const wasm = embeddedIn(readFileSync(new URL('./dist/libdeflate.wasm.mjs', entry), 'latin1'));
  if (!wasm) {
    throw new HotlayerError('HL_ERR_BUG', 'the installed package libdeflate is not the one hotlayer was made with', {
      hint: 'install the dependencies again with npm ci',
    });
  }
  return new WebAssembly.Module(widened(wasm) ?? wasm);
}

/** The WebAssembly in a script that Emscripten made to be one file. */
export function embeddedIn(script: string): Uint8Array<ArrayBuffer> | undefined {
  const base64 = /"data:application\/octet-stream;base64,([A-Za-z0-9+/=]+)"/.exec(script)?.[1];
  return base64 === undefined ? undefined : new Uint8Array(Buffer.from(base64, 'base64'));
}

class Libdeflate implements RawCodec {
  private readonly compressors = new Map<number, number>();
  private input = { at: 0, size: 0 };
  private output = { at: 0, size: 0 };
  private view: Uint8Array | undefined;

  /** The version that package.json pins; the self-test holds it to that. */
  readonly id = 'libdeflate-0.1.0';

  private readonly wasm: Exports;

  constructor(readonly module: WasmModule) {
    // What Emscripten's own start-up code has for it: more memory, at least `size` bytes in all; and copying.
    const a = (size: number) => {
      const memory = this.wasm.c;
      try {
        memory.grow(Math.ceil((size - memory.buffer.byteLength) / WASM_PAGE));
        return 1;
      } catch {
        return 0;
      }
    };
    const b = (to: number, from: number, length: number) => {
      this.memory().copyWithin(to, from, from + length);
      return to;
    };
    this.wasm = new WebAssembly.Instance(module, { a: { a, b } }).exports as Exports;
    this.wasm.d();
  }

  gzip(bytes: Uint8Array, level: number): Buffer {
    const { wasm } = this;
    const compressor = this.compressor(level);
    const room = wasm.h(compressor, bytes.length);
    this.input = this.grow(this.input, bytes.length);
    this.output = this.grow(this.output, HEADER.length + room + TRAILER_SIZE);
    const { at } = this.output;
    this.memory().set(bytes, this.input.at);
    const written = wasm.f(compressor, this.input.at, bytes.length, at + HEADER.length, room);
    if (written === 0) {
      throw new HotlayerError('HL_ERR_BUG', `libdeflate did not compress ${bytes.length} bytes into ${room}`);
    }
    const member = Buffer.from(wasm.c.buffer, at, HEADER.length + written + TRAILER_SIZE);
    HEADER.copy(member);
    member.writeUInt32LE(crc32(bytes), HEADER.length + written);
    member.writeUInt32LE(bytes.length, HEADER.length + written + 4);
    return member;
  }

  /** Another one after every growth. */
  private memory(): Uint8Array {
    const { buffer } = this.wasm.c;
    if (this.view?.buffer !== buffer) this.view = new Uint8Array(buffer);
    return this.view;
  }

  private compressor(level: number): number {
    let pointer = this.compressors.get(level);
    if (pointer === undefined) {
      const tuning = TUNINGS.get(level);
      pointer = this.wasm.e(tuning?.of ?? level);
      if (pointer === 0) throw new HotlayerError('HL_ERR_BUG', `libdeflate has no compressor of level ${level}`);
      if (tuning) this.tune(pointer, tuning, level);
      this.compressors.set(level, pointer);
    }
    return pointer;
  }

  private tune(compressor: number, { fields }: Tuning, level: number): void {
    const memory = new DataView(this.wasm.c.buffer);
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
    if (area.at !== 0) this.wasm.o(area.at);
    const wanted = Math.max(size, 64 * 1024);
    const at = this.wasm.n(wanted);
    if (at === 0) {
      throw new HotlayerError('HL_ERR_LIMIT', `libdeflate's memory has no room for a member of ${size} bytes`, {
        hint: 'use a smaller --chunk-size, or --codec zlib',
      });
    }
    return { at, size: wanted };
  }
}
