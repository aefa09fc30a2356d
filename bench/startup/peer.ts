// The peer: ctr-remote's converter and optimizer with its own defaults, its own record of the same workload.
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { makeTempDir } from '../../src/temp.js';
import { LazyClient } from '../../test/support/lab/client.js';
import { answered, requireFree } from '../support/watch.js';
import type { Order } from './variants.js';
import type { Workshop } from './workshop.js';

/** ms, for big images on busy machines; the converter alone takes half a minute of CPU for an image of 60 MB. */
const PATIENCE = 20 * 60_000;

/**
 * Converts `original` and pushes `target`.
 * @param run whether the workload is run and recorded, for the peer's default period; else the layers are only converted
 */
export async function optimizeLikeThePeer(
  _workshop: Workshop,
  { workload, original, target, keep }: Order,
  run: boolean,
): Promise<object> {
  using temp = makeTempDir(undefined, 'hotlayer-peer');
  await using client = await LazyClient.start(join(temp.path, 'client'));
  await client.pull(original, 'overlayfs');
  const record = join(keep, 'record');
  rmSync(record, { force: true });
  const how = run ? ['--net-host', '--record-out', record] : ['--no-optimize'];
  const stop = new AbortController();
  if (run) {
    await requireFree(workload.ready);
    // The first page belongs to the workload: it is asked for as soon as there is somebody to ask.
    if (workload.ready.kind !== 'line') void answered(workload.ready, stop.signal);
  }
  try {
    await client.tool(['ctr-remote', 'image', 'optimize', '--oci', ...how, original, target], { timeout: PATIENCE });
  } finally {
    stop.abort();
  }
  await client.tool(['ctr', 'image', 'push', '--plain-http', target], { timeout: PATIENCE });
  return run
    ? { recorded: existsSync(record) ? readFileSync(record, 'utf8').split('\n').filter(Boolean).length : 0 }
    : {};
}
