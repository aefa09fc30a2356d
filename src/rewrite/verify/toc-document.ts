// The TOC as verification reads it: JSON from the blob → entries whose every field has been type-checked.
// (estargz.md "TOC": names, types and what an absent field means.)
import { HotlayerError } from '../../errors.js';
import { endOfValue, splitToc } from './json-list.js';

export interface TocField {
  readonly name: string;
  readonly type: string;
  readonly size: number;
  /** RFC 3339, "" when absent: the epoch or no time at all. */
  readonly modtime: string;
  readonly linkName: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Absent: the last one given for this uid (gid) holds. */
  readonly userName: string | undefined;
  readonly groupName: string | undefined;
  readonly offset: number | undefined;
  readonly innerOffset: number;
  readonly devMajor: number;
  readonly devMinor: number;
  /** Base64 by name. */
  readonly xattrs: Readonly<Record<string, string>>;
  readonly digest: string;
  readonly chunkOffset: number;
  /** 0: to the end of the file. */
  readonly chunkSize: number;
  readonly chunkDigest: string;
}

/** A file and the chunks after its first. */
export interface TocItem {
  readonly entry: TocField;
  readonly chunks: readonly TocField[];
}

/**
 * A file after the other: all of a large TOC at once, as objects, would be ten times its size.
 * @throws HL_ERR_STARGZ naming the entry and field that is not what it must be, when the iteration comes to it; what is
 * wrong with the document as a whole, at once
 */
export function tocItems(json: Buffer): Generator<TocItem> {
  const { outline, list } = splitToc(json);
  let document: unknown;
  try {
    document = JSON.parse(outline);
  } catch (cause) {
    throw notJson(cause);
  }
  if (!isRecord(document) || document.version !== 1) {
    const found = isRecord(document) ? JSON.stringify(document.version) : undefined;
    throw bad(`TOC version is ${found ?? 'missing'}; expected 1`);
  }
  // Go writes an empty list of entries as null.
  if (!Array.isArray(document.entries ?? [])) throw bad('TOC "entries" is not a list');
  return group(parts(json, list));
}

function* group(raws: Iterable<unknown>): Generator<TocItem> {
  let item: { entry: TocField; chunks: TocField[] } | undefined;
  let i = 0;
  for (const raw of raws) {
    const field = parseField(raw, i);
    if (field.type !== 'chunk') {
      if (item) yield item;
      item = { entry: field, chunks: [] };
    } else if (item) item.chunks.push(field);
    else throw bad(`TOC entry ${i} is a chunk with no file before it`);
    i += 1;
  }
  if (item) yield item;
}

/** What stands between the brackets of a list: values and the commas between them. */
function* parts(json: Buffer, [start, end]: readonly [number, number]): Generator<unknown> {
  for (let at = start; at < end; ) {
    const stop = endOfValue(json, at, end);
    let value: unknown;
    try {
      value = JSON.parse(json.toString('utf8', at, stop));
    } catch (cause) {
      throw notJson(cause);
    }
    yield value;
    at = stop + 1;
    if (stop < end && at === end) throw notJson(new Error('a comma ends the list of entries'));
  }
}

function parseField(raw: unknown, i: number): TocField {
  if (!isRecord(raw)) throw bad(`TOC entry ${i} is not an object`);
  const where = `TOC entry ${i} (${JSON.stringify(raw.name)})`;
  const text = (key: string): string | undefined => {
    const value = raw[key];
    if (value === undefined || typeof value === 'string') return value;
    throw bad(`${where}: "${key}" is ${JSON.stringify(value)}; expected a string`);
  };
  const integer = (key: string): number | undefined => {
    const value = raw[key];
    if (value === undefined || Number.isSafeInteger(value)) return value as number | undefined;
    throw bad(`${where}: "${key}" is ${JSON.stringify(value)}; expected an integer`);
  };
  const name = text('name');
  const type = text('type');
  if (name === undefined || type === undefined) throw bad(`${where}: "name" or "type" is missing`);
  const xattrs = raw.xattrs ?? {};
  if (!isRecord(xattrs) || !Object.values(xattrs).every((value) => typeof value === 'string')) {
    throw bad(`${where}: "xattrs" is not an object of base64 strings`);
  }
  return {
    name,
    type,
    size: integer('size') ?? 0,
    modtime: text('modtime') ?? '',
    linkName: text('linkName') ?? '',
    mode: integer('mode') ?? 0,
    uid: integer('uid') ?? 0,
    gid: integer('gid') ?? 0,
    userName: text('userName'),
    groupName: text('groupName'),
    offset: integer('offset'),
    innerOffset: integer('innerOffset') ?? 0,
    devMajor: integer('devMajor') ?? 0,
    devMinor: integer('devMinor') ?? 0,
    xattrs: xattrs as Record<string, string>,
    digest: text('digest') ?? '',
    chunkOffset: integer('chunkOffset') ?? 0,
    chunkSize: integer('chunkSize') ?? 0,
    chunkDigest: text('chunkDigest') ?? '',
  };
}

function notJson(cause: unknown): HotlayerError {
  return bad(`the TOC is not JSON: ${(cause as Error).message}`, cause);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function bad(message: string, cause?: unknown): HotlayerError {
  return new HotlayerError('HL_ERR_STARGZ', message, { cause });
}
