// Both ends of a link inside one thread.
import type { Link } from '../rootfs/types.js';

export function linkPair(): [Link, Link] {
  const ends = [makeEnd(), makeEnd()] as const;
  const link = (own: End, other: End): Link => ({
    // Later, as between processes: nobody is called back from inside of what they call.
    send: (message) => void queueMicrotask(() => other.take(message)),
    listen: (listener) => own.listen(listener),
  });
  return [link(ends[0], ends[1]), link(ends[1], ends[0])];
}

interface End {
  take(message: unknown): void;
  listen(listener: (message: unknown) => void): void;
}

function makeEnd(): End {
  let listener: ((message: unknown) => void) | undefined;
  const early: unknown[] = [];
  return {
    take(message) {
      if (listener) listener(message);
      else early.push(message);
    },
    listen(take) {
      listener = take;
      for (const message of early.splice(0)) take(message);
    },
  };
}
