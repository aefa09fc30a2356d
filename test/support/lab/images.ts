// Images for the real client, made from Debian packages: minbase Debian, the packages, the application; gzip layers with
// real whiteouts. Made once for each recipe and kept, by default in node_modules/.cache/hotlayer/images. Needs root and
// the machine's apt sources.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { withLock } from '../../../src/image/lock.js';
import { CACHE } from '../go.js';
import { buildLayout, HOST_ARCHITECTURE } from '../layout.js';
import { Capsule } from './capsule.js';
import { BASE_SCRIPT, LAYERS_SCRIPT } from './image-script.js';

export interface ImageRecipe {
  /** Of the cached layout: letters, digits, `-`. */
  readonly name: string;
  /** Debian packages of the middle layer, without their recommendations. */
  readonly packages: readonly string[];
  /** Shell, run as root in the root file system's directory: the last layer is what it changes. */
  readonly app: string;
  readonly config: { readonly Cmd: readonly string[]; readonly User?: string; readonly WorkingDir?: string };
}

export interface LabImage {
  readonly recipe: ImageRecipe;
  /** An OCI layout, not to be written to. */
  readonly layout: string;
  /** `oci:LAYOUT:TAG` */
  readonly reference: string;
}

/**
 * Every last layer also deletes a file of the lowest one, and replaces a directory that both layers below have: a
 * whiteout and an opaque directory.
 */
const DELETIONS = 'rm etc/issue.net; rm -r var/log/apt; mkdir var/log/apt; : >var/log/apt/empty';

const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Imports what a small service would, says `ready` and ends. */
export const PYTHON: ImageRecipe = {
  name: 'python',
  packages: ['python3'],
  app: `mkdir app
echo "import json, ssl, http.client, sqlite3, asyncio; print('ready', flush=True)" >app/ready.py`,
  config: { Cmd: ['python3', '/app/ready.py'] },
};

/** Serves `ready` on 127.0.0.1:8080. */
export const NGINX: ImageRecipe = {
  name: 'nginx',
  packages: ['nginx-light'],
  app: `cat >etc/nginx/nginx.conf <<'END'
worker_processes 1; daemon off; pid /run/nginx.pid; error_log stderr;
events { worker_connections 64; }
http { include mime.types; access_log off;
  server { listen 127.0.0.1:8080; root /var/www/html; index index.html; } }
END
mkdir -p var/www/html; echo ready >var/www/html/index.html`,
  config: { Cmd: ['nginx'] },
};

/** ms; packages may have to come over a slow line, and somebody else may be making the image before us. */
const BUILD_TIMEOUT = 10 * 60_000;

/**
 * The image, from the cache or made now (some 40 s and the download). Safe to call from several processes.
 * @param images the cache, a directory; made when missing
 */
export async function labImage(recipe: ImageRecipe, images = join(CACHE, 'images')): Promise<LabImage> {
  const layout = join(images, `${recipe.name}-${keyOf(BASE_SCRIPT, LAYERS_SCRIPT, DELETIONS, JSON.stringify(recipe))}`);
  mkdirSync(images, { recursive: true });
  if (!existsSync(layout)) {
    await withLock(
      images,
      async () => {
        if (!existsSync(layout)) await build(recipe, images, layout);
      },
      BUILD_TIMEOUT,
    );
  }
  return { recipe, layout, reference: `oci:${layout}:latest` };
}

async function build(recipe: ImageRecipe, images: string, layout: string): Promise<void> {
  const work = `${layout}.tmp`;
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work);
  try {
    const base = await baseTar(images, work);
    await script(work, LAYERS_SCRIPT, [work, base, aptSources(), `${recipe.app}\n${DELETIONS}`, ...recipe.packages]);
    const tars = [base, join(work, 'layer-1.tar'), join(work, 'layer-2.tar')];
    buildLayout(join(work, 'layout'), {
      layers: tars.map((path) => readFileSync(path)),
      platform: { os: 'linux', architecture: HOST_ARCHITECTURE },
      config: { config: { Env: [PATH], ...recipe.config } },
    });
    renameSync(join(work, 'layout'), layout);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** The lowest layer, the same for all. */
async function baseTar(images: string, work: string): Promise<string> {
  const path = join(images, `base-${keyOf(BASE_SCRIPT)}.tar`);
  if (existsSync(path)) return path;
  const made = `${path}.tmp.tar`; // mmdebstrap goes by the end of the name
  try {
    await script(work, BASE_SCRIPT, [made, aptSources()]);
    renameSync(made, path);
  } finally {
    rmSync(made, { force: true });
  }
  return path;
}

/**
 * Runs shell that makes a root file system from Debian packages, in namespaces of its own.
 * @param work an existing directory @param args the script's, given the apt sources file or ""
 */
export function aptScript(work: string, text: string, args: (sources: string) => readonly string[]): Promise<void> {
  return script(work, text, args(aptSources()));
}

/** Runs shell as root in namespaces of its own, which end with us. */
async function script(work: string, text: string, args: readonly string[]): Promise<void> {
  // Not without the machine's /run: /etc/resolv.conf may be a link into it.
  await using capsule = await Capsule.open(work, 'machine');
  // The capsule's own TMPDIR and HOME are not there in the image's root, where packages are configured.
  const env = { TMPDIR: '/tmp', HOME: '/root', ...proxies() };
  await capsule.output(['sh', '-c', text, 'sh', ...args], { env, timeout: BUILD_TIMEOUT });
}

/** How this machine's programs reach the network, where that is said in the environment. */
function proxies(): Record<string, string> {
  const entries = Object.entries(process.env).filter(([name]) => /^(?:https?|ftp|no|all)_proxy$/i.test(name));
  return Object.fromEntries(entries) as Record<string, string>;
}

/** The machine's own sources, so that its mirror and its keys are used; "": what mmdebstrap finds. */
function aptSources(): string {
  const directory = '/etc/apt/sources.list.d';
  if (!existsSync(directory)) return '';
  const name = readdirSync(directory).find((file) => /^debian.*\.sources$/.test(file));
  return name === undefined ? '' : join(directory, name);
}

function keyOf(...parts: readonly string[]): string {
  return createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 16);
}
