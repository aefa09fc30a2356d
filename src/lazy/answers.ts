// The mounting thread's part of reading lazily: waits for chunks on behalf of reads that were put off.
import { closeSync } from 'node:fs';
import { type Answerer, ERRNO, FsError, type Link } from '../rootfs/types.js';
import { readInto } from './layer-reader.js';
import {
  CHUNK,
  type LayerMemory,
  type ReaderMessage,
  type ReadTicket,
  type ServiceMessage,
  type TablesMessage,
} from './messages.js';

/** The content where it could not be kept. */
type Outcome = Uint8Array | undefined;

interface Wait {
  readonly outcome: Promise<Outcome>;
  resolve(content: Outcome): void;
  reject(error: FsError): void;
}

/** @param link to the service */
export function lazyAnswers(link: Link): Answerer {
  let layers: readonly (LayerMemory | null)[] = [];
  /** Said before the tables came. */
  const early: ServiceMessage[] = [];
  let ready = false;
  const waits = new Map<string, Wait>();

  const stateOf = (layer: number): Uint8Array => new Uint8Array(layers[layer]!.states);

  function take(message: ServiceMessage): void {
    switch (message.type) {
      case 'have': {
        const states = stateOf(message.layer);
        for (const chunk of message.chunks) {
          Atomics.store(states, chunk, CHUNK.verified);
          settle(message.layer, chunk, (wait) => wait.resolve(undefined));
        }
        break;
      }
      case 'bytes':
        settle(message.layer, message.chunk, (wait) => wait.resolve(message.content));
        break;
      case 'failed':
        for (const chunk of message.chunks)
          settle(message.layer, chunk, (wait) => wait.reject(new FsError(ERRNO.EIO, message.why)));
    }
  }

  function settle(layer: number, chunk: number, how: (wait: Wait) => void): void {
    const key = `${layer}/${chunk}`;
    const wait = waits.get(key);
    if (!wait) return;
    waits.delete(key);
    how(wait);
  }

  /** @returns the wait and whether it is a new one */
  function waitFor(layer: number, chunk: number): { wait: Wait; fresh: boolean } {
    const key = `${layer}/${chunk}`;
    const known = waits.get(key);
    if (known) return { wait: known, fresh: false };
    let resolve!: (content: Outcome) => void;
    let reject!: (error: FsError) => void;
    const outcome = new Promise<Outcome>((yes, no) => {
      resolve = yes;
      reject = no;
    });
    // A read of several chunks fails with the first of them.
    outcome.catch(() => {});
    const wait = { outcome, resolve, reject };
    waits.set(key, wait);
    return { wait, fresh: true };
  }

  link.listen((message) => {
    if (ready) take(message as ServiceMessage);
    else early.push(message as ServiceMessage);
  });

  return {
    onPost(message) {
      layers = (message as TablesMessage).layers;
      ready = true;
      for (const said of early.splice(0)) take(said);
    },
    close(result) {
      closeFiles();
      return result;
    },
    async answer(wanted) {
      const { layer, at, length, missing, damaged = [] } = wanted as ReadTicket;
      const states = stateOf(layer);
      const waiting: { readonly at: number; readonly outcome: Promise<Outcome> }[] = [];
      const ask = { sound: [] as number[], damaged: [] as number[] };
      for (const [chunk, start] of missing) {
        // It may have come while the ticket was on its way.
        if (Atomics.load(states, chunk) === CHUNK.verified) continue;
        const { wait, fresh } = waitFor(layer, chunk);
        waiting.push({ at: start, outcome: wait.outcome });
        if (fresh) ask[damaged.includes(chunk) ? 'damaged' : 'sound'].push(chunk);
      }
      if (ask.sound.length > 0) send({ type: 'want', layer, chunks: ask.sound });
      if (ask.damaged.length > 0) send({ type: 'want', layer, chunks: ask.damaged, damaged: true });
      const contents = await Promise.all(waiting.map(async (wait) => ({ at: wait.at, content: await wait.outcome })));
      return assemble(layers[layer]!.fd, at, length, contents);
    },
  };

  function closeFiles(): void {
    for (const layer of layers) if (layer) closeSync(layer.fd);
    layers = [];
  }

  function send(message: ReaderMessage): void {
    link.send(message);
  }
}

/** What is kept comes from the file, what could not be kept from where it is. */
function assemble(
  fd: number,
  at: number,
  length: number,
  contents: readonly { readonly at: number; readonly content: Outcome }[],
): Uint8Array {
  const into = Buffer.allocUnsafe(length);
  const loose = contents.filter((one): one is { at: number; content: Uint8Array } => one.content !== undefined);
  let done = at;
  for (const { at: start, content } of loose.sort((a, b) => a.at - b.at)) {
    const from = Math.max(start, at);
    const to = Math.min(start + content.length, at + length);
    if (from > done) readInto(fd, into.subarray(done - at, from - at), done);
    into.set(content.subarray(from - start, to - start), from - at);
    done = to;
  }
  if (done < at + length) readInto(fd, into.subarray(done - at), done);
  return into;
}
