// What an image says about its own start: which bytes of its blobs hold the chunks that a start needs, first needed
// first, in an annotation of the manifest. Whoever has the manifest can ask for them before it has a single TOC; when the
// TOCs come they say what the bytes must be. Pure.
import { HotlayerError } from '../errors.js';
import { type Bytes, KIB } from '../units.js';
import { type MemberTable, memberEnd, memberStart } from './chunk-table.js';
import { memberRangeEnd, type Wish } from './fetch-plan.js';

/** Of the manifest; the value is what `formatStart` makes. */
export const START_ANNOTATION = 'io.hotlayer.start';

/** Type of an artifact about an image that holds a profile of it; its manifest has the same annotation. */
export const PROFILE_ARTIFACT = 'application/vnd.hotlayer.profile.v1+json';

/** Bytes of one blob, fetched by one request: ascending, disjoint pieces of whole members. */
export interface StartGroup {
  readonly layer: number;
  readonly pieces: readonly (readonly [offset: Bytes, length: Bytes])[];
}

/** Compressed bytes of which the order does not matter any more: what lies between them in a blob comes in its order. */
const WINDOW: Bytes = 96 * KIB;
/** A gap this small is fetched: a piece of its own costs as much in the answer. */
const GAP: Bytes = 160;
/** More ranges make a request that some servers refuse. */
export const MAX_PIECES = 96;
const MAX_GROUPS = 100_000;

/** Which requests fetch the chunks. */
export function startGroups(tables: readonly (MemberTable | undefined)[], wishes: Iterable<Wish>): StartGroup[] {
  const groups: StartGroup[] = [];
  const taken = new Set<string>();
  let window = new Map<number, number[]>();
  let held = 0;
  const close = (): void => {
    for (const [layer, members] of window) groups.push(...joined(tables[layer]!, layer, members));
    window = new Map();
    held = 0;
  };
  for (const [layer, chunk] of wishes) {
    const table = tables[layer];
    if (!table) continue;
    const first = memberStart(table, chunk);
    const key = `${layer} ${first}`;
    if (taken.has(key)) continue;
    taken.add(key);
    const members = window.get(layer);
    if (members) members.push(first);
    else window.set(layer, [first]);
    held += memberRangeEnd(table, memberEnd(table, first) - 1) - table.chunks[first]!.offset;
    if (held >= WINDOW) close();
  }
  close();
  return groups;
}

function* joined(table: MemberTable, layer: number, members: readonly number[]): Generator<StartGroup> {
  let pieces: [number, number][] = [];
  for (const first of [...members].sort((a, b) => a - b)) {
    const start = table.chunks[first]!.offset;
    const end = memberRangeEnd(table, memberEnd(table, first) - 1);
    const last = pieces.at(-1);
    if (last && start - last[0] - last[1] <= GAP) {
      last[1] = Math.max(last[1], end - last[0]);
      continue;
    }
    if (pieces.length === MAX_PIECES) {
      yield { layer, pieces };
      pieces = [];
    }
    pieces.push([start, end - start]);
  }
  if (pieces.length > 0) yield { layer, pieces };
}

/** `0:0+4096,9000+512 1:70+80`: each group its layer, then offset and length of each piece. */
export function formatStart(groups: readonly StartGroup[]): string {
  return groups.map(({ layer, pieces }) => `${layer}:${pieces.map(([at, n]) => `${at}+${n}`).join(',')}`).join(' ');
}

/**
 * @param sizes of the layers' blobs
 * @throws HL_ERR_IMAGE when it is not of that form, or leads out of the blobs
 */
export function parseStart(text: string, sizes: readonly Bytes[]): StartGroup[] {
  const words = text === '' ? [] : text.split(' ');
  if (words.length > MAX_GROUPS) throw broken(`${words.length} requests`);
  return words.map((word) => {
    const [, layer, list] = /^(\d{1,6}):(\d+\+\d+(?:,\d+\+\d+)*)$/.exec(word) ?? [];
    const size = layer === undefined ? undefined : sizes[Number(layer)];
    if (size === undefined) throw broken(JSON.stringify(word.slice(0, 40)));
    let end = 0;
    const pieces = list!.split(',').map((piece): [number, number] => {
      const [at, length] = piece.split('+').map(Number) as [number, number];
      if (at < end || length <= 0 || !(at + length <= size))
        throw broken(`${layer}:${piece} in a blob of ${size} bytes`);
      end = at + length;
      return [at, length];
    });
    if (pieces.length > MAX_PIECES) throw broken(`${pieces.length} pieces in one request`);
    return { layer: Number(layer), pieces };
  });
}

function broken(found: string): HotlayerError {
  return new HotlayerError(
    'HL_ERR_IMAGE',
    `annotation ${START_ANNOTATION}: expected LAYER:OFFSET+LENGTH,… ascending and inside the blob, found ${found}`,
  );
}
