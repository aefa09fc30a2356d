// Where the TOC of a blob begins. A lazy client that fetches in pieces asks for the last one, because the footer is in
// it, and then for those before it in which the TOC begins: one round trip more before anything of the layer can be
// prefetched. A small TOC that lies across a boundary is moved behind it.
import { EMPTY_MEMBER_SIZE, emptyMember, MAX_EXTRA_DATA } from './empty-member.js';

/** Bytes, from the blob's begin, that the stargz snapshotter fetches together (`chunk_size` of its `blob` settings). */
export const CLIENT_PIECE = 50_000;
/** A blob grows by a twentieth at most: nobody fetches the filling lazily, but who pulls the whole blob does. */
const MOST_GROWTH = 1 / 20;

/**
 * @param offset where the TOC would begin
 * @param tail bytes from there to the blob's end, footer included
 * @returns bytes to be put before it; 0, or EMPTY_MEMBER_SIZE or more
 */
export function fillingBefore(offset: number, tail: number): number {
  if (offset % CLIENT_PIECE === 0) return 0;
  const room = CLIENT_PIECE - (offset % CLIENT_PIECE);
  if (tail <= room) return 0;
  const filling = Math.max(room, EMPTY_MEMBER_SIZE);
  const fits = filling - room + tail <= CLIENT_PIECE;
  return fits && filling <= offset * MOST_GROWTH ? filling : 0;
}

/** @param size EMPTY_MEMBER_SIZE … CLIENT_PIECE */
export function fillingMember(size: number): Buffer {
  return emptyMember('HL', Buffer.alloc(Math.min(size - EMPTY_MEMBER_SIZE, MAX_EXTRA_DATA)));
}
