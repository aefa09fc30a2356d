// A workload may print faster than anybody reads. Nothing of it is dropped, and nothing is piled up: whoever is slow makes
// the one before it wait, back to the workload itself.
import type { Readable, Writable } from 'node:stream';

/**
 * Hands on what `source` gives. While a promise of `take` is open, nothing more is read; `isOver` true makes that
 * irrelevant, for sources that have to come to their end.
 */
export function flow(source: Readable, take: (chunk: Buffer) => unknown, isOver: () => boolean = () => false): void {
  source.on('data', (chunk: Buffer) => {
    const taken = take(chunk);
    if (!(taken instanceof Promise) || isOver()) return;
    source.pause();
    const go = () => void source.resume();
    taken.then(go, go);
  });
}

/**
 * Writes a chunk. @returns nothing when there is room for more, else a promise that resolves when the chunk is written
 * or never will be (a reader that has gone)
 */
export function writeTo(target: Writable, chunk: Uint8Array): Promise<void> | undefined {
  let done!: () => void;
  const written = new Promise<void>((resolve) => {
    done = resolve;
  });
  return target.write(chunk, () => done()) ? undefined : written;
}

/** Resolves when everything written so far has left this process, or never will. */
export function flushed(target: Writable): Promise<void> {
  return new Promise((resolve) => target.write('', () => resolve()));
}
