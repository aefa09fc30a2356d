// The content of a layer's chunks in the cache, as the side that fetches them has it. Other processes may fill the same
// files at the same time: both write the same bytes to the same places.
import { closeSync, fstatSync, readSync } from 'node:fs';
import { type CheckRecord, checksums, decodeRecords, encodeRecord } from './check-index.js';
import { blocksOf, type ChunkTable } from './chunk-table.js';
import { openKept, writeFully } from './layer-directory.js';

export class LayerStore {
  readonly #table: ChunkTable;
  readonly #data: number;
  readonly #index: number;
  /** Bytes of the index that were read. */
  #read = 0;
  readonly #records = new Map<number, CheckRecord>();
  /** Verified in this run: no need to look at them again. */
  readonly #verified = new Set<number>();
  #waiting: Buffer[] = [];

  /** @throws HL_ERR_IO */
  constructor(directory: string, table: ChunkTable) {
    this.#table = table;
    // Not "w": another process may have content in it. "a+" would write at the end, whatever the position.
    closeSync(openKept(directory, 'data', 'a'));
    this.#data = openKept(directory, 'data', 'r+');
    this.#index = openKept(directory, 'index', 'a+');
    this.refresh();
  }

  /** Of `data`: whoever reads it under its name must find this one. */
  get inode(): bigint {
    return fstatSync(this.#data, { bigint: true }).ino;
  }

  /** Takes in what other processes have added. */
  refresh(): void {
    const { size } = fstatSync(this.#index);
    if (size <= this.#read) return;
    const bytes = Buffer.alloc(size - this.#read);
    const got = readSync(this.#index, bytes, 0, bytes.length, this.#read);
    for (const record of decodeRecords(bytes.subarray(0, got), (chunk) => blocksOf(this.#table, chunk)))
      this.#records.set(record.chunk, record);
    this.#read += got;
  }

  /** Whether it is here, as far as the index says. */
  has(chunk: number): boolean {
    return this.#verified.has(chunk) || this.#records.has(chunk);
  }

  /** Whether it is here and its content has the checksums it was kept with. */
  holds(chunk: number): boolean {
    if (this.#verified.has(chunk)) return true;
    const record = this.#records.get(chunk);
    if (!record) return false;
    const content = Buffer.allocUnsafe(this.#table.chunks[chunk]!.size);
    const good =
      readSync(this.#data, content, 0, content.length, this.#table.at[chunk]!) === content.length &&
      checksums(content).every((sum, i) => sum === record.sums[i]);
    if (good) this.#verified.add(chunk);
    else this.#records.delete(chunk);
    return good;
  }

  /** It is to be fetched again, whatever the index says. */
  distrust(chunk: number): void {
    this.#verified.delete(chunk);
    this.#records.delete(chunk);
  }

  /** Keeps a chunk's verified content; `flush` makes that known. @throws system errors: ENOSPC and the like */
  put(chunk: number, content: Uint8Array): void {
    writeFully(this.#data, content, this.#table.at[chunk]!);
    this.#waiting.push(encodeRecord({ chunk, sums: checksums(content) }));
    this.#verified.add(chunk);
  }

  /** Adds the records of what was put since the last time. @throws system errors; the records are then lost */
  flush(): void {
    if (this.#waiting.length === 0) return;
    const bytes = Buffer.concat(this.#waiting);
    this.#waiting = [];
    writeFully(this.#index, bytes, null);
  }

  /** Chunks here, by the index. */
  get count(): number {
    let count = this.#records.size;
    for (const chunk of this.#verified) if (!this.#records.has(chunk)) count += 1;
    return count;
  }

  close(): void {
    try {
      this.flush();
    } catch {
      // they will be fetched again
    }
    closeSync(this.#data);
    closeSync(this.#index);
  }
}
