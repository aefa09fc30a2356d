// A run as it can be played again: accesses, what each waits for, and how long it thinks after that.
//
// A trace says when, not why. What is assumed: an access comes after everything that had ended when it was made, of its
// own thread and of all others, because programs mostly wait for what they ask (a shell for its children, a main
// thread for its pool). Only accesses that overlapped in the trace are taken to be independent.
import type { Nanos } from '../../units.js';
import { REPLAY_OPS, type Replay } from '../replay.js';

export interface Schedule {
  readonly length: number;
  readonly file: Uint32Array;
  /** 1: reads content; else only metadata. */
  readonly reads: Uint8Array;
  readonly offset: Float64Array;
  readonly bytes: Float64Array;
  /** The access before it on its own thread, and the one of all that ended last before it; −1: none. */
  readonly own: Int32Array;
  readonly last: Int32Array;
  /** From the end of the later of the two (of the start, when there is none) to the access. */
  readonly think: Float64Array;
  /** The access that ended last before ready, −1: none; and from its end to ready. */
  readonly lastOfAll: number;
  readonly thinkAtEnd: Nanos;
}

const READ = REPLAY_OPS.indexOf('read');

/** @param ready ns since the workload was started; absent: with its last access */
export function scheduleOf(replay: Replay, ready?: Nanos): Schedule {
  const { length, t, process, duration } = replay;
  const own = new Int32Array(length).fill(-1);
  const last = new Int32Array(length).fill(-1);
  const think = new Float64Array(length);
  const reads = new Uint8Array(length);
  const previous = new Int32Array(replay.processes.length).fill(-1);
  const end = (i: number): Nanos => t[i]! + duration[i]!;
  const running = new EndHeap(end);
  let latest = -1;
  // What the runner read before the workload was there comes first, at once: how long it took to start the workload is
  // for a model of the client to say.
  const since = (i: number): Nanos => (i < 0 ? 0 : Math.max(0, end(i)));
  for (let i = 0; i < length; i++) {
    latest = running.endedBy(t[i]!, latest);
    const before = previous[process[i]!]!;
    own[i] = before;
    last[i] = latest;
    think[i] = Math.max(0, t[i]! - Math.max(since(before), since(latest)));
    reads[i] = replay.op[i] === READ && replay.bytes[i]! > 0 ? 1 : 0;
    previous[process[i]!] = i;
    running.add(i);
  }
  const at = ready ?? (length > 0 ? Number.POSITIVE_INFINITY : 0);
  latest = running.endedBy(at, latest);
  const thinkAtEnd = Number.isFinite(at) ? Math.max(0, at - since(latest)) : 0;
  return {
    length,
    file: replay.file,
    reads,
    offset: replay.offset,
    bytes: replay.bytes,
    own,
    last,
    think,
    lastOfAll: latest,
    thinkAtEnd,
  };
}

/** Accesses that have begun, by when they end. */
class EndHeap {
  private readonly heap: number[] = [];

  constructor(private readonly end: (i: number) => Nanos) {}

  add(i: number): void {
    const { heap, end } = this;
    let at = heap.length;
    heap.push(i);
    while (at > 0 && end(heap[(at - 1) >> 1]!) > end(i)) {
      heap[at] = heap[(at - 1) >> 1]!;
      at = (at - 1) >> 1;
    }
    heap[at] = i;
  }

  /** Takes out all that ended by then. @returns the one that ended last of them, or `known` when that did */
  endedBy(time: Nanos, known: number): number {
    let latest = known;
    while (this.heap.length > 0 && this.end(this.heap[0]!) <= time) {
      const i = this.take();
      if (latest < 0 || this.end(i) >= this.end(latest)) latest = i;
    }
    return latest;
  }

  private take(): number {
    const { heap, end } = this;
    const top = heap[0]!;
    const moved = heap.pop()!;
    if (heap.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && end(heap[child + 1]!) < end(heap[child]!)) child += 1;
      if (end(heap[child]!) >= end(moved)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = moved;
    return top;
  }
}
