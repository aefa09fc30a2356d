// The images side by side: the same one, stored in different ways, each pulled in the way it was made for.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Snapshotter } from '../../test/support/lab/client.js';
import type { LabImage } from '../../test/support/lab/images.js';
import { ROOT } from '../support/report.js';
import { untilFlag, type Workload } from './images.js';
import { optimizeLikeThePeer } from './peer.js';
import type { Workshop } from './workshop.js';

/** A way to store and pull an image. */
export interface Variant {
  /** In flags, tags and the journal. */
  readonly name: string;
  /** In the report. */
  readonly title: string;
  readonly snapshotter: Snapshotter;
  /** When this changes, images made earlier are made anew. */
  key(): string;
  /** Puts the image into the registry as `target` (`HOST:PORT/REPOSITORY:TAG`). @returns what is to be told about it */
  make(workshop: Workshop, order: Order): Promise<object>;
}

export interface Order {
  readonly workload: Workload;
  readonly image: LabImage;
  /** `HOST:PORT/REPOSITORY:TAG` of the unchanged image. */
  readonly original: string;
  readonly target: string;
  /** A directory for what is to be kept: records, profiles, plans. Exists. */
  readonly keep: string;
}

const FULL: Variant = {
  name: 'full',
  title: 'full pull',
  snapshotter: 'overlayfs',
  key: () => 'the original',
  make: async (workshop, { image, target }) => {
    await workshop.registry.push(image.reference, target.slice(target.indexOf('/') + 1));
    return {};
  },
};

const PLAIN: Variant = {
  name: 'plain',
  title: 'plain eStargz',
  snapshotter: 'stargz',
  key: () => 'ctr-remote image optimize --oci --no-optimize',
  make: (workshop, order) => optimizeLikeThePeer(workshop, order, false),
};

const PEER: Variant = {
  name: 'peer',
  title: 'ctr-remote optimize',
  snapshotter: 'stargz',
  key: () => 'ctr-remote image optimize --oci, its default period, asked as soon as it answers',
  make: (workshop, order) => optimizeLikeThePeer(workshop, order, true),
};

/** hotlayer's command line, with settings of its own or none. */
export function hotlayerVariant(name: string, title: string, flags: readonly string[] = []): Variant {
  return {
    name,
    title,
    snapshotter: 'stargz',
    key: () => `${flags.join(' ')} ${hashOfProduct()}`,
    make: async (_, { workload, image, target, keep }) => {
      const profile = join(keep, 'profile.json');
      await hotlayer(['profile', image.reference, '-o', profile, '--until', untilFlag(workload.ready)]);
      const plan = ['--save-plan', join(keep, 'plan.json')];
      const { result } = JSON.parse(
        await hotlayer(['optimize', image.reference, target, '--json', '-p', profile, ...plan, ...flags]),
      ) as { result: { layers: readonly { prefetchBytes: number; landmark: string }[] } };
      const hot = result.layers.filter((layer) => layer.landmark === 'prefetch');
      return { prefetchBytes: hot.reduce((sum, layer) => sum + layer.prefetchBytes, 0) };
    },
  };
}

export const VARIANTS: readonly Variant[] = [FULL, PLAIN, PEER, hotlayerVariant('hotlayer', 'hotlayer')];

/** Measured only when they are named. On a line like this nothing is cheaper behind the landmark. */
export const FURTHER_VARIANTS: readonly Variant[] = [
  hotlayerVariant('all-read', 'hotlayer, all that is read', ['--network', '10gbit/1s']),
];

async function hotlayer(args: readonly string[]): Promise<string> {
  const bin = join(ROOT, 'bin/hotlayer.js');
  const { stdout } = await promisify(execFile)(process.execPath, [bin, ...args], {
    cwd: '/',
    maxBuffer: 1 << 28,
  });
  return stdout;
}

let product: string | undefined;

/** Of the compiled product: another program may make another image. */
function hashOfProduct(): string {
  if (product !== undefined) return product;
  const hash = createHash('sha256');
  const dist = join(ROOT, 'dist/src');
  for (const name of readdirSync(dist, { recursive: true, encoding: 'utf8' }).sort())
    if (name.endsWith('.js')) hash.update(`${name}\0`).update(readFileSync(join(dist, name)));
  product = hash.digest('hex').slice(0, 16);
  return product;
}

/** What was made of one image in one way. */
export interface Made {
  readonly repository: string;
  readonly tag: string;
  /** Of the manifest. */
  readonly digest: string;
  readonly layers: readonly { readonly digest: string; readonly size: number }[];
  /** Seconds that it took to make, profile and push included. */
  readonly seconds: number;
  readonly details: object;
}

/** The image in this way, from earlier or made now. */
export async function makeVariant(
  workshop: Workshop,
  variant: Variant,
  workload: Workload,
  image: LabImage,
): Promise<Made> {
  const repository = workload.recipe.name;
  const keep = join(workshop.directory, 'variants', `${repository}-${variant.name}`);
  mkdirSync(keep, { recursive: true });
  const state = join(keep, 'made.json');
  const key = `${image.layout} ${variant.key()}`;
  if (existsSync(state)) {
    const { key: old, made } = JSON.parse(readFileSync(state, 'utf8')) as { key: string; made: Made };
    if (old === key && (await workshop.manifestOf(repository, made.digest))) return made;
  }
  workshop.say(`making ${repository} as ${variant.title} …`);
  const { host } = workshop.registry;
  const began = performance.now();
  const tag = variant.name;
  const order = {
    workload,
    image,
    original: `${host}/${repository}:full`,
    target: `${host}/${repository}:${tag}`,
    keep,
  };
  const details = await variant.make(workshop, order);
  const seconds = Math.round((performance.now() - began) / 10) / 100;
  const manifest = await workshop.manifestOf(repository, tag);
  if (!manifest) throw new Error(`${order.target} is not in the registry after it was made`);
  const made: Made = { repository, tag, digest: manifest.digest, layers: manifest.layers, seconds, details };
  writeFileSync(state, `${JSON.stringify({ key, made }, null, 2)}\n`);
  return made;
}
