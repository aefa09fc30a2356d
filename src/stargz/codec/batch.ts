// A batch: some consecutive gzip members of a blob that is being written, as instructions that can be carried out in
// any thread of this process: which bytes to read where, which are made, where each member ends. What comes back is
// the same whoever carries them out.
import { hash } from 'node:crypto';
import { readSync } from 'node:fs';
import { HotlayerError } from '../../errors.js';
import type { Bytes } from '../../units.js';
import type { Codec } from './codec.js';
import { withOpenEnd } from './deflate-blocks.js';

/** Sources of a step that are not descriptors. */
export const ZEROS = -1;
/** The bytes are in the buffer already. */
export const MADE = -2;

/** A member that is too large to be compressed at once comes in several batches, each a piece of it. */
export type Piece = 'first' | 'inner' | 'last';

export interface Batch {
  /** Names the layer in messages. */
  readonly name: string;
  /** Decompressed bytes. */
  readonly size: Bytes;
  /** Three numbers a step, in order of the bytes they give: a descriptor (or ZEROS, MADE), where to read there, how many. */
  readonly steps: Float64Array<ArrayBuffer>;
  /** Three numbers a member: where it ends in the batch, how many of its first bytes are a chunk (0: none), the level. */
  readonly members: Float64Array<ArrayBuffer>;
  /**
   * The batch's only member is such a piece. What comes back then can be joined to the others'; what is missing is the
   * trailer, for which all pieces have to be known. Absent: whole members.
   */
  readonly piece?: Piece;
  /**
   * Seen by all threads. The first half, `size` bytes or more, is for the decompressed bytes: those that are made are
   * in their places, the rest may hold anything. The second half is for the members.
   */
  readonly buffer: SharedArrayBuffer;
}

/** Bytes of a sha256. */
export const DIGEST_SIZE = 32;

export interface CompressedBatch {
  /** The members one after the other: in the batch's buffer, or where they do not fit there, in one of its own. */
  readonly blob: Uint8Array<SharedArrayBuffer | ArrayBuffer>;
  /** Where each member ends in `blob`. */
  readonly ends: Float64Array<ArrayBuffer>;
  /** sha256 of each chunk, DIGEST_SIZE bytes each, in order; members without a chunk have none. */
  readonly digests: Uint8Array<ArrayBuffer>;
}

/** @throws HL_ERR_IO when a source is shorter than the batch expects, and what the codec throws */
export function compressBatch(batch: Batch, codec: Pick<Codec, 'gzipBorrowed'>): CompressedBatch {
  const bytes = bytesOf(batch);
  fill(batch, bytes);
  const { members } = batch;
  const digests = Buffer.allocUnsafeSlow(DIGEST_SIZE * chunksIn(members));
  let chunks = 0;
  const ends = new Float64Array(members.length / 3);
  let blob: Buffer<ArrayBufferLike> = Buffer.from(batch.buffer, batch.buffer.byteLength / 2);
  let start = 0;
  let length = 0;
  for (let i = 0; i < ends.length; i++) {
    const end = members[3 * i]!;
    const chunk = members[3 * i + 1]!;
    if (chunk > 0) {
      digests.write(hash('sha256', bytes.subarray(start, start + chunk)), DIGEST_SIZE * chunks, 'hex');
      chunks += 1;
    }
    const whole = codec.gzipBorrowed(bytes.subarray(start, end), members[3 * i + 2]!);
    const member = batch.piece ? pieceOf(whole, batch.piece) : whole;
    if (length + member.length > blob.length) blob = enlarged(blob, length, member.length);
    length += member.copy(blob, length);
    ends[i] = length;
    start = end;
  }
  return { blob: new Uint8Array(blob.buffer, blob.byteOffset, length), ends, digests: new Uint8Array(digests.buffer) };
}

function chunksIn(members: Float64Array): number {
  let count = 0;
  for (let i = 1; i < members.length; i += 3) if (members[i]! > 0) count += 1;
  return count;
}

