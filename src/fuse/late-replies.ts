// The mounting thread's part in answering the kernel: replies to reads that the file system has put off. Any thread may
// write a reply to the device, so the serving thread is not asked, and one slow read holds up no other.
import { writeSync } from 'node:fs';
import { errnoOf } from '../errors.js';
import { type Answerer, ERRNO, FsError } from '../rootfs/types.js';
import type { DeferredRead } from './server.js';
import { lateReply } from './wire.js';

export class LateReplies {
  readonly #answerer: Answerer;
  readonly #write: (reply: Buffer) => void;
  readonly #onFault: (error: unknown, read: DeferredRead) => void;
  #over = false;
  #faults = 0;

  /**
   * @param write puts a reply on the device; throws as writeSync
   * @param onFault what went wrong other than FsError; the reader gets EIO. Must not throw
   */
  constructor(
    answerer: Answerer,
    write: (reply: Buffer) => void,
    onFault: (error: unknown, read: DeferredRead) => void,
  ) {
    this.#answerer = answerer;
    this.#write = write;
    this.#onFault = onFault;
  }

  /** Answers that failed other than with an FsError. */
  get faults(): number {
    return this.#faults;
  }

  async take(read: DeferredRead): Promise<void> {
    let body: Uint8Array | number;
    try {
      body = await this.#answerer.answer(read.ticket, read.length);
      if (body.length > read.length)
        throw new Error(`an answer of ${body.length} bytes; ${read.length} were asked for`);
    } catch (error) {
      if (this.#over) return;
      body = error instanceof FsError ? error.errno : this.#fault(error, read);
    }
    // The descriptor's number may be another file's by now.
    if (this.#over) return;
    try {
      this.#write(lateReply(read.unique, body));
    } catch (error) {
      const code = errnoOf(error);
      // The asker was killed, or the connection aborted, meanwhile: nobody waits for this reply.
      if (code !== 'ENOENT' && code !== 'ENODEV' && code !== 'ECONNABORTED') this.#fault(error, read);
    }
  }

  /** No reply is written after this. */
  end(): void {
    this.#over = true;
  }

  #fault(error: unknown, read: DeferredRead): number {
    this.#faults += 1;
    this.#onFault(error, read);
    return ERRNO.EIO;
  }
}

/** Puts a reply on the device: one write is one reply. */
export function deviceWriter(fd: number): (reply: Buffer) => void {
  return (reply) => {
    writeSync(fd, reply, 0, reply.length, null);
  };
}
