// What the simulator says of the starts that bench:run measures.
import { simulate } from '../../src/analyze/simulate/simulate.js';
import { networkOf, readStored, type StoredImage } from '../simulate/cases.js';

/** Images whose starts the runtime's times were fitted to: what is said of them is no test. */
export const FITTED_TO: readonly string[] = ['python', 'redis', 'postgresql', 'java'];

export interface Prediction {
  readonly readyMs: number;
  /** At readiness, as those of a measurement. */
  readonly bytes: number;
  readonly requests: number;
}

/** @param variant whose image is run, with its profile; its manifest says what the start needs */
export function storedFor(directory: string, image: string, variant: string): Promise<StoredImage> {
  return readStored(directory, image, [variant], variant);
}

/** @returns undefined when the profile has no run that can be played */
export function predictRun(
  { workload, layouts }: StoredImage,
  variant: string,
  network: string,
): Prediction | undefined {
  const simulated = simulate(workload, layouts.get(variant)!, 'run', networkOf(network));
  if (!simulated) return undefined;
  const { ready, bytes, requests } = simulated;
  return { readyMs: ready.median / 1e6, bytes: bytes.median, requests: requests.median };
}