/** RFC 1952 section 2.3 without options, as codec.ts makes them; and the CRC and the length at the end. */
const HEADER_SIZE = 10;
const TRAILER_SIZE = 8;

function pieceOf(member: Buffer, piece: Piece): Buffer {
  const deflated = member.subarray(HEADER_SIZE, -TRAILER_SIZE);
  if (piece === 'last') return deflated;
  const open = withOpenEnd(deflated);
  return piece === 'first' ? Buffer.concat([member.subarray(0, HEADER_SIZE), open]) : open;
}

/** What ends a gzip member of so many bytes with that CRC-32. */
export function memberTrailer(crc: number, size: Bytes): Buffer {
  const trailer = Buffer.alloc(TRAILER_SIZE);
  trailer.writeUInt32LE(crc, 0);
  trailer.writeUInt32LE(size % 2 ** 32, 4);
  return trailer;
}

/** The batch's decompressed bytes, as they are now. */
export function bytesOf({ buffer, size }: Pick<Batch, 'buffer' | 'size'>): Buffer<SharedArrayBuffer> {
  return Buffer.from(buffer, 0, size);
}

/** What does not compress gets a little longer. Not from Node's pool: it is handed to another thread as a whole. */
function enlarged(blob: Buffer<ArrayBufferLike>, used: number, more: number): Buffer<ArrayBufferLike> {
  const larger = Buffer.allocUnsafeSlow(Math.max(used + more, 2 * blob.length));
  blob.copy(larger, 0, 0, used);
  return larger;
}

/**
 * Carries out the steps. Content, its padding and the headers behind it mostly lie in the source as they are wanted:
 * such a stretch is read at once, and the padding is cleared afterwards (it need not be zeros there).
 */
function fill(batch: Batch, bytes: Buffer): void {
  const { steps } = batch;
  let position = 0;
  /** The stretch to be read: from `at` in `fd`, to `from` … `end` in the batch. It goes on at `to`, after zeros. */
  const run = { fd: ZEROS, at: 0, from: 0, end: 0, to: 0 };
  /** Begin and end of zeros inside the stretch. */
  let zeros: number[] = [];
  const flush = () => {
    if (run.fd >= 0) read(batch, run.fd, bytes.subarray(run.from, run.end), run.at);
    for (let i = 0; i < zeros.length; i += 2) bytes.fill(0, zeros[i], zeros[i + 1]);
    run.fd = ZEROS;
    zeros = [];
  };
  for (let i = 0; i < steps.length; i += 3) {
    const source = steps[i]!;
    const at = steps[i + 1]!;
    const length = steps[i + 2]!;
    const goesOn = run.fd >= 0 && run.to === position;
    if (source === ZEROS && length < MAX_GAP) {
      if (!goesOn) flush();
      zeros.push(position, position + length);
      if (goesOn) run.to = position + length;
    } else if (source >= 0 && goesOn && source === run.fd && at - run.at === position - run.from) {
      run.end = run.to = position + length;
    } else {
      flush();
      const end = position + length;
      if (source === ZEROS) bytes.fill(0, position, end);
      if (source >= 0) Object.assign(run, { fd: source, at, from: position, end, to: end });
    }
    position += length;
  }
  flush();
}

/** Zeros that are read over rather than reading twice: a tar's padding is at most 511 bytes. */
const MAX_GAP = 512;

function read(batch: Batch, fd: number, into: Buffer, at: number): void {
  for (let done = 0; done < into.length; ) {
    const count = readSync(fd, into, done, into.length - done, at + done);
    if (count === 0) {
      throw new HotlayerError(
        'HL_ERR_IO',
        `${batch.name}: the tar that it is made from ends at byte ${at + done}; expected ${into.length} bytes from ${at}`,
        { context: { offset: at + done } },
      );
    }
    done += count;
  }
}
