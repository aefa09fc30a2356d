// What bench:startup measured, and what the simulator says of the same images on the same networks.
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ClientModel } from '../../src/analyze/model/client.js';
import type { Network } from '../../src/analyze/model/network.js';
import { readProfile } from '../../src/analyze/saved.js';
import { type Layout, type Locate, layoutOfBlobs } from '../../src/analyze/simulate/layout.js';
import { type Simulated, simulate, Workload } from '../../src/analyze/simulate/simulate.js';
import type { Profile } from '../../src/analyze/types.js';
import { parseStart, START_ANNOTATION, type StartGroup } from '../../src/lazy/start-map.js';
import { fileSource } from '../../src/stargz/blob-source.js';
import { openStargz, type StargzBlob } from '../../src/stargz/reader.js';
import { parseNetwork } from '../startup/networks.js';
import type { Measurement } from '../startup/results.js';
import { median } from '../support/statistics.js';

/** An image in one variant on one network. */
export interface Case {
  readonly image: string;
  readonly network: string;
  readonly variant: string;
  /** Of each round. */
  readonly readyMs: readonly number[];
  readonly measured: {
    readonly readyMs: number;
    readonly bytes: number;
    readonly requests: number;
    readonly misses: number;
  };
  readonly workload: Workload;
  readonly layout: Layout;
}

export interface StoredImage {
  readonly profile: Profile;
  readonly workload: Workload;
  /** By variant; `full` has no TOCs. */
  readonly blobs: ReadonlyMap<string, readonly StargzBlob[]>;
  readonly layouts: ReadonlyMap<string, Layout>;
  /** Of the layers, by variant. */
  readonly digests: ReadonlyMap<string, readonly string[]>;
  readonly locate: Locate;
}

interface Manifest {
  readonly annotations?: Readonly<Record<string, string>>;
  readonly layers: readonly { readonly digest: string; readonly size: number }[];
}

/**
 * Reads what a workshop's directory holds of one image; the registry need not run.
 * @param profiled the variant that was made with the profile
 */
export async function readStored(
  directory: string,
  image: string,
  variants: readonly string[],
  profiled = 'hotlayer',
): Promise<StoredImage> {
  const profile = await readProfile(join(directory, 'variants', `${image}-${profiled}`, 'profile.json'));
  const blobs = new Map<string, readonly StargzBlob[]>();
  const digests = new Map<string, readonly string[]>();
  const sizes = new Map<string, readonly number[]>();
  const starts = new Map<string, readonly StartGroup[]>();
  for (const variant of variants) {
    const manifest = manifestOf(directory, madeDigest(directory, image, variant));
    digests.set(
      variant,
      manifest.layers.map(({ digest }) => digest),
    );
    sizes.set(
      variant,
      manifest.layers.map(({ size }) => size),
    );
    const said = manifest.annotations?.[START_ANNOTATION];
    if (said !== undefined) starts.set(variant, parseStart(said, sizes.get(variant)!));
    if (variant === 'full') continue;
    blobs.set(variant, await Promise.all(manifest.layers.map(({ digest }) => openBlob(blobPath(directory, digest)))));
  }
  const [some] = blobs.values();
  if (!some) throw new Error(`${image}: no variant that is lazy`);
  const locate = topmost(some);
  const paths = profile.files.map(({ path }) => path);
  const layouts = new Map<string, Layout>();
  for (const [variant, list] of blobs) layouts.set(variant, layoutOfBlobs(list, paths, locate, starts.get(variant)));
  // What is unpacked is the same as in a lazy variant, what is pulled is not.
  const { layers } = layoutOfBlobs(some, [], () => undefined);
  layouts.set('full', {
    layers: layers.map((layer, i) => ({ ...layer, size: sizes.get('full')?.[i] ?? layer.size })),
    files: [],
  });
  return { profile, workload: new Workload(profile), blobs, layouts, digests, locate };
}

/** The digest of what was made of an image in one way. */
export function madeDigest(directory: string, image: string, variant: string): string {
  const state = readFileSync(join(directory, 'variants', `${image}-${variant}`, 'made.json'), 'utf8');
  return (JSON.parse(state) as { made: { digest: string } }).made.digest;
}

/** The topmost layer that has the name; the profile's paths have no links in them. */
function topmost(blobs: readonly StargzBlob[]): Locate {
  return (path) => {
    const entry = path.slice(1);
    for (let layer = blobs.length - 1; layer >= 0; layer--)
      if (blobs[layer]!.byPath.get(entry)) return { layer, entry };
    return undefined;
  };
}

function blobPath(directory: string, digest: string): string {
  const hex = digest.slice('sha256:'.length);
  return join(directory, 'registry/docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex, 'data');
}

function manifestOf(directory: string, digest: string): Manifest {
  const manifest = JSON.parse(readFileSync(blobPath(directory, digest), 'utf8')) as Manifest & {
    readonly manifests?: readonly { readonly digest: string }[];
  };
  const [inner] = manifest.manifests ?? [];
  return inner ? manifestOf(directory, inner.digest) : manifest;
}

async function openBlob(path: string): Promise<StargzBlob> {
  const fd = openSync(path, 'r');
  try {
    return await openStargz(fileSource(fd, fstatSync(fd).size, path));
  } finally {
    closeSync(fd);
  }
}

/** Measurements of the images as they are stored now, rounds together. */
export function casesOf(
  measurements: readonly Measurement[],
  stored: ReadonlyMap<string, StoredImage>,
  digestOf: (image: string, variant: string) => string,
): Case[] {
  const groups = new Map<string, Measurement[]>();
  for (const one of measurements) {
    // Of variants that were measured for something else nothing was read.
    if (!stored.get(one.image)?.layouts.has(one.variant)) continue;
    if (digestOf(one.image, one.variant) !== one.digest) continue;
    const key = `${one.image} ${one.network} ${one.variant}`;
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  return [...groups.values()].map((group): Case => {
    const { image, network, variant } = group[0]!;
    const { workload, layouts } = stored.get(image)!;
    const middle = (of: (one: Measurement) => number) => median(group.map(of));
    return {
      image,
      network,
      variant,
      readyMs: group.map(({ readyMs }) => readyMs),
      measured: {
        readyMs: middle((one) => one.readyMs),
        bytes: middle((one) => one.bytes),
        requests: middle((one) => one.requests),
        misses: middle((one) => one.onDemand ?? 0),
      },
      workload,
      layout: layouts.get(variant)!,
    };
  });
}

export function predict({ workload, layout, variant, network }: Case, client: ClientModel): Simulated {
  const way = variant === 'full' ? 'full' : 'lazy';
  const simulated = simulate(workload, layout, way, networkOf(network), client);
  if (!simulated) throw new Error('the profile has no run that can be played');
  return simulated;
}

/** bench:startup's name of a network → the simulator's. */
export function networkOf(name: string): Network {
  const { rtt, mbit } = parseNetwork(name);
  return { name, rtt: rtt * 1e6, bytesPerSecond: mbit === 0 ? Number.POSITIVE_INFINITY : (mbit * 1e6) / 8 };
}
