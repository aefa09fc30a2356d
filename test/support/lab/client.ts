// containerd with the stargz snapshotter beside its own overlayfs one, cold: nothing pulled, nothing cached. What it
// pulls comes from a registry on loopback, directly or through a ThrottlingProxy.
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { goProgram } from '../go.js';
import { Capsule, type CommandOptions, type CommandResult } from './capsule.js';
import { operationCounts, readSnapshotterLog, type SnapshotterLog } from './snapshotter-log.js';

/** `stargz`: lazy. `overlayfs`: everything is pulled and unpacked first. */
export type Snapshotter = 'stargz' | 'overlayfs';

export interface ClientOptions {
  /** Whether the snapshotter also fetches the rest of the layers when it is idle. Default false: what is fetched is what was asked for. */
  readonly backgroundFetch?: boolean;
  /** The snapshotter's other settings, lines of TOML. */
  readonly settings?: string;
}

export interface RunOptions {
  /** Default stargz. */
  readonly snapshotter?: Snapshotter;
  /** Default: what the image says. */
  readonly args?: readonly string[];
  /** `host`: the machine's network; default: a network of its own, in which there is only loopback. */
  readonly net?: 'host' | 'own';
}

export interface RunningContainer {
  readonly name: string;
  /** Settles with its output when it has ended and is removed. */
  readonly ended: Promise<CommandResult>;
}

/** Chunks that the container asked for before the client had them; served from the registry, or its local HTTP cache. */
const ON_DEMAND = 'on_demand_remote_registry_fetch_count';

export class LazyClient implements AsyncDisposable {
  private containers = 0;

  private constructor(
    private readonly capsule: Capsule,
    private readonly snapshotterLog: string,
    private readonly metricsAddress: string,
  ) {}

  /** @param directory is made; empty or new, else the client is not cold. The caller removes it after `close` */
  static async start(directory: string, options: ClientOptions = {}): Promise<LazyClient> {
    const program = await goProgram('stargz-grpc', 'stargz-grpc/main.go');
    mkdirSync(directory, { recursive: true });
    const at = (name: string) => join(directory, name);
    // Top-level keys come before any table.
    writeFileSync(
      at('snapshotter.toml'),
      `no_background_fetch = ${!options.backgroundFetch}\n${options.settings ?? ''}\n`,
    );
    writeFileSync(at('containerd.toml'), containerdConfig(directory));
    const capsule = await Capsule.open(directory);
    try {
      const snapshotter = capsule.daemon('snapshotter', [
        program,
        ...['-socket', at('snapshotter.sock'), '-state', at('snapshotter'), '-config', at('snapshotter.toml')],
        ...['-metrics', '127.0.0.1:0', '-ready', at('metrics-address')],
      ]);
      let metrics = '';
      await snapshotter.until(() => {
        metrics = readIfThere(at('metrics-address'));
        return metrics !== '';
      });
      const client = new LazyClient(capsule, snapshotter.log, metrics);
      const containerd = capsule.daemon('containerd', ['containerd', '--config', at('containerd.toml')]);
      await containerd.until(async () => (await client.ctr(['version'])).status === 0);
      return client;
    } catch (error) {
      await capsule.close();
      throw error;
    }
  }

  /** @param reference `HOST:PORT/REPOSITORY:TAG`, reached over plain http */
  async pull(reference: string, snapshotter: Snapshotter = 'stargz'): Promise<void> {
    const tool = snapshotter === 'stargz' ? ['ctr-remote', 'image', 'rpull'] : ['ctr', 'image', 'pull'];
    await this.capsule.output([...tool, '--plain-http', reference], { env: this.environment });
  }

  /** Runs a container to its end and removes it. */
  async run(reference: string, options: RunOptions = {}): Promise<CommandResult> {
    const { name, argv } = this.runCommand(reference, options);
    return this.capsule.run(['ctr', 'run', '--rm', ...argv, name, ...(options.args ?? [])], { env: this.environment });
  }

  /**
   * Starts a container, its output in pipes, and looks at nothing else: for whoever measures. It ends with the client
   * at the latest.
   */
  launch(reference: string, options: RunOptions = {}): ChildProcess {
    const { name, argv } = this.runCommand(reference, options);
    return this.capsule.start(['ctr', 'run', '--rm', ...argv, name, ...(options.args ?? [])], this.environment);
  }

