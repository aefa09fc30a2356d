// The client's times from measurements: those with which the simulator's times to ready are nearest to the measured ones.
import type { ClientModel } from '../../src/analyze/model/client.js';

/** What is fitted; sizes, rules and waits are the client's own. */
export const FITTED = [
  'pull',
  'perRequest',
  'perTocEntry',
  'perLayer',
  'runBefore',
  'runAfter',
  'inflatePerByte',
  'perFile',
  'receivePerByte',
  'perMiss',
  'perRead',
  'perAccess',
  'recorded',
  'slowdown',
  'unpackPerByte',
  'unpackPerEntry',
] as const satisfies readonly (keyof ClientModel)[];

/**
 * Coordinate descent on the logarithms, with steps that shrink: the simulator is not smooth, and each parameter acts
 * mostly for itself. The error is the mean of |ln(predicted / measured)|, which does not let a few disturbed
 * measurements decide; parameters are held near their start by a weak spring, since some of them cannot be told apart.
 * @param error of a client, over the measurements that count
 */
export function fit(start: ClientModel, error: (client: ClientModel) => number, rounds = 4): ClientModel {
  const logs = FITTED.map((name) => Math.log(start[name]));
  const clientOf = (at: readonly number[]): ClientModel => ({
    ...start,
    ...Object.fromEntries(FITTED.map((name, i) => [name, Math.exp(at[i]!)])),
  });
  const spring = (at: readonly number[]) => at.reduce((sum, log, i) => sum + (log - logs[i]!) ** 2, 0) * 0.002;
  const total = (at: readonly number[]) => error(clientOf(at)) + spring(at);
  let best = [...logs];
  let least = total(best);
  for (let round = 0, step = 0.4; round < rounds; round++, step /= 2) {
    for (let i = 0; i < best.length; i++) {
      for (const by of [step, -step]) {
        for (;;) {
          const tried = best.with(i, best[i]! + by);
          const value = total(tried);
          if (value >= least) break;
          [best, least] = [tried, value];
        }
      }
    }
  }
  return clientOf(best);
}
