// What the registry and the disk do to the soak.
import { closeSync, existsSync, openSync, readdirSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAlive } from '../../src/lazy/process-mark.js';
import type { Fault, Rule } from '../../test/support/registry-proxy.js';
import type { Chance } from './chance.js';

export type Faults = Record<
  'none' | 'reset' | 'cut' | 'truncated' | 'wrong byte' | '503' | 'late' | 'down' | 'damaged file',
  number
>;

export function noFaults(): Faults {
  return { none: 0, reset: 0, cut: 0, truncated: 0, 'wrong byte': 0, '503': 0, late: 0, down: 0, 'damaged file': 0 };
}

/** Each for so much of the requests for parts of layers. */
const SHARE = 0.015;
const LATE_MS = 400;

/**
 * Breaks some of the answers, and for a part of every `periodMs` all of them.
 * @param downMs at the end of each period
 */
export function faultyRule(random: Chance, counts: Faults, periodMs: number, downMs: number): Rule {
  const began = performance.now();
  let requests = 0;
  return async ({ url }): Promise<Fault | undefined> => {
    if ((performance.now() - began) % periodMs > periodMs - downMs) {
      counts.down += 1;
      return { kind: 'no-answer' };
    }
    if (!url.includes('/blobs/')) return undefined;
    const at = Math.floor(random() * 30_000);
    const kinds: [keyof Faults, () => Fault | undefined | Promise<Fault | undefined>][] = [
      ['reset', () => ({ kind: 'no-answer' })],
      ['cut', () => ({ kind: 'cut', after: at })],
      ['truncated', () => ({ kind: 'truncate', after: at })],
      ['wrong byte', () => ({ kind: 'flip', at })],
      ['503', () => ({ kind: 'answer', status: 503 })],
      ['late', () => sleep(LATE_MS).then(() => undefined)],
    ];
    requests += 1;
    // The third always, so that a short soak meets one.
    const [name, fault] = kinds[requests === 3 ? 3 : Math.floor(random() / SHARE)] ?? [
      'none' as const,
      () => undefined,
    ];
    counts[name] += 1;
    return fault();
  };
}

/** Writes over a piece of a layer that nobody uses, in the cache. */
export function damage(cache: string, random: Chance, counts: Faults): void {
  const layers = join(cache, 'v1/layers');
  if (!existsSync(layers)) return;
  for (const name of readdirSync(layers)) {
    const file = join(layers, name, 'data');
    const users = join(layers, name, 'users');
    if (!existsSync(file) || (existsSync(users) && readdirSync(users).some(isAlive))) continue;
    const fd = openSync(file, 'r+');
    try {
      writeSync(fd, Buffer.alloc(5000, 'x'), 0, 5000, Math.floor(random() * statSync(file).size));
    } finally {
      closeSync(fd);
    }
    counts['damaged file'] += 1;
  }
}
