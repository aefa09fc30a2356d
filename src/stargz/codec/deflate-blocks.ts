// A look at a DEFLATE stream (RFC 1951) without inflating it: which of its blocks is the last, and at which bit that ends.
// It is what is needed to join streams that were compressed apart, on several threads, into one.

interface Bits {
  readonly bytes: Uint8Array;
  /** Counted from the least significant bit of the first byte. */
  at: number;
}

/** Symbols by the bits that follow, least significant first: symbol << 4 | length of its code. */
interface Codes {
  readonly table: Uint16Array;
  /** Of the longest code. */
  readonly bits: number;
}

const END_OF_BLOCK = 256;
const FIRST_LENGTH = 257;
/** Section 3.2.5: bits that follow the code of a length, and that of a distance. */
const LENGTH_EXTRA = Uint8Array.from({ length: 29 }, (_, i) => (i < 8 || i === 28 ? 0 : (i >> 2) - 1));
const DISTANCE_EXTRA = Uint8Array.from({ length: 30 }, (_, i) => (i < 4 ? 0 : (i >> 1) - 1));
/** Section 3.2.7: the order in which the lengths of the code lengths' own codes stand. */
const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/** Section 3.2.6, made when it is first needed. */
let fixed: { readonly literals: Codes; readonly distances: Codes } | undefined;

/** @param bytes a whole stream @returns bits: where its last block begins, and where that ends */
export function lastBlock(bytes: Uint8Array): { readonly start: number; readonly end: number } {
  const bits: Bits = { bytes, at: 0 };
  for (;;) {
    const start = bits.at;
    const isLast = take(bits, 1) === 1;
    const type = take(bits, 2);
    if (type === 0) skipStored(bits);
    else if (type === 1) {
      fixed ??= fixedCodes();
      skipCoded(bits, fixed.literals, fixed.distances);
    } else if (type === 2) {
      const { literals, distances } = dynamicCodes(bits);
      skipCoded(bits, literals, distances);
    } else throw new Error(`a block of the unknown type ${type} at bit ${start}`);
    if (bits.at > 8 * bytes.length) throw new Error('the stream is cut off');
    if (isLast) return { start, end: bits.at };
  }
}

/**
 * The same stream to be gone on with: its last block is not marked as the last, and an empty stored block behind it ends
 * on a whole byte.
 */
export function withOpenEnd(bytes: Uint8Array): Buffer {
  const { start, end } = lastBlock(bytes);
  // Three bits say: not the last, stored. Up to the byte's end there are zeros; then length 0 and its complement.
  const length = Math.ceil((end + 3) / 8);
  const open = Buffer.alloc(length + 4);
  open.set(bytes.subarray(0, Math.ceil(end / 8)));
  open[start >> 3]! &= ~(1 << (start & 7));
  if ((end & 7) !== 0) open[end >> 3]! &= (1 << (end & 7)) - 1;
  open.writeUInt32LE(0xffff_0000, length);
  return open;
}

/** Up to 16 bits from where the stream is, zeros behind its end. */
function peek({ bytes, at }: Bits): number {
  const i = at >>> 3;
  return ((bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16)) >>> (at & 7)) & 0xffff;
}

function take(bits: Bits, count: number): number {
  const value = peek(bits) & ((1 << count) - 1);
  bits.at += count;
  return value;
}

/** Section 3.2.4. */
function skipStored(bits: Bits): void {
  bits.at = 8 * Math.ceil(bits.at / 8);
  const length = take(bits, 16);
  bits.at += 16 + 8 * length;
}

function skipCoded(bits: Bits, literals: Codes, distances: Codes): void {
  const { bytes } = bits;
  const literalMask = (1 << literals.bits) - 1;
  const distanceMask = (1 << distances.bits) - 1;
  const end = 8 * bytes.length;
  let { at } = bits;
  // `peek`, written out: this is where the time goes.
  while (at < end) {
    let i = at >>> 3;
    const code =
      literals.table[((bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16)) >>> (at & 7)) & literalMask]!;
    if (code === 0) throw new Error(`no code at bit ${at}`);
    const symbol = code >>> 4;
    at += code & 15;
    if (symbol < END_OF_BLOCK) continue;
    if (symbol === END_OF_BLOCK) break;
    at += LENGTH_EXTRA[symbol - FIRST_LENGTH]!;
    i = at >>> 3;
    const distance =
      distances.table[((bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16)) >>> (at & 7)) & distanceMask]!;
    at += (distance & 15) + DISTANCE_EXTRA[distance >>> 4]!;
  }
  bits.at = at;
}

/** Section 3.2.7. */
function dynamicCodes(bits: Bits): { literals: Codes; distances: Codes } {
  const literalCount = take(bits, 5) + 257;
  const distanceCount = take(bits, 5) + 1;
  const ownCount = take(bits, 4) + 4;
  const own = new Uint8Array(ORDER.length);
  for (let i = 0; i < ownCount; i++) own[ORDER[i]!] = take(bits, 3);
  const codes = codesOf(own);
  const lengths = new Uint8Array(literalCount + distanceCount);
  for (let i = 0; i < lengths.length; ) {
    const code = codes.table[peek(bits) & ((1 << codes.bits) - 1)]!;
    bits.at += code & 15;
    const symbol = code >>> 4;
    if (symbol < 16) {
      lengths[i++] = symbol;
      continue;
    }
    const repeat = symbol === 16 ? 3 + take(bits, 2) : symbol === 17 ? 3 + take(bits, 3) : 11 + take(bits, 7);
    lengths.fill(symbol === 16 ? lengths[i - 1]! : 0, i, i + repeat);
    i += repeat;
  }
  return { literals: codesOf(lengths.subarray(0, literalCount)), distances: codesOf(lengths.subarray(literalCount)) };
}

function fixedCodes(): { literals: Codes; distances: Codes } {
  const lengths = new Uint8Array(288).fill(8, 0, 144).fill(9, 144, 256).fill(7, 256, 280).fill(8, 280);
  return { literals: codesOf(lengths), distances: codesOf(new Uint8Array(30).fill(5)) };
}

/** Section 3.2.2: codes are given by their lengths alone, shorter ones first, then in the order of the symbols. */
function codesOf(lengths: Uint8Array): Codes {
  let bits = 1;
  for (const length of lengths) bits = Math.max(bits, length);
  const table = new Uint16Array(1 << bits);
  let code = 0;
  for (let length = 1; length <= bits; length++) {
    for (let symbol = 0; symbol < lengths.length; symbol++) {
      if (lengths[symbol] !== length) continue;
      const entry = (symbol << 4) | length;
      for (let i = reversed(code, length); i < table.length; i += 1 << length) table[i] = entry;
      code += 1;
    }
    code <<= 1;
  }
  return { table, bits };
}

/** Codes stand in the stream with their most significant bit first. */
function reversed(code: number, length: number): number {
  let out = 0;
  for (let i = 0; i < length; i++) out |= ((code >> i) & 1) << (length - 1 - i);
  return out;
}
