// One measurement: a client that has nothing pulls an image through the network and runs it until it is ready.
import { join } from 'node:path';
import { makeTempDir } from '../../src/temp.js';
import { LazyClient, type Snapshotter } from '../../test/support/lab/client.js';
import type { Exchange } from '../../test/support/lab/exchanges.js';
import type { ThrottlingProxy } from '../../test/support/lab/proxy.js';
import { CpuMeter, descendantPids, NeighbourMeter } from '../support/cpu.js';
import { type ReadyRule, requireFree, whenReady } from '../support/watch.js';
import type { Made } from './variants.js';
import type { Workshop } from './workshop.js';

export interface ColdStart {
  /** ms, from the start of the pull: the pull's end, and the moment of readiness. */
  readonly pullMs: number;
  readonly readyMs: number;
  /** At readiness: bytes that the registry had sent, requests and connections that it had got. */
  readonly bytes: number;
  readonly requests: number;
  readonly connections: number;
  /** Chunks that the container had to wait for; null: nothing is lazy. */
  readonly onDemand: number | null;
  /** Bytes prefetched, of all layers; null: nothing is lazy. */
  readonly prefetched: number | null;
  /** CPU of containerd, the snapshotter, the tools and the container, ms. */
  readonly cpuMs: number;
  /** CPU of everything else on the machine meanwhile, ms: how quiet it was. */
  readonly neighboursMs: number;
}

export interface Recorded {
  readonly start: ColdStart;
  /** With times in ms since the start of the pull. */
  readonly exchanges: readonly Exchange[];
}

/**
 * @param workshop serves the image
 * @throws when the workload fails, or a layer that should be lazy was not
 */
export async function coldStart(
  workshop: Workshop,
  proxy: ThrottlingProxy,
  made: Made,
  snapshotter: Snapshotter,
  ready: ReadyRule,
): Promise<Recorded> {
  await workshop.warm(made.repository, made.tag);
  const bystanders = descendantPids();
  using temp = makeTempDir(undefined, 'hotlayer-cold');
  // The client as it comes: with background fetch, which begins after five seconds in which nothing was asked for.
  await using client = await LazyClient.start(join(temp.path, 'client'), { backgroundFetch: true });
  await requireFree(ready);
  const reference = `${proxy.host}/${made.repository}:${made.tag}`;
  const cpu = new CpuMeter(bystanders);
  const neighbours = new NeighbourMeter();
  proxy.reset();

  const began = performance.now();
  await client.pull(reference, snapshotter);
  const pulled = performance.now();
  const readyAt = await whenReady(ready, client.launch(reference, { snapshotter, net: 'host' }));
  const { down, requests, connections } = proxy.traffic();
  const exchanges = proxy.exchanges();
  const cpuMs = cpu.read();
  const neighboursMs = neighbours.read();

  const lazy = snapshotter === 'stargz';
  const log = client.log();
  if (lazy && log.accepted !== made.layers.length) {
    const why = log.refused.map((refusal) => refusal.error).join('; ');
    throw new Error(`${reference}: ${log.accepted} of ${made.layers.length} layers were mounted lazily; ${why}`);
  }
  const sum = (counts: ReadonlyMap<string, number>) => [...counts.values()].reduce((a, b) => a + b, 0);
  return {
    start: {
      pullMs: round(pulled - began),
      readyMs: round(readyAt - began),
      bytes: down,
      requests,
      connections,
      onDemand: lazy ? sum(await client.onDemandFetches()) : null,
      prefetched: lazy ? sum(log.prefetched) : null,
      cpuMs,
      neighboursMs,
    },
    exchanges: exchanges.map((exchange) => ({
      ...exchange,
      start: round(exchange.start - began),
      end: round(exchange.end - began),
    })),
  };
}

/** To a hundredth of a millisecond. */
function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}
