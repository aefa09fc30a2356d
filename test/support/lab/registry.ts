// Debian's docker-registry on a free port of loopback, with its storage in the lab's directory.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Capsule } from './capsule.js';

export class Registry implements AsyncDisposable {
  private constructor(
    private readonly capsule: Capsule,
    readonly port: number,
  ) {}

  /**
   * @param directory is made; the caller removes it after `close`
   * @param storage where the blobs are kept, for a registry that is to have them the next time too
   */
  static async start(directory: string, storage = join(directory, 'storage')): Promise<Registry> {
    for (const path of [directory, storage]) mkdirSync(path, { recursive: true });
    const config = join(directory, 'registry.yml');
    const settings = {
      version: '0.1',
      log: { level: 'info', formatter: 'json', accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: storage }, delete: { enabled: true } },
      http: { addr: '127.0.0.1:0' },
    };
    writeFileSync(config, JSON.stringify(settings)); // JSON is YAML
    const capsule = await Capsule.open(directory);
    try {
      const daemon = capsule.daemon('registry', ['docker-registry', 'serve', config]);
      let port = 0;
      await daemon.until(() => {
        port = Number(/listening on 127\.0\.0\.1:(\d+)/.exec(readFileSync(daemon.log, 'utf8'))?.[1] ?? 0);
        return port > 0;
      });
      return new Registry(capsule, port);
    } catch (error) {
      await capsule.close();
      throw error;
    }
  }

  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  /**
   * Pushes with skopeo, digests and annotations kept.
   * @param source as skopeo says it: `oci:DIR:TAG`
   * @param name `REPOSITORY:TAG`
   */
  async push(source: string, name: string): Promise<void> {
    const skopeo = ['skopeo', '--insecure-policy', 'copy', '-q', '--preserve-digests', '--dest-tls-verify=false'];
    await this.capsule.output([...skopeo, source, `docker://${this.host}/${name}`], { timeout: 300_000 });
  }

  close(): Promise<void> {
    return this.capsule.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