  /** Starts a container that goes on. @returns when its first process has been started */
  async startContainer(reference: string, options: RunOptions = {}): Promise<RunningContainer> {
    const { name, argv } = this.runCommand(reference, options);
    const ended = this.capsule.run(['ctr', 'run', '--rm', ...argv, name, ...(options.args ?? [])], {
      env: this.environment,
      timeout: 24 * 3600_000,
    });
    let result: CommandResult | undefined;
    ended.then(
      (value) => {
        result = value;
      },
      () => {},
    );
    while (Number.isNaN(await this.pidOf(name))) {
      if (result) throw new Error(`ctr run ${reference}: status ${result.status}\n${result.stderr}${result.stdout}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return { name, ended };
  }

  /** Ends a container of `startContainer`; its `ctr run` then ends too. */
  async kill(name: string): Promise<void> {
    await this.capsule.output(['ctr', 'task', 'kill', '--signal', 'SIGKILL', name], { env: this.environment });
  }

  /** Of a container's first process, inside the capsule; NaN while there is none. */
  private async pidOf(name: string): Promise<number> {
    const tasks = await this.capsule.output(['ctr', 'task', 'ls'], { env: this.environment });
    return Number(
      tasks
        .split('\n')
        .map((line) => line.split(/\s+/))
        .find((words) => words[0] === name)?.[1],
    );
  }

  /** A command in the network of a container. */
  async inNetworkOf(name: string, argv: readonly string[]): Promise<CommandResult> {
    return this.capsule.run(['nsenter', '--target', String(await this.pidOf(name)), '--net', '--', ...argv]);
  }

  /** Since the start. */
  log(): SnapshotterLog {
    return readSnapshotterLog(readFileSync(this.snapshotterLog, 'utf8'));
  }

  /** Chunk misses since the start, by the layer's digest; layers without any are absent. */
  async onDemandFetches(): Promise<Map<string, number>> {
    const answer = await fetch(`http://${this.metricsAddress}/metrics`);
    return operationCounts(await answer.text(), ON_DEMAND);
  }

  ctr(args: readonly string[]): Promise<CommandResult> {
    return this.capsule.run(['ctr', ...args], { env: this.environment });
  }

  /** The stdout of a tool that speaks to this containerd and must succeed: `ctr`, `ctr-remote`. */
  tool(argv: readonly string[], options: Pick<CommandOptions, 'timeout'> = {}): Promise<string> {
    return this.capsule.output(argv, { ...options, env: this.environment });
  }

  /** Starts such a tool, its output in pipes, and looks at nothing else: for whoever measures. */
  begin(argv: readonly string[]): ChildProcess {
    return this.capsule.start(argv, this.environment);
  }

  /** Kills client and containers; their mounts go too. */
  close(): Promise<void> {
    return this.capsule.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private get environment(): Record<string, string> {
    // containerd's namespace is also the control group of its containers.
    const { directory, name } = this.capsule;
    return { CONTAINERD_ADDRESS: join(directory, 'containerd.sock'), CONTAINERD_NAMESPACE: name };
  }

  private runCommand(reference: string, options: RunOptions): { name: string; argv: string[] } {
    this.containers += 1;
    const name = `c${this.containers}`;
    const net = options.net === 'host' ? ['--net-host'] : [];
    return { name, argv: [...net, '--snapshotter', options.snapshotter ?? 'stargz', reference] };
  }
}

/** No CRI (it wants CNI), and none of the snapshotters that probe the machine for devices. */
function containerdConfig(directory: string): string {
  const unused = [
    'io.containerd.grpc.v1.cri',
    ...['aufs', 'btrfs', 'devmapper', 'zfs'].map((name) => `io.containerd.snapshotter.v1.${name}`),
    'io.containerd.internal.v1.tracing',
    'io.containerd.tracing.processor.v1.otlp',
  ];
  const path = (name: string) => JSON.stringify(join(directory, name));
  return `version = 2
root = ${path('containerd/root')}
state = ${path('containerd/state')}
disabled_plugins = ${JSON.stringify(unused)}
[grpc]
  address = ${path('containerd.sock')}
[proxy_plugins.stargz]
  type = "snapshot"
  address = ${path('snapshotter.sock')}
`;
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
