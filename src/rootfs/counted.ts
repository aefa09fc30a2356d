// Counts what is asked of a file system, for whoever waits until it is quiet.
import type { Answerer, RootFs } from './types.js';

/** What a program does when it goes on; attributes are asked for by the kernel itself, too. */
const COUNTED = ['lookup', 'readlink', 'readdir', 'open', 'read'] as const;

/** @param activity its first element is counted up, shared memory; absent: nobody wants to know */
export function counted(fs: RootFs, activity: Int32Array | undefined): RootFs {
  if (!activity) return fs;
  for (const name of COUNTED) {
    const method = fs[name].bind(fs) as (...args: unknown[]) => unknown;
    const counting = (...args: unknown[]) => {
      Atomics.add(activity, 0, 1);
      return method(...args);
    };
    Object.assign(fs, { [name]: counting });
  }
  return fs;
}

/** An answer that was put off counts when it comes: the program goes on then. */
export function countedAnswers(answerer: Answerer, activity: Int32Array | undefined): Answerer {
  if (!activity) return answerer;
  const answer = answerer.answer.bind(answerer);
  return Object.assign(answerer, {
    answer: async (...args: Parameters<Answerer['answer']>) => {
      try {
        return await answer(...args);
      } finally {
        Atomics.add(activity, 0, 1);
      }
    },
  });
}
