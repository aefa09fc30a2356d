// At most so many pieces of work at once.

export interface Limit {
  /** Runs `work` as soon as there is room; first come, first served. */
  run<T>(work: () => Promise<T>): Promise<T>;
}

/** @param most 1 or more */
export function makeLimit(most: number): Limit {
  let running = 0;
  const waiting: (() => void)[] = [];
  return {
    async run(work) {
      // A place that becomes free is handed on: `running` does not change, so that nobody can slip in between.
      if (running >= most) await new Promise<void>((resolve) => waiting.push(resolve));
      else running += 1;
      try {
        return await work();
      } finally {
        const next = waiting.shift();
        if (next) next();
        else running -= 1;
      }
    },
  };
}
