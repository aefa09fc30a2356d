// File names are bytes; JSON and Map keys want strings. Names are held as strings everywhere, decoded so
// that no byte is lost: valid UTF-8 as itself, every other byte b as the lone surrogate U+DC00+b
// (Python's "surrogateescape", PEP 383). JSON.stringify writes those as \udcXX and JSON.parse gives them back.
import { isUtf8 } from 'node:buffer';

const ESCAPED = /[\udc80-\udcff]/;
const SURROGATE = /[\ud800-\udfff]/;

/** Bytes of a name or path → string; lossless, see `pathToBytes`. */
export function bytesToPath(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (isUtf8(buffer)) return buffer.toString('utf8');
  let out = '';
  for (let i = 0; i < buffer.length; ) {
    const length = utf8SequenceLength(buffer, i);
    if (length === 0) {
      out += String.fromCharCode(0xdc00 + buffer[i]!);
      i += 1;
    } else {
      out += buffer.toString('utf8', i, i + length);
      i += length;
    }
  }
  return out;
}

/** The inverse of `bytesToPath`. */
export function pathToBytes(path: string): Buffer {
  if (!ESCAPED.test(path)) return Buffer.from(path, 'utf8');
  const parts: Buffer[] = [];
  let plain = '';
  // By code units: an escaped byte is a low surrogate without a high one before it.
  for (let i = 0; i < path.length; i++) {
    const unit = path.charCodeAt(i);
    const previous = i > 0 ? path.charCodeAt(i - 1) : 0;
    const paired = previous >= 0xd800 && previous <= 0xdbff;
    if (unit >= 0xdc80 && unit <= 0xdcff && !paired) {
      parts.push(Buffer.from(plain, 'utf8'), Buffer.from([unit - 0xdc00]));
      plain = '';
    } else {
      plain += path[i];
    }
  }
  parts.push(Buffer.from(plain, 'utf8'));
  return Buffer.concat(parts);
}

/** Whether the name's bytes are valid UTF-8, so that it can be written in a TOC without loss. */
export function isUtf8Path(path: string): boolean {
  return !ESCAPED.test(path) || isUtf8(pathToBytes(path));
}

/** Safe for a terminal and for messages: control characters and bytes that are not UTF-8 as \xNN or \u{…}. */
export function showPath(path: string): string {
  const unsafe =
    /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\\]|[\udc80-\udcff](?<![\ud800-\udbff].)/g;
  return path.replace(unsafe, (c) => {
    const unit = c.charCodeAt(0);
    if (c === '\\') return '\\\\';
    if (unit >= 0xdc80 && unit <= 0xdcff) return `\\x${(unit - 0xdc00).toString(16)}`;
    return unit < 0x100 ? `\\x${unit.toString(16).padStart(2, '0')}` : `\\u{${unit.toString(16)}}`;
  });
}

/** A comparison by bytes, the order that every list of names in an output uses (never by locale). */
export function comparePaths(a: string, b: string): number {
  if (a === b) return 0;
  // UTF-16 order is byte order unless surrogates (astral characters, escaped bytes) take part.
  if (!SURROGATE.test(a) && !SURROGATE.test(b)) return a < b ? -1 : 1;
  return Buffer.compare(pathToBytes(a), pathToBytes(b));
}

/** Sorts in place, in the order of comparePaths; much faster for a long list. */
export function sortPaths(paths: string[]): string[] {
  return paths.some((path) => SURROGATE.test(path)) ? paths.sort(comparePaths) : paths.sort();
}

/**
 * A tar name or link target as a path from the root, as estargz's cleanEntryName: `path.Clean("/" + name)` without
 * the leading slash. `..` never leads above the root; the root itself is `""`.
 */
export function cleanPath(name: string): string {
  // As tar writes them: `./usr/bin/`.
  const from = name.startsWith('./') ? 2 : 0;
  const inner = name.slice(from, name.endsWith('/') ? -1 : undefined);
  if (isClean(inner)) return inner;
  const out: string[] = [];
  for (const part of name.split('/')) {
    if (part === '' || part === '.') continue;
    if (part === '..') out.pop();
    else out.push(part);
  }
  return out.join('/');
}

/** Surely clean, found in few steps: this is asked for every name of an image before it starts. */
function isClean(path: string): boolean {
  return (
    path !== '' &&
    !path.startsWith('/') &&
    !path.startsWith('.') &&
    !path.includes('//') &&
    !path.includes('/.') &&
    !path.endsWith('/')
  );
}

/** Length of the valid UTF-8 sequence at `at`, 0 if there is none (RFC 3629 table: shortest form, no surrogates). */
function utf8SequenceLength(bytes: Buffer, at: number): number {
  const first = bytes[at]!;
  const length =
    first < 0x80
      ? 1
      : first >= 0xc2 && first < 0xe0
        ? 2
        : first >= 0xe0 && first < 0xf0
          ? 3
          : first >= 0xf0 && first < 0xf5
            ? 4
            : 0;
  if (length === 0 || at + length > bytes.length) return 0;
  return isUtf8(bytes.subarray(at, at + length)) ? length : 0;
}
