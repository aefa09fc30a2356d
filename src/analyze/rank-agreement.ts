// Do two runs ask for their files in the same order? Kendall's tau-b, in n log n steps.

/**
 * Kendall's rank correlation with Kendall's correction for ties (tau-b), by Knight's algorithm (Knight 1966): sort by
 * the first, count the exchanges that sorting by the second takes.
 * @param x, y of equal length, no NaN
 * @returns -1 (reversed) … 1 (same order); undefined when one of them has no two different values
 * @example kendallTauB([12, 2, 1, 12, 2], [1, 4, 7, 1, 0]) // -0.4714…
 */
export function kendallTauB(x: ArrayLike<number>, y: ArrayLike<number>): number | undefined {
  const n = x.length;
  const [xs, values] = sortedByBoth(x, y);
  const pairs = (n * (n - 1)) / 2;
  const tiedX = tiedPairs(n, (i) => xs[i] === xs[i - 1]);
  const tiedBoth = tiedPairs(n, (i) => xs[i] === xs[i - 1] && values[i] === values[i - 1]);
  const exchanges = sortCounting(values);
  const tiedY = tiedPairs(n, (i) => values[i] === values[i - 1]);
  if (tiedX === pairs || tiedY === pairs) return undefined;
  const difference = pairs - tiedX - tiedY + tiedBoth - 2 * exchanges;
  // Two roots, for the product of the numbers of pairs may have no exact double; so the last digit may be over.
  const tau = difference / Math.sqrt(pairs - tiedX) / Math.sqrt(pairs - tiedY);
  return Math.max(-1, Math.min(1, tau));
}

/** Both by the first, then by the second. */
function sortedByBoth(x: ArrayLike<number>, y: ArrayLike<number>): readonly [Float64Array, Float64Array] {
  const [xs, ys] = [Float64Array.from(x), Float64Array.from(y)];
  let sorted = true;
  for (let i = 1; i < xs.length && sorted; i++) {
    sorted = xs[i - 1]! < xs[i]! || (xs[i - 1] === xs[i] && ys[i - 1]! <= ys[i]!);
  }
  if (sorted) return [xs, ys];
  const order = new Uint32Array(xs.length);
  for (let i = 0; i < order.length; i++) order[i] = i;
  order.sort((a, b) => xs[a]! - xs[b]! || ys[a]! - ys[b]!);
  return [xs.map((_, i) => xs[order[i]!]!), ys.map((_, i) => ys[order[i]!]!)];
}

/** Pairs of equal neighbours' groups in a sorted list. */
function tiedPairs(n: number, equal: (i: number) => boolean): number {
  let pairs = 0;
  let run = 0;
  for (let i = 1; i < n; i++) {
    run = equal(i) ? run + 1 : 0;
    pairs += run;
  }
  return pairs;
}

/** Sorts in place by merging; how many neighbours a bubble sort would have exchanged. */
function sortCounting(values: Float64Array): number {
  let from = values;
  let to: Float64Array = new Float64Array(values.length);
  let exchanges = 0;
  for (let width = 1; width < values.length; width *= 2) {
    for (let start = 0; start < values.length; start += 2 * width) {
      const middle = Math.min(start + width, values.length);
      const end = Math.min(start + 2 * width, values.length);
      let [a, b] = [start, middle];
      for (let i = start; i < end; i++) {
        if (b >= end || (a < middle && from[a]! <= from[b]!)) to[i] = from[a++]!;
        else {
          exchanges += middle - a;
          to[i] = from[b++]!;
        }
      }
    }
    [from, to] = [to, from];
  }
  if (from !== values) values.set(from);
  return exchanges;
}
