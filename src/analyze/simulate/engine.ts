// Discrete events: a clock, what happens when, and what is shared meanwhile. Times are nanoseconds as numbers; events of
// the same time happen in the order in which they were asked for, so a simulation gives the same result every time.
import type { Nanos } from '../../units.js';

type Action = () => void;

export class Engine {
  now: Nanos = 0;
  private readonly times: Nanos[] = [];
  private readonly orders: number[] = [];
  private readonly actions: Action[] = [];
  private asked = 0;

  /** @param time not before now */
  at(time: Nanos, action: Action): void {
    this.asked += 1;
    let i = this.times.length;
    const order = this.asked;
    // A binary heap in three columns: an object for each event would be most of the work.
    this.times.push(time);
    this.orders.push(order);
    this.actions.push(action);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (this.times[parent]! <= time) break;
      this.move(parent, i);
      i = parent;
    }
    this.set(i, time, order, action);
  }

  after(delay: Nanos, action: Action): void {
    this.at(this.now + delay, action);
  }

  /** Until nothing more is to happen. */
  run(): void {
    while (this.times.length > 0) {
      this.now = this.times[0]!;
      const action = this.actions[0]!;
      this.drop();
      action();
    }
  }

  private drop(): void {
    const time = this.times.pop()!;
    const order = this.orders.pop()!;
    const action = this.actions.pop()!;
    const size = this.times.length;
    if (size === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= size) break;
      if (child + 1 < size && this.before(child + 1, child)) child += 1;
      const childTime = this.times[child]!;
      if (childTime > time || (childTime === time && this.orders[child]! > order)) break;
      this.move(child, i);
      i = child;
    }
    this.set(i, time, order, action);
  }

  private before(a: number, b: number): boolean {
    const [ta, tb] = [this.times[a]!, this.times[b]!];
    return ta < tb || (ta === tb && this.orders[a]! < this.orders[b]!);
  }

  private move(from: number, to: number): void {
    this.set(to, this.times[from]!, this.orders[from]!, this.actions[from]!);
  }

  private set(i: number, time: Nanos, order: number, action: Action): void {
    this.times[i] = time;
    this.orders[i] = order;
    this.actions[i] = action;
  }
}

/**
 * Something of which all who use it at once get equal parts: a line, some cores. Kept by virtual time, the amount that
 * each user has got since the beginning; then who ends first does not change when others come and go.
 */
export class Shared {
  private virtual = 0;
  private since: Nanos = 0;
  private readonly users: { readonly until: number; readonly done: Action }[] = [];
  private version = 0;

  /**
   * @param capacity amount a nanosecond for all together; Infinity: no limit
   * @param each most that one user gets
   */
  constructor(
    private readonly engine: Engine,
    private readonly capacity: number,
    private readonly each = Number.POSITIVE_INFINITY,
  ) {}

  use(amount: number, done: Action): void {
    if (amount <= 0 || this.capacity === Number.POSITIVE_INFINITY) {
      this.engine.after(0, done);
      return;
    }
    this.advance();
    const user = { until: this.virtual + amount, done };
    let at = this.users.length;
    while (at > 0 && this.users[at - 1]!.until > user.until) at -= 1;
    this.users.splice(at, 0, user);
    this.schedule();
  }

  private rate(): number {
    return Math.min(this.each, this.capacity / this.users.length);
  }

  private advance(): void {
    if (this.users.length > 0) this.virtual += (this.engine.now - this.since) * this.rate();
    this.since = this.engine.now;
  }

  private schedule(): void {
    this.version += 1;
    const next = this.users[0];
    if (!next) return;
    const { version } = this;
    this.engine.after(Math.max(0, (next.until - this.virtual) / this.rate()), () => {
      if (version !== this.version) return;
      this.advance();
      // Whoever ends now by this clock ends now, whatever the rounding says.
      this.virtual = Math.max(this.virtual, next.until);
      const ended = [];
      while (this.users[0] && this.users[0].until <= this.virtual) ended.push(this.users.shift()!);
      this.schedule();
      for (const { done } of ended) done();
    });
  }
}

/** Calls `done` when it was called so many times. */
export function afterAll(count: number, done: Action): Action {
  let left = count;
  return () => {
    left -= 1;
    if (left === 0) done();
  };
}
