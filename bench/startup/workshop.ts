// Where the images are made, kept and served from: a directory that outlives the run, with a registry on it.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { makeTempDir, type TempDir } from '../../src/temp.js';
import { Registry } from '../../test/support/lab/registry.js';

interface StoredManifest {
  readonly digest: string;
  readonly config: { readonly digest: string };
  readonly layers: readonly { readonly digest: string; readonly size: number }[];
}

const ACCEPT = 'application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json';

export class Workshop implements AsyncDisposable {
  private constructor(
    /** `images/`, `variants/`, `registry/`, `measurements.jsonl`, `requests/`. */
    readonly directory: string,
    readonly registry: Registry,
    private readonly temp: TempDir,
    readonly say: (text: string) => void,
  ) {}

  static async open(directory: string, say: (text: string) => void): Promise<Workshop> {
    mkdirSync(directory, { recursive: true });
    const temp = makeTempDir(undefined, 'hotlayer-workshop');
    try {
      const registry = await Registry.start(join(temp.path, 'registry'), join(directory, 'registry'));
      return new Workshop(directory, registry, temp, say);
    } catch (error) {
      temp.remove();
      throw error;
    }
  }

  /**
   * A manifest of the registry; of an index, its first one.
   * @param name a tag or digest
   * @returns undefined when it is not there
   */
  async manifestOf(repository: string, name: string): Promise<StoredManifest | undefined> {
    const answer = await this.ask(repository, `manifests/${name}`);
    if (answer.status === 404) return undefined;
    const document = (await answer.json()) as Omit<StoredManifest, 'digest'> & { manifests?: { digest: string }[] };
    const inner = document.manifests?.[0];
    if (inner) return this.manifestOf(repository, inner.digest);
    return { ...document, digest: answer.headers.get('docker-content-digest') ?? '' };
  }

  /** Reads all blobs once, so that the registry has them in memory alike for everybody. */
  async warm(repository: string, tag: string): Promise<void> {
    const manifest = await this.manifestOf(repository, tag);
    if (!manifest) throw new Error(`${repository}:${tag} is not in the registry`);
    for (const { digest } of [manifest.config, ...manifest.layers]) {
      const answer = await this.ask(repository, `blobs/${digest}`);
      for await (const _ of answer.body!) {
        // only read
      }
    }
  }

  async close(): Promise<void> {
    await this.registry.close();
    this.temp.remove();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private async ask(repository: string, path: string): Promise<Response> {
    const url = `http://${this.registry.host}/v2/${repository}/${path}`;
    const answer = await fetch(url, { headers: { accept: ACCEPT } });
    if (!answer.ok && answer.status !== 404) throw new Error(`GET ${url}: status ${answer.status}`);
    return answer;
  }
}
