// One start, or the starts of all runs of a profile, of one layout on one network in one client.
import { type Bytes, formatCount, type Nanos } from '../../units.js';
import { type ClientModel, STARGZ_SNAPSHOTTER } from '../model/client.js';
import { type Network, transferNanos } from '../model/network.js';
import { replayOf } from '../replay.js';
import { spreadOf } from '../statistics.js';
import type { Profile, ProfileRun, Spread } from '../types.js';
import { Engine } from './engine.js';
import type { Layout } from './layout.js';
import { NetworkSide } from './network-side.js';
import { PageCache } from './page-cache.js';
import { play } from './player.js';
import { HOTLAYER_RUN, RuntimeClient, type RuntimeModel } from './runtime-client.js';
import { type Schedule, scheduleOf } from './schedule.js';
import { CONFIG, MANIFEST, StargzClient } from './stargz-client.js';

/**
 * `lazy`: the stargz snapshotter. `run`: hotlayer's own runtime, with the profile. `full`: everything is pulled and
 * unpacked first. `ideal`: what no client can be faster than: exactly what is read, compressed, comes at the full rate
 * in the order in which it is needed.
 */
export type Way = 'lazy' | 'run' | 'full' | 'ideal';

export interface Start {
  /** From the beginning of the pull. */
  readonly ready: Nanos;
  /** When the pull had ended; when the workload began. */
  readonly pulled: Nanos;
  readonly started: Nanos;
  /** At ready. */
  readonly bytes: Bytes;
  readonly requests: number;
  /** Chunks that the workload waited for, and requests for them. */
  readonly misses: number;
  readonly onDemand: number;
}

export interface Simulated {
  readonly way: Way;
  readonly network: string;
  /** One for each run that was played, in the profile's order. */
  readonly starts: readonly Start[];
  readonly ready: Spread;
  readonly bytes: Spread;
  readonly requests: Spread;
  readonly misses: Spread;
}

/** Runs of a profile, made ready to be played many times. */
export class Workload {
  readonly schedules: readonly Schedule[];
  /** Runs that were left out, and why. */
  readonly left: readonly string[];

  /**
   * Runs that lost events, or were imported without times, do not say how a start goes.
   * @param most runs, those nearest to the median; and accesses of all of them together, but at least one run
   */
  constructor(profile: Profile, most: { readonly mostRuns?: number; readonly mostAccesses?: number } = {}) {
    const { mostRuns = Number.POSITIVE_INFINITY, mostAccesses = Number.POSITIVE_INFINITY } = most;
    const usable = profile.runs.filter(({ complete, imported }) => complete && imported === undefined);
    const middle = spreadOf([0, ...usable.map(readyOf)].slice(usable.length > 0 ? 1 : 0)).median;
    const nearest = [...usable].sort(
      (a, b) => Math.abs(readyOf(a) - middle) - Math.abs(readyOf(b) - middle) || (a.id < b.id ? -1 : 1),
    );
    const chosen = new Set<ProfileRun>();
    let accesses = 0;
    for (const run of nearest) {
      accesses += run.replay.accesses;
      if (chosen.size > 0 && (chosen.size >= mostRuns || accesses > mostAccesses)) break;
      chosen.add(run);
    }
    this.schedules = usable
      .filter((run) => chosen.has(run))
      .map((run) => scheduleOf(replayOf(run, profile.files.length), run.ready?.t));
    this.left = profile.runs.flatMap((run) =>
      run.imported !== undefined
        ? [`run ${run.id} was imported: it has no times`]
        : run.complete
          ? []
          : [`run ${run.id} may have lost events${run.incompleteBecause ? `: ${run.incompleteBecause}` : ''}`],
    );
  }
}

function readyOf(run: ProfileRun): Nanos {
  return run.ready?.t ?? run.endedAt;
}

