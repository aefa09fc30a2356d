// Plays a schedule: each access when what it waits for has ended and it has thought. Whoever serves the reads says when
// they end.
import type { Nanos } from '../../units.js';
import type { Engine } from './engine.js';
import type { Schedule } from './schedule.js';

/**
 * Serves one access.
 * @returns nanoseconds that it takes, when that is known at once; else undefined, and `done` is called at its end
 */
export type Serve = (file: number, offset: number, length: number, done: () => void) => Nanos | undefined;

export interface PlayCosts {
  /** Of an access that is not a read: opening, listing. */
  readonly perAccess: Nanos;
  /** What recording added to the time between two accesses; taken off. */
  readonly recorded: Nanos;
  /** Factor of all times between accesses. */
  readonly slowdown: number;
}

/** @param ready called at the moment of readiness; what comes after it in the schedule is played, but does not count */
export function play(engine: Engine, schedule: Schedule, serve: Serve, costs: PlayCosts, ready: () => void): void {
  const { length, own, last, think } = schedule;
  // Who waits for an access, as lists in two columns.
  const head = new Int32Array(length).fill(-1);
  const next = new Int32Array(2 * length).fill(-1);
  const waits = new Uint8Array(length);
  for (let i = length - 1; i >= 0; i--) {
    const [a, b] = [own[i]!, last[i]!];
    if (a >= 0) {
      next[2 * i] = head[a]!;
      head[a] = 2 * i;
      waits[i]! += 1;
    }
    if (b >= 0 && b !== a) {
      next[2 * i + 1] = head[b]!;
      head[b] = 2 * i + 1;
      waits[i]! += 1;
    }
  }
  const thinks = (nanos: Nanos): Nanos => Math.max(0, nanos - costs.recorded) * costs.slowdown;
  const begin = (i: number): void => engine.after(thinks(think[i]!), () => access(i));
  const access = (i: number): void => {
    const took =
      schedule.reads[i] === 0
        ? costs.perAccess
        : serve(schedule.file[i]!, schedule.offset[i]!, schedule.bytes[i]!, () => end(i));
    if (took === 0) end(i);
    else if (took !== undefined) engine.after(took, () => end(i));
  };
  const end = (i: number): void => {
    if (i === schedule.lastOfAll) engine.after(thinks(schedule.thinkAtEnd), ready);
    for (let edge = head[i]!; edge >= 0; edge = next[edge]!) {
      const waiting = edge >> 1;
      waits[waiting]! -= 1;
      if (waits[waiting] === 0) begin(waiting);
    }
  };
  if (schedule.lastOfAll < 0) engine.after(thinks(schedule.thinkAtEnd), ready);
  for (let i = 0; i < length; i++) if (own[i]! < 0 && last[i]! < 0) begin(i);
}
