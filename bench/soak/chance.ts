/** From 0 to below 1, the same every time for the same seed. */
export type Chance = () => number;

/** Marsaglia's xorshift with 32 bits. */
export function chance(seed: number): Chance {
  let x = seed >>> 0 || 1;
  for (let n = 0; n < 8; n++) step();
  function step(): number {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    x >>>= 0;
    return x;
  }
  return () => step() / 2 ** 32;
}
