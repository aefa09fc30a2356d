// Event lines → events without JSON.parse, which is most of the time that a large trace takes. Only lines of the very
// form that formatEvent writes are read here, and of those the plain ones; of all others the caller makes what
// JSON.parse and the checks say. So this never decides that a line is wrong.
import type { Op, TraceEvent } from './events.js';

/** The JSON object that formatEvent writes, without its newline. */
export class EventScanner {
  readonly #names = new NameTable();
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;
  #end = 0;
  /** Something that is not as expected was found: nothing read since means anything. */
  #other = false;

  /**
   * @param from @param to the line, without its newline
   * @returns the event that JSON.parse gives, and that passes all checks; undefined for a line that must be read by it
   */
  scan(bytes: Buffer, from: number, to: number): TraceEvent | undefined {
    this.#bytes = bytes;
    this.#at = from;
    this.#end = to;
    this.#other = false;
    if (!this.#skip(T)) return undefined;
    const negative = this.#skip(MINUS);
    const magnitude = this.#natural();
    // JSON has a negative zero.
    if (negative && magnitude === 0) return undefined;
    const t = negative ? -magnitude : magnitude;
    const op = this.#op();
    if (op === undefined) return undefined;
    const path = this.#name();
    if (!path.startsWith('/')) return undefined;
    const ranged = op === 'read';
    const offset = ranged ? this.#member(OFFSET) : 0;
    const length = ranged ? this.#member(LENGTH) : 0;
    const pid = this.#member(PID);
    const comm = this.#skip(COMM) ? this.#name() : undefined;
    const parent = this.#skip(PARENT) ? this.#positive() : undefined;
    const errno = this.#skip(ERRNO) ? this.#positive() : undefined;
    const exec = this.#skip(EXEC);
    const dur = this.#member(DUR);
    if (this.#at !== to - 1 || bytes[this.#at] !== BRACE || this.#other || (exec && op !== 'open')) return undefined;
    // Nearly all are one of these two: literals, for adding members one by one takes longer than all of the above.
    if (comm !== undefined && parent === undefined && errno === undefined && !exec) {
      return ranged ? { t, op, path, offset, length, pid, comm, dur } : { t, op, path, pid, comm, dur };
    }
    return {
      ...{ t, op, path },
      ...(ranged ? { offset, length } : undefined),
      pid,
      ...(comm === undefined ? undefined : { comm }),
      ...(parent === undefined ? undefined : { parent }),
      ...(errno === undefined ? undefined : { errno }),
      ...(exec ? { exec } : undefined),
      dur,
    };
  }

  /** Goes on behind the text, if it is the next. */
  #skip(text: Uint8Array): boolean {
    const bytes = this.#bytes;
    const at = this.#at;
    if (at + text.length > this.#end) return false;
    for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text[i]) return false;
    this.#at = at + text.length;
    return true;
  }

  #op(): Op | undefined {
    for (const [text, op] of OPS) if (this.#skip(text)) return op;
    return undefined;
  }

  #member(name: Uint8Array): number {
    if (!this.#skip(name)) this.#other = true;
    return this.#natural();
  }

  #positive(): number {
    const value = this.#natural();
    if (value === 0) this.#other = true;
    return value;
  }

  /** Digits as JSON allows them, few enough to be exact. */
  #natural(): number {
    const bytes = this.#bytes;
    const from = this.#at;
    const end = Math.min(this.#end, from + MAX_DIGITS + 1);
    let at = from;
    let value = 0;
    for (; at < end; at++) {
      const digit = bytes[at]! - ZERO;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
    }
    const digits = at - from;
    if (digits === 0 || digits > MAX_DIGITS || (digits > 1 && bytes[from] === ZERO)) this.#other = true;
    this.#at = at;
    return value;
  }

  /** What is left of a string after its quotation mark, without escapes. */
  #name(): string {
    const bytes = this.#bytes;
    const from = this.#at;
    const end = this.#end;
    let hash = 0;
    let at = from;
    for (; at < end; at++) {
      const byte = bytes[at]!;
      if (byte === QUOTE) break;
      if (byte < 0x20 || byte > 0x7e || byte === BACKSLASH) {
        this.#other = true;
        return '';
      }
      hash = Math.imul(hash ^ byte, HASH_PRIME);
    }
    this.#at = at + 1;
    return this.#names.at(bytes, from, at, hash);
  }
}

/** Strings by their bytes, each made once: a trace says the same names again and again. */
class NameTable {
  /** Number of the name, from 1, by hash; twice as many places as names at least. */
  #places = new Uint32Array(4096);
  readonly #names: string[] = [''];
  readonly #hashes: number[] = [0];

  at(bytes: Buffer, from: number, to: number, hash: number): string {
    let mask = this.#places.length - 1;
    let place = (hash ^ (hash >>> 15)) & mask;
    for (let number = this.#places[place]!; number !== 0; number = this.#places[place]!) {
      if (this.#hashes[number] === hash && sameText(this.#names[number]!, bytes, from, to)) return this.#names[number]!;
      place = (place + 1) & mask;
    }
    const name = bytes.toString('latin1', from, to);
    if (this.#names.length >= MAX_NAMES) return name;
    if (2 * this.#names.length > this.#places.length) {
      this.#grow();
      mask = this.#places.length - 1;
      place = this.#free(hash);
    }
    this.#places[place] = this.#names.length;
    this.#names.push(name);
    this.#hashes.push(hash);
    return name;
  }

  #free(hash: number): number {
    const mask = this.#places.length - 1;
    let place = (hash ^ (hash >>> 15)) & mask;
    while (this.#places[place] !== 0) place = (place + 1) & mask;
    return place;
  }

  #grow(): void {
    this.#places = new Uint32Array(2 * this.#places.length);
    for (let number = 1; number < this.#names.length; number++)
      this.#places[this.#free(this.#hashes[number]!)] = number;
  }
}

function sameText(text: string, bytes: Buffer, from: number, to: number): boolean {
  if (text.length !== to - from) return false;
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) !== bytes[from + i]) return false;
  return true;
}

/** More names are not kept: a trace of millions of files must not hold them all twice. */
const MAX_NAMES = 1 << 18;
/** 10^15 is exact, 10^16 need not be. */
const MAX_DIGITS = 15;
/** FNV-1a's. */
const HASH_PRIME = 16777619;
const [ZERO, QUOTE, BACKSLASH, BRACE] = [0x30, 0x22, 0x5c, 0x7d];

const ascii = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'latin1'));
const [T, MINUS, EXEC] = [ascii('{"t":'), ascii('-'), ascii(',"exec":true')];
const [OFFSET, LENGTH, PID] = [ascii(',"offset":'), ascii(',"length":'), ascii(',"pid":')];
const [PARENT, ERRNO, DUR] = [ascii(',"parent":'), ascii(',"errno":'), ascii(',"dur":')];
const COMM = ascii(',"comm":"');
/** Most frequent first; with all up to the path's first byte. */
const OPS = (['read', 'open', 'lookup', 'getattr', 'readlink', 'readdir', 'getxattr'] as const).map(
  (op): readonly [Uint8Array, Op] => [ascii(`,"op":"${op}","path":"`), op],
);
