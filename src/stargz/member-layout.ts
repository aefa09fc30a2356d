// Divides the decompressed bytes of a blob into gzip members, and the members into batches, without touching a byte
// of content. Where members end is decided here, alone and before anything is compressed; batches are a matter of
// convenience and leave no trace in the blob.
import { MIB } from '../units.js';
import { type Batch, MADE, type Piece, ZEROS } from './codec/batch.js';

/** Decompressed bytes of a batch, unless a single member has more: some hundredths of a second of work. */
export const BATCH_BYTES = 2 * MIB;

/** How many bytes may follow a chunk in its member (padding, headers) before another is begun. */
const AFTER_CHUNK = MIB;

export class MemberLayout {
  /** Members ended so far. */
  members = 0;

  private readonly limit: number;
  /** The open member. */
  private readonly open = { steps: [] as number[], made: [] as Buffer[], size: 0, chunk: 0 };
  /** Members that are ended, but in no batch yet. */
  private steps: number[] = [];
  private made: Buffer[] = [];
  private ends: number[] = [];
  private size = 0;
  private ready: Batch[] = [];

  /**
   * @param name of the layer, for messages
   * @param level used for members that end from now on; may be changed
   * @param takeBuffer gives room for a batch of that size
   */
  constructor(
    private readonly name: string,
    public level: number,
    chunkSize: number,
    private readonly takeBuffer: (size: number) => SharedArrayBuffer,
  ) {
    this.limit = chunkSize + AFTER_CHUNK;
  }

  /** Bytes that belong behind what is there. A member that is full ends before them: a boundary that the format allows. */
  appendMade(bytes: Buffer): void {
    this.makeRoom(bytes.length);
    this.addMade(bytes);
  }

  /** The same, read from a descriptor. */
  appendFrom(fd: number, at: number, length: number): void {
    this.makeRoom(length);
    this.addFrom(fd, at, length);
  }

  /** Ends the member; the next begins with a chunk of this size, which has to be added at once. */
  beginChunk(size: number): void {
    this.cut();
    this.open.chunk = size;
  }

  /** `add…`: the member goes on, however large it is. */
  addMade(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.open.made.push(bytes);
    this.step(MADE, 0, bytes.length);
  }

  addFrom(fd: number, at: number, length: number): void {
    this.step(fd, at, length);
  }

  addZeros(length: number): void {
    this.step(ZEROS, 0, length);
  }

  /** Ends the member, if there is one. */
  cut(): void {
    const { open } = this;
    if (open.size === 0) return;
    if (this.size > 0 && this.size + open.size > BATCH_BYTES) this.flush();
    for (const number of open.steps) this.steps.push(number);
    for (const bytes of open.made) this.made.push(bytes);
    this.size += open.size;
    this.ends.push(this.size, open.chunk, this.level);
    this.members += 1;
    Object.assign(open, { steps: [], made: [], size: 0, chunk: 0 });
  }

  /** Batches that are complete. Each is given once. */
  take(): Batch[] {
    const taken = this.ready;
    if (taken.length > 0) this.ready = [];
    return taken;
  }

  /** The last batch: ends member and batch. */
  takeAll(): Batch[] {
    this.cut();
    if (this.size > 0) this.flush();
    return this.take();
  }

  /**
   * What was added since the last member ended, as one piece of a member and as a batch of its own. Nothing else may be
   * waiting, and the pieces of a member must be asked for one after the other.
   */
  takePiece(piece: Piece): Batch {
    this.cut();
    if (piece !== 'last') this.members -= 1;
    this.flush(piece);
    const [batch] = this.take();
    return batch!;
  }

  private makeRoom(length: number): void {
    if (this.open.size > 0 && this.open.size + length > this.limit) this.cut();
  }

  private step(source: number, at: number, length: number): void {
    if (length === 0) return;
    const { steps } = this.open;
    const last = steps.length - 3;
    if (source >= 0 && last >= 0 && steps[last] === source && steps[last + 1]! + steps[last + 2]! === at) {
      steps[last + 2]! += length;
    } else steps.push(source, at, length);
    this.open.size += length;
  }

  private flush(piece?: Piece): void {
    const buffer = this.takeBuffer(this.size);
    const bytes = Buffer.from(buffer);
    let position = 0;
    let next = 0;
    for (let i = 0; i < this.steps.length; i += 3) {
      if (this.steps[i] === MADE) this.made[next++]!.copy(bytes, position);
      position += this.steps[i + 2]!;
    }
    this.ready.push({
      name: this.name,
      size: this.size,
      steps: new Float64Array(this.steps),
      members: new Float64Array(this.ends),
      ...(piece && { piece }),
      buffer,
    });
    this.steps = [];
    this.made = [];
    this.ends = [];
    this.size = 0;
  }
}