/** @returns undefined when there is no run that can be played */
export function simulate(
  workload: Workload,
  layout: Layout,
  way: Way,
  network: Network,
  client: ClientModel = STARGZ_SNAPSHOTTER,
  runtime: RuntimeModel = HOTLAYER_RUN,
): Simulated | undefined {
  const starts = workload.schedules.map((schedule) =>
    way === 'run' ? runtimeStart(schedule, layout, network, runtime) : startOf(schedule, layout, way, network, client),
  );
  if (starts.length === 0) return undefined;
  const spread = (of: (start: Start) => number) => spreadOf(starts.map(of));
  return {
    way,
    network: network.name,
    starts,
    ready: spread((start) => start.ready),
    bytes: spread((start) => start.bytes),
    requests: spread((start) => start.requests),
    misses: spread((start) => start.misses),
  };
}

/** Bytes that have come until a moment, at most CURVE of them, the last at ready. */
export type FetchCurve = readonly (readonly [t: Nanos, bytes: Bytes])[];

const CURVE = 200;

/** How the bytes of a start come: between the beginning and the end of an answer evenly. */
export function fetchesOf(
  schedule: Schedule,
  layout: Layout,
  way: Exclude<Way, 'run'>,
  network: Network,
  client: ClientModel = STARGZ_SNAPSHOTTER,
): { readonly ready: Nanos; readonly curve: FetchCurve } {
  const answers: { readonly since: Nanos; readonly until: Nanos; readonly bytes: Bytes }[] = [];
  const watch = (since: Nanos, until: Nanos, bytes: Bytes): void => void answers.push({ since, until, bytes });
  const { ready } = startOf(schedule, layout, way, network, client, watch);
  const steps = CURVE - 1;
  const curve = Array.from({ length: steps + 1 }, (_, i): readonly [Nanos, Bytes] => {
    const t = (ready * i) / steps;
    let bytes = 0;
    for (const answer of answers) {
      if (t >= answer.until) bytes += answer.bytes;
      else if (t > answer.since) bytes += (answer.bytes * (t - answer.since)) / (answer.until - answer.since);
    }
    return [Math.round(t), Math.round(bytes)];
  });
  return { ready: Math.round(ready), curve };
}

export function startOf(
  schedule: Schedule,
  layout: Layout,
  way: Way,
  network: Network,
  client: ClientModel = STARGZ_SNAPSHOTTER,
  onFetch?: (since: Nanos, until: Nanos, bytes: Bytes) => void,
): Start {
  if (way === 'run') return runtimeStart(schedule, layout, network);
  if (way === 'ideal') return idealStart(schedule, layout, network, client, onFetch);
  const engine = new Engine();
  const side = new NetworkSide(engine, network, client, onFetch && ((since, n) => onFetch(since, engine.now, n)));
  const costs = { perAccess: client.perAccess, recorded: client.recorded, slowdown: client.slowdown };
  const result = { ready: 0, pulled: 0, started: 0, bytes: 0, requests: 0, misses: 0, onDemand: 0 };
  const lazy = way === 'lazy' ? new StargzClient(engine, side, client, layout) : undefined;
  const run = (): void => {
    result.started = engine.now;
    play(engine, schedule, lazy ? lazy.serve : () => 0, costs, () => {
      result.ready = engine.now;
      Object.assign(result, { bytes: Math.round(side.bytes), requests: side.requests });
      if (lazy) Object.assign(result, { misses: lazy.misses, onDemand: lazy.onDemand });
    });
  };
  const pulled = (): void => {
    result.pulled = engine.now;
    engine.after(client.runBefore, () => {
      const go = (): void => engine.after(client.runAfter, run);
      if (lazy) lazy.waitForPrefetch(go);
      else go();
    });
  };
  if (lazy) lazy.pull(pulled);
  else pullAll(engine, side, client, layout, pulled);
  engine.run();
  return result;
}

