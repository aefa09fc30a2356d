// The compressors behind one seam. What a member's bytes are depends on the codec, the level and the input, on
// nothing else: not on the machine, the number of cores or the Node version. Each codec proves that when it is opened.
import { HotlayerError } from '../../errors.js';
import { MIB } from '../../units.js';
import { openLibdeflate, TUNED_LEVELS, type WasmModule } from './libdeflate.js';
import { selfTest } from './selftest.js';
import { openPako, openZlib } from './zlib.js';

export const CODECS = ['libdeflate', 'zlib', 'pako'] as const;
export type CodecName = (typeof CODECS)[number];

/**
 * Levels accepted by each codec, and the one used when none is asked for. libdeflate's are 1 to 12 as it has them, and two of
 * ours between those (libdeflate.ts). What they make of three layers (bench/convert), over what estargz makes at Go's level 9,
 * and how fast on one core, member by member, over level 5:
 *
 *   level   Debian with python3    60 000 small files    7 big files
 *     4       0.995   1.21           1.019   1.17          0.994   1.07
 *     4.5     0.987   1.23           0.995   1.10          0.987   1.28
 *     5       0.974   1              0.988   1             0.972   1
 *
 * So 4.5 is about as fast as 4 and smaller; 5 saves another 1 % for a fifth of the time, 6 another 0.5 %. Level 5 makes some 70 MB/s.
 * Of the text of JavaScript packages 4.5 makes 2.7 % more than 5, and 0.8 % more than 4.
 * zlib 9 saves 1 % of zlib 6 in four times its time.
 *
 * `hot` is for what clients fetch before the start, as long as there is little of it (`defaultHotLevel`), over level 5 again: of
 * python's modules and libraries libdeflate 9 makes 0.987, 9.5 makes 0.977 and 10 makes 0.962, and of every twentieth file of that
 * layer 0.985, 0.982 and 0.963, at 18, 15 and 9 MB/s. 12 gains another 0.1 % at half the rate of 10.
 */
export const LEVELS: Record<
  CodecName,
  {
    readonly min: 1;
    readonly max: number;
    /** Levels that are no whole numbers. */
    readonly between: readonly number[];
    readonly default: number;
    readonly hot: number;
  }
> = {
  libdeflate: { min: 1, max: 12, between: TUNED_LEVELS, default: 4.5, hot: 9.5 },
  zlib: { min: 1, max: 9, between: [], default: 6, hot: 9 },
  pako: { min: 1, max: 9, between: [], default: 6, hot: 9 },
};

/** Content up to which the higher level costs one layer no more than about four seconds on one core (64 MiB at 15 MB/s). */
export const HOT_LEVEL_BYTES = 64 * MIB;

/**
 * The level for a layer's hot entries when none is asked for: never below the level of the rest.
 * @param hotBytes uncompressed content of the hot entries
 */
export function defaultHotLevel(codec: Pick<Codec, 'name' | 'level'>, hotBytes: number): number {
  return hotBytes <= HOT_LEVEL_BYTES ? Math.max(codec.level, LEVELS[codec.name].hot) : codec.level;
}

export const DEFAULT_CODEC: CodecName = 'libdeflate';

/** Can be sent to a thread. */
export interface GivenCodec {
  readonly name: CodecName;
  readonly level: number;
  readonly module?: WasmModule;
}

export interface Codec {
  readonly name: CodecName;
  /** Names the compressor with its version: two outputs of the same id and level are the same bytes. */
  readonly id: string;
  readonly level: number;
  /** For other threads of this process: `openCodec` makes the same of it, and sooner. */
  readonly given: GivenCodec;
  /**
   * One gzip member (RFC 1952) holding `bytes`: no name, no time, operating system 255 (unknown).
   * @param level in the codec's range; absent: the level the codec was opened with
   */
  gzip(bytes: Uint8Array, level?: number): Buffer;
  /** The same in memory that the next call may use again. */
  gzipBorrowed(bytes: Uint8Array, level?: number): Buffer;
}

/**
 * What a compressor has to offer: a gzip member with whatever header it likes, in memory that it may use again with the
 * next call; `openCodec` makes the header uniform.
 */
export interface RawCodec {
  readonly id: string;
  /** Of a compiled one. */
  readonly module?: WasmModule;
  gzip(bytes: Uint8Array, level: number): Buffer;
}

/**
 * @param level absent: the codec's default
 * @throws HL_ERR_USAGE for an unknown codec or a level out of its range
 * @throws HL_ERR_MACHINE when this Node's zlib does not make the reference bytes
 */
export async function openCodec(name: CodecName, level: number = LEVELS[name]?.default): Promise<Codec> {
  if (!CODECS.includes(name)) {
    throw new HotlayerError('HL_ERR_USAGE', `"${name}" is not a codec; expected one of ${CODECS.join(', ')}`);
  }
  checkLevel(name, level);
  const codec = codecOf(name, level, await OPENERS[name]());
  selfTest(name, codec);
  return codec;
}

/** One that another thread has opened, and tested. */
export async function openGivenCodec({ name, level, module }: GivenCodec): Promise<Codec> {
  return codecOf(name, level, await OPENERS[name](module));
}

function codecOf(name: CodecName, level: number, raw: RawCodec): Codec {
  const gzipBorrowed = (bytes: Uint8Array, atLevel = level) => {
    if (atLevel !== level) checkLevel(name, atLevel);
    return withFixedHeader(raw.gzip(bytes, atLevel), atLevel);
  };
  return {
    name,
    id: raw.id,
    level,
    given: { name, level, ...(raw.module && { module: raw.module }) },
    gzip: (bytes, atLevel) => Buffer.from(gzipBorrowed(bytes, atLevel)),
    gzipBorrowed,
  };
}

const OPENERS: Record<CodecName, (module?: WasmModule) => RawCodec | Promise<RawCodec>> = {
  libdeflate: openLibdeflate,
  zlib: openZlib,
  pako: openPako,
};

function checkLevel(name: CodecName, level: number): void {
  if (hasLevel(name, level)) return;
  throw new HotlayerError(
    'HL_ERR_USAGE',
    `compression level ${level} is not one of ${name}'s; expected ${describeLevels(name)}`,
  );
}

export function hasLevel(name: CodecName, level: number): boolean {
  const { min, max, between } = LEVELS[name];
  return (Number.isInteger(level) && level >= min && level <= max) || between.includes(level);
}

export function describeLevels(name: CodecName): string {
  const { min, max, between } = LEVELS[name];
  return `a whole number ${min} to ${max}${between.map((level) => ` or ${level}`).join('')}`;
}

/**
 * RFC 1952 section 2.3.1, ten bytes: ID1 ID2, CM 8 (deflate), FLG 0, MTIME 0 (none), XFL, OS 255 (unknown).
 * XFL says 2 for the slowest compression and 4 for the fastest, as Go's gzip writes it. The header is not part of
 * the CRC, so it can be laid over the one a library made (zlib writes OS 3, libdeflate 255).
 */
function withFixedHeader(member: Buffer, level: number): Buffer {
  if (member.length < 18 || member.readUInt32BE(0) >>> 8 !== 0x1f8b08 || member[3] !== 0) {
    throw new HotlayerError('HL_ERR_BUG', 'a compressor returned something else than a plain gzip member');
  }
  member.fill(0, 4, 8);
  member[8] = level >= 9 ? 2 : level === 1 ? 4 : 0;
  member[9] = 0xff;
  return member;
}
