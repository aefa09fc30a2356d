// What an image says about its own start: claims about bytes of its blobs. Spelled out a second time on purpose.
import type { Image } from '../../image/types.js';
import type { Member } from '../inspect/members.js';
import { START_ANNOTATION } from '../names.js';
import type { Findings } from './findings.js';

/** Offset and length of the pieces of one blob that a start needs. */
export type StartPieces = readonly (readonly [offset: number, length: number])[];

/** The pieces by layer. Adds to `findings` what is not of the form `LAYER:OFFSET+LENGTH,… …`. */
export function readStart(image: Image, findings: Findings): ReadonlyMap<number, StartPieces> {
  const text = image.manifest.annotations?.[START_ANNOTATION];
  const pieces = new Map<number, [number, number][]>();
  for (const word of text === undefined ? [] : text.split(' ')) {
    const [head, list = ''] = word.split(':');
    const parts = list.split(',').map((part) => /^(\d+)\+(\d+)$/.exec(part));
    const layer = /^\d+$/.test(head!) ? Number(head) : Number.NaN;
    if (!image.layers[layer] || parts.some((part) => !part)) {
      findings.fail('image', {
        message: `manifest annotation "${START_ANNOTATION}"`,
        expected: 'LAYER:OFFSET+LENGTH,…, of layers that there are',
        found: word.slice(0, 60),
      });
      continue;
    }
    const own = pieces.get(layer) ?? [];
    pieces.set(layer, own);
    for (const part of parts) own.push([Number(part![1]), Number(part![2])]);
  }
  return pieces;
}

/** A member may go on with headers that a reader of the file does not need; it does not ask for more of them. */
const HEADERS = 64 * 1024;

/** Every piece is of whole members. */
export function checkStart(layer: number, pieces: StartPieces, members: readonly Member[], findings: Findings): void {
  const edges = new Set(members.flatMap(({ start, end }) => [start, end]));
  for (const [offset, length] of pieces) {
    if (length > 0 && edges.has(offset) && (edges.has(offset + length) || length > HEADERS)) continue;
    findings.fail('estargz', {
      layer,
      message: `manifest annotation "${START_ANNOTATION}": what a start needs`,
      expected: 'whole gzip members',
      found: `${length} bytes at offset ${offset}`,
    });
  }
}