/** Three layers at a time come; when all are there, one after the other is unpacked (ctr image pull). */
function pullAll(engine: Engine, side: NetworkSide, client: ClientModel, { layers }: Layout, done: () => void): void {
  const pool = { idle: 0 };
  let next = 0;
  let left = layers.length;
  const unpack = (i: number): void => {
    const layer = layers[i];
    if (!layer) {
      done();
      return;
    }
    const nanos = client.unpackPerByte * layer.inflated + client.unpackPerEntry * layer.entries + client.perLayer;
    side.cpu.use(nanos, () => unpack(i + 1));
  };
  const fetchNext = (): void => {
    const layer = layers[next];
    next += 1;
    if (!layer) return;
    side.request(pool, layer.size, () => {
      left -= 1;
      if (left === 0) unpack(0);
      else fetchNext();
    });
  };
  engine.after(client.pull, () =>
    side.sequence({ idle: 0 }, MANIFEST.slice(0, 1), () =>
      side.sequence(pool, [...MANIFEST.slice(1), ...CONFIG], () => {
        if (layers.length === 0) unpack(0);
        for (let i = 0; i < 3; i++) fetchNext();
      }),
    ),
  );
}

/** `startOf` by the way `run`. */
export function runtimeStart(
  schedule: Schedule,
  layout: Layout,
  network: Network,
  model: RuntimeModel = HOTLAYER_RUN,
): Start {
  const engine = new Engine();
  const runtime = new RuntimeClient(engine, network.rtt, network.bytesPerSecond, model, layout, schedule);
  const result = { ready: 0, pulled: 0, started: 0, bytes: 0, requests: 0, misses: 0, onDemand: 0 };
  runtime.open(() => {
    Object.assign(result, { pulled: engine.now, started: engine.now });
    play(engine, schedule, runtime.serve, model, () => {
      const { misses, onDemand, side } = runtime;
      const bytes = Math.round(side.bytes);
      Object.assign(result, { ready: engine.now, bytes, requests: side.requests, misses, onDemand });
    });
  });
  engine.run();
  return result;
}

function idealStart(
  schedule: Schedule,
  layout: Layout,
  network: Network,
  client: ClientModel,
  onFetch?: (since: Nanos, until: Nanos, bytes: Bytes) => void,
): Start {
  const engine = new Engine();
  const pages = new PageCache(0);
  let bytes = 0;
  const result = { ready: 0, pulled: 0, started: client.runAfter, bytes: 0, requests: 1, misses: 0, onDemand: 0 };
  engine.after(client.runAfter, () =>
    play(
      engine,
      schedule,
      (file, offset, length) => {
        const at = layout.files[file];
        if (!at) return 0;
        const compressed = (at.end - at.offset[0]!) / at.size;
        const had = bytes;
        for (const [from, to] of pages.read(file, at.size, offset, length).waited) bytes += (to - from) * compressed;
        const wait = Math.max(0, network.rtt + transferNanos(network, bytes) - engine.now);
        if (bytes > had) onFetch?.(engine.now, engine.now + wait, bytes - had);
        return wait;
      },
      { perAccess: 0, recorded: client.recorded, slowdown: 1 },
      () => {
        result.ready = engine.now;
        result.bytes = Math.round(bytes);
      },
    ),
  );
  engine.run();
  return result;
}

/** What is taken for granted, for whoever reads the numbers. */
export function assumptions(client: ClientModel = STARGZ_SNAPSHOTTER, workload?: Workload): string[] {
  return [
    `the client is ${client.name} with its default settings on ${client.cores} cores, and has nothing of the image`,
    `all requests share one line; there is no loss and no slow start; a new connection costs one round trip, TLS and tokens nothing`,
    `pieces of ${formatCount(client.piece)} bytes, windows of ${formatCount(client.window)} compressed bytes, kernel readahead of ${formatCount(client.readahead)} bytes`,
    `the container waits for the prefetch of all layers, at most ${client.prefetchWait / 1e9} s`,
    'an access waits for all that had ended when it was made in the recorded run; only what overlapped there is independent',
    `${HOTLAYER_RUN.name} asks for what the image says of its start together with the TOCs, or, where it says nothing, for what the profile says when they are there; ${HOTLAYER_RUN.ahead} requests at a time, ${HOTLAYER_RUN.connections} with those that a read waits for; its times were fitted to starts of four images`,
    'the workload thinks as long as in the recorded run, less what recording costs; background fetch is not modelled (it begins after 5 s of silence)',
    ...(workload?.left ?? []),
  ];
}
