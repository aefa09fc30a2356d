// Makes the npm package's WebAssembly faster without changing what it computes. The package is built without SIMD, so
// libdeflate clears its hash tables (192 KiB for every member) and ages them (256 KiB for every 32 KiB of input) two
// bytes at a time: a fifth of the time with large files, half of it with small ones. Those loops are overwritten, in
// place and with instructions that take no more room, by the same loops in steps of 64 and 32 bytes. Nothing else is
// touched; the codec's self-test and a test that compares both forms hold the output to the byte.
//
// Both loops run over 16-bit positions, I counting them from 0 to N, at the address A + 2 I (libdeflate,
// matchfinder_common.h):
//   clear: p = -32768                                              unrolled eight times
//   age:   p = p > 0 ? p | -32768 : -32768, which is saturating p - 32768      unrolled four times

/** The types of Node do not have it. */
declare const WebAssembly: { validate(module: Uint8Array): boolean };

/** One byte: the number of a local, all of which are below 128. `<s>…` is remembered under the name. */
const local = (name: string): string => `\\x20(?<${name}>.)`;
const same = (name: string): string => `\\x20\\k<${name}>`;
/** i32.const 32768, i32.store16 */
const MARK = '\\x41\\x80\\x80\\x02';
const STORE16 = '\\x3b\\x01\\x00';
/** loop; A + (T = I << 1) */
const BEGIN = `\\x03\\x40${local('a')}${local('i')}\\x41\\x01\\x74\\x22(?<t>.)\\x6a`;
/** A + (T | k) */
const NEXT = `${same('a')}${same('t')}\\x41.\\x72\\x6a`;
/** I += step; until I == N */
const end = (step: number): string =>
  `${same('i')}\\x41\\x0${step}\\x6a\\x22\\k<i>\\x41(?<n>[\\x80-\\xff]*[\\x00-\\x7f])\\x47\\x0d\\x00`;

/** x = address; x = the position there; x > 0 ? x : 0; | 32768; store. Each time with a local of its own. */
const AGED = (x: string): string =>
  `\\x22(?<${x}>.)${same(x)}\\x2e\\x01\\x00\\x22\\k<${x}>\\x41\\x00${same(x)}\\x41\\x00\\x4a\\x1b${MARK}\\x72${STORE16}`;

const CLEAR = new RegExp(`${BEGIN}${MARK}${STORE16}(?:${NEXT}${MARK}${STORE16}){7}${end(8)}`, 'gs');
const AGE = new RegExp(`${BEGIN}${AGED('p')}${NEXT}${AGED('q')}${NEXT}${AGED('r')}${NEXT}${AGED('s')}${end(4)}`, 'gs');

/** How many of each there are in the module of libdeflate 0.1.0. */
const LOOPS = { clear: 5, age: 15 };

const SPLAT = `\xfd\x0c${'\x00\x80'.repeat(8)}`;
/** Of sixteen bytes, so far behind the address. */
const v128Load = (offset: number): string => `\xfd\x00\x01${String.fromCharCode(offset)}`;
const v128Store = (offset: number): string => `\xfd\x0b\x01${String.fromCharCode(offset)}`;
const I16X8_ADD_SAT_S = '\xfd\x8f\x01';
const NOP = '\x01';
const VECTOR_BYTES = 16;
/** Vectors in one turn of a wide loop: as many as there is room for. The number of positions is a multiple of all. */
const VECTORS = { clear: 4, age: 2 };

/** @returns the module with wide loops; undefined when it is not the known one, or this machine has no SIMD */
export function widened(wasm: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> | undefined {
  const found = { clear: 0, age: 0 };
  const text = Buffer.from(wasm.buffer, wasm.byteOffset, wasm.byteLength)
    .toString('latin1')
    .replace(CLEAR, (scalar, ...rest) => {
      found.clear += 1;
      return wide(scalar, rest.at(-1) as Loop, VECTORS.clear, () => SPLAT);
    })
    .replace(AGE, (scalar, ...rest) => {
      found.age += 1;
      return wide(
        scalar,
        rest.at(-1) as Loop,
        VECTORS.age,
        (address, offset) => `${address}${v128Load(offset)}${SPLAT}${I16X8_ADD_SAT_S}`,
      );
    });
  if (found.clear !== LOOPS.clear || found.age !== LOOPS.age) return undefined;
  const module = new Uint8Array(Buffer.from(text, 'latin1'));
  return WebAssembly.validate(module) ? module : undefined;
}

interface Loop {
  readonly a: string;
  readonly i: string;
  /** The scalar loop keeps I << 1 in it. */
  readonly t: string;
  /** LEB128, as it stands there. */
  readonly n: string;
}

/**
 * loop; T = A + (I << 1); for each vector: T, value, v128.store; I += what they hold; until I == N. As long as the scalar
 * one: a function's size stays.
 */
function wide(
  scalar: string,
  { a, i, t, n }: Loop,
  vectors: number,
  value: (address: string, offset: number) => string,
): string {
  const stores = Array.from({ length: vectors }, (_, k) => {
    const offset = k * VECTOR_BYTES;
    return `\x20${t}${value(`\x20${t}`, offset)}${v128Store(offset)}`;
  });
  const step = String.fromCharCode((vectors * VECTOR_BYTES) / 2);
  const code = `\x03\x40\x20${a}\x20${i}\x41\x01\x74\x6a\x21${t}${stores.join('')}\x20${i}\x41${step}\x6a\x22${i}\x41${n}\x47\x0d\x00`;
  return code + NOP.repeat(scalar.length - code.length);
}
