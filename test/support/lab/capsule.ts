// A place for daemons that cannot leave anything behind: a pid and a mount namespace of their own, held by a process
// that reads a pipe of ours. When the pipe closes, because we closed it or because we were killed, the kernel kills
// every process inside, whatever they forked, and their mounts go with the namespace. Control groups do not: the shell
// around it all removes those. Needs root.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The first process of the pid namespace. It ignores SIGCHLD, so that the kernel reaps what is orphaned to it. */
const KEEPER = 'echo ready && exec env --ignore-signal=CHLD cat >/dev/null';
/** Hides the machine's /run and /dev/shm, where shims, runc and podman keep sockets and state under fixed names. */
const OWN_RUN = 'mount -t tmpfs -o mode=755 tmpfs /run && mount -t tmpfs -o mode=1777 tmpfs /dev/shm';
/** $0: name of the control group; the rest: what to run before. Either version's place; with none there is nothing to do. */
const THEN_REMOVE_GROUPS = `"$@"
for d in "/sys/fs/cgroup/$0" /sys/fs/cgroup/*/"$0"; do [ ! -d "$d" ] || find "$d" -depth -type d -exec rmdir {} +; done`;
const UNSHARE = ['--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', '--mount-proc'];

/** ms, for what takes a second or two on a machine that is idle. */
const TIMEOUT = 120_000;

export interface CommandOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** ms; when it is over the command is killed and `run` fails. Default 2 minutes: the machine may be busy. */
  readonly timeout?: number;
}

export interface CommandResult {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class Capsule implements AsyncDisposable {
  private readonly ended: Promise<void>;

  private constructor(
    private readonly keeper: ChildProcess,
    /** One of a kind. Control groups of this name beneath the root are removed when the capsule closes. */
    readonly name: string,
    /** Of the namespace's first process, as seen from outside. */
    private readonly init: number,
    /** TMPDIR and home of everything that runs inside. */
    readonly directory: string,
  ) {
    this.ended = new Promise((resolve) => {
      if (keeper.exitCode !== null || keeper.signalCode !== null) resolve();
      else keeper.once('exit', () => resolve());
    });
  }

  /**
   * @param directory exists; the caller removes it after `close`
   * @param run what is seen of /run: nothing at first, or what the machine has there
   */
  static async open(directory: string, run: 'own' | 'machine' = 'own'): Promise<Capsule> {
    const script = run === 'own' ? `${OWN_RUN} && ${KEEPER}` : KEEPER;
    const name = `hl-lab-${process.pid}-${randomBytes(4).toString('hex')}`;
    const keeper = spawn('sh', ['-c', THEN_REMOVE_GROUPS, name, 'unshare', ...UNSHARE, '--', 'sh', '-c', script], {
      cwd: '/',
      stdio: ['pipe', 'pipe', 'pipe'],
      // A Ctrl-C in the terminal is for us: we close the pipe when we are done.
      detached: true,
    });
    let complaint = '';
    keeper.stderr.on('data', (chunk) => {
      complaint += chunk;
    });
    keeper.stdin.on('error', () => {});
    await new Promise<void>((resolve, reject) => {
      keeper.stdout.once('data', () => resolve());
      keeper.once('error', reject);
      keeper.once('exit', (status) => reject(new Error(`no namespaces for the lab: ${complaint.trim() || status}`)));
    });
    const [unshare] = childrenOf(keeper.pid!);
    const [init] = childrenOf(unshare!);
    return new Capsule(keeper, name, init!, directory);
  }

  /** The command as it has to be started from outside. */
  wrap(argv: readonly string[]): [string, ...string[]] {
    return ['nsenter', '--target', String(this.init), '--mount', '--pid', '--', ...argv];
  }

  /** Starts a daemon inside; what it says is appended to `NAME.log` in the capsule's directory. */
  daemon(name: string, argv: readonly string[]): Daemon {
    const log = join(this.directory, `${name}.log`);
    const [program, ...args] = this.wrap(argv);
    const fd = openSync(log, 'a', 0o600);
    try {
      const child = spawn(program, args, {
        cwd: this.directory,
        env: this.environment(),
        stdio: ['ignore', fd, fd],
        detached: true,
      });
      return new Daemon(name, child, log);
    } finally {
      closeSync(fd);
    }
  }

  /** Starts a command inside, its output in pipes. Whoever calls this ends it, or closes the capsule. */
  start(argv: readonly string[], env: Readonly<Record<string, string>> = {}): ChildProcess {
    const [program, ...args] = this.wrap(argv);
    return spawn(program, args, {
      cwd: this.directory,
      env: this.environment(env),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  run(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    const child = this.start(argv, options.env);
    const ms = options.timeout ?? TIMEOUT;
    return new Promise((resolve, reject) => {
      let stdout = '';
      let stderr = '';
      child.stdout!.setEncoding('utf8').on('data', (text) => {
        stdout += text;
      });
      child.stderr!.setEncoding('utf8').on('data', (text) => {
        stderr += text;
      });
      const timer = setTimeout(() => {
        killWithChildren(child);
        reject(new Error(`${argv.join(' ')}: still running after ${ms / 1000} s\n${stderr}${stdout}`));
      }, ms);
      child.once('error', reject);
      child.once('close', (status, signal) => {
        clearTimeout(timer);
        resolve({ status, signal, stdout, stderr });
      });
    });
  }

  /** The stdout of a command that must succeed. */
  async output(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
    const { status, stdout, stderr } = await this.run(argv, options);
    if (status !== 0) throw new Error(`${argv.join(' ')}: status ${status}\n${stderr}${stdout}`);
    return stdout;
  }

  private environment(more: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
    const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
    return { PATH, HOME: this.directory, TMPDIR: this.directory, LC_ALL: 'C', ...more };
  }

  /** Kills everything inside and waits until it is gone. Idempotent. */
  async close(): Promise<void> {
    this.keeper.stdin?.destroy();
    await this.ended;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** nsenter(1) waits for the command that it has forked: killed alone, it would leave that behind, and our pipes open. */
function killWithChildren(child: ChildProcess): void {
  const forked = childrenOf(child.pid!);
  child.kill('SIGKILL');
  for (const pid of forked) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has just ended.
    }
  }
}

/** Of a process with one thread; none when it has ended. */
function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

export class Daemon {
  private failure: Error | undefined;

  constructor(
    readonly name: string,
    private readonly child: ChildProcess,
    readonly log: string,
  ) {
    child.once('error', (error) => {
      this.failure = error;
    });
  }

  /** Polls until `ready` says so. @throws with the end of the log when the daemon ends before, or after 2 minutes */
  async until(ready: () => boolean | Promise<boolean>): Promise<void> {
    const end = Date.now() + TIMEOUT;
    for (;;) {
      if (await ready()) return;
      const ended = this.failure ?? this.child.exitCode ?? this.child.signalCode;
      if (ended !== null || Date.now() > end) {
        const tail = readFileSync(this.log, 'utf8').split('\n').slice(-20).join('\n');
        throw new Error(
          `${this.name} ${ended === null ? `is not ready after ${TIMEOUT / 1000} s` : `ended: ${ended}`}\n${tail}`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
}
