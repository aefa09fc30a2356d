// The container's root, seen from the session's mount namespace: the served file system below, a disposable layer
// above, and the places a container expects (/dev, /tmp, /etc/resolv.conf …) filled. Everything lives on one private
// tmpfs, `dir`, and goes with the namespace.
import { chmodSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { HotlayerError } from '../../errors.js';
import { readText } from '../machine/read-text.js';
import { type MountStep, mountScript, quote, runScript, script } from '../machine/shell.js';
import type { Tools } from '../machine/tools.js';
import { ensureInRoot, resolveInRoot } from '../process/resolve-in-root.js';
import type { BindMount, SessionSpec } from '../types.js';
import { resolvConf } from './network.js';

/**
 * Under `dir`. The order of use: `lower` is mounted by the transport, then `root` lies over it; `view` shows `root`
 * without what is mounted in it, `kept` a directory of this machine that holds the upper half.
 */
export const DIRS = ['lower', 'upper', 'work', 'root', 'view', 'kept', 'dev', 'etc'] as const;
export type Layout = Readonly<Record<(typeof DIRS)[number], string>>;

/** Devices that every container has (OCI runtime spec, config-linux.md "Default Devices"); console needs a terminal. */
const DEVICES = ['null', 'zero', 'full', 'random', 'urandom', 'tty'];
/** Directories that stay writable without a disposable layer. */
const SCRATCH = ['/tmp', '/run', '/var/tmp'];
const TMP_MODE = 0o1777;

export function makeLayout(dir: string): Layout {
  const layout = Object.fromEntries(DIRS.map((name) => [name, `${dir}/${name}`])) as Layout;
  for (const path of Object.values(layout)) mkdirSync(path, { mode: 0o755 });
  return layout;
}

/**
 * The same with the upper half in a directory of this machine. Both halves have to be in one mount (overlayfs).
 * @throws HL_ERR_MACHINE
 */
export async function keepLayer(tools: Tools, dir: string, layout: Layout, keep: string): Promise<Layout> {
  const { kept } = layout;
  const bind = script([{ command: [tools.mount, '-n', '--bind', keep, kept] }]);
  await runScript(tools, bind, `keep the layer in ${keep}`, dir);
  const halves = { upper: `${kept}/upper`, work: `${kept}/work` };
  // A session that was killed leaves its work directory.
  rmSync(halves.work, { recursive: true, force: true });
  for (const path of Object.values(halves)) mkdirSync(path, { mode: 0o755, recursive: true });
  return { ...layout, ...halves };
}

/** What only the overlay needed. Nothing may be mounted from it any more but what is in this namespace. */
export async function leaveKept(tools: Tools, dir: string, layout: Layout): Promise<void> {
  const away = [layout.view, layout.root].map((path) => ({
    command: [tools.umount, '-n', '-R', '-l', path],
    orWarn: 'still mounted',
  }));
  await runScript(tools, script(away), 'let go of the layer', dir);
  rmSync(layout.work, { recursive: true, force: true });
}

/** FIFOs for what the workload reads and prints. Under `dir`. */
export const FIFOS = ['stdin', 'stdout', 'stderr'] as const;

/**
 * What does not need the image: its /dev, and FIFOs. To be begun before there is a root.
 * @returns warnings @throws HL_ERR_MACHINE
 */
export async function prepareDevices(tools: Tools, dir: string, layout: Layout): Promise<string[]> {
  const warnings: string[] = [];
  const fifos = script([{ command: [tools.mkfifo, '-m', '666', ...FIFOS] }]);
  const mounts = mountScript(tools, `${dir}/device-mounts`, deviceMounts(layout.dev, warnings));
  warnings.push(...(await runScript(tools, `${fifos}\n${mounts}`, 'make the container’s devices', dir)));
  return warnings;
}

export interface Furnished {
  readonly places: {
    readonly proc: string | undefined;
    readonly sys: string | undefined;
    readonly mqueue: string | undefined;
  };
  readonly warnings: string[];
}

/**
 * Makes the places and fills those that do not belong to the workload's own namespaces.
 * What it looks at in the image: the components of the paths named here, and of the binds' destinations.
 * @param devices what prepareDevices said
 * @throws HL_ERR_WORKLOAD when the working directory or a bind's destination cannot be made
 */
export async function furnish(
  tools: Tools,
  dir: string,
  layout: Layout,
  spec: SessionSpec,
  writable: boolean,
  devices: readonly string[],
): Promise<Furnished> {
  const { root } = layout;
  const warnings: string[] = [];
  const steps: MountStep[] = [];
  const place = (path: string, kind: 'dir' | 'file', mode?: number): string | undefined => {
    try {
      const made = ensureInRoot(root, path, kind, mode);
      if (made === undefined) warnings.push(`the image has no ${path}, and the root is read-only`);
      return made;
    } catch (error) {
      if (!(error instanceof HotlayerError)) throw error;
      warnings.push(error.message);
      return undefined;
    }
  };

  const proc = place('/proc', 'dir');
  const sys = place('/sys', 'dir');
  const dev = place('/dev', 'dir');
  if (dev !== undefined) {
    warnings.push(...devices);
    // Where crun binds the terminal; runc makes the place itself.
    if (spec.terminal !== undefined && spec.runtime === 'crun') writeFileSync(`${layout.dev}/console`, '');
    steps.push({ source: layout.dev, target: dev, options: 'rbind' });
  }
  if (writable) place('/tmp', 'dir', TMP_MODE);
  else {
    for (const path of SCRATCH) {
      const found = resolveInRoot(root, path);
      if (found.type !== 'dir') continue;
      const options = `nosuid,nodev,mode=${path === '/run' ? '755' : '1777'}`;
      steps.push({ source: 'tmpfs', target: found.path, type: 'tmpfs', options });
    }
  }
  for (const [name, text] of Object.entries(etcFiles(spec))) {
    const target = place(`/etc/${name}`, 'file');
    if (target === undefined) continue;
    writeFileSync(`${layout.etc}/${name}`, text);
    chmodSync(`${layout.etc}/${name}`, 0o644);
    steps.push({ source: `${layout.etc}/${name}`, target, options: 'bind' });
  }
  const mounts = mountScript(tools, `${dir}/root-mounts`, steps);
  warnings.push(...(await runScript(tools, mounts, 'set up the container', dir)));
  for (const bind of spec.binds) await mountBind(tools, root, bind);
  if (ensureInRoot(root, spec.process.cwd, 'dir') === undefined) {
    throw new HotlayerError(
      'HL_ERR_WORKLOAD',
      `the image has no directory ${spec.process.cwd}, and the root is read-only`,
      {
        hint: 'choose another with --workdir',
      },
    );
  }
  // In the container /dev/mqueue is seen through the bind above.
  return { places: { proc, sys, mqueue: dev === undefined ? undefined : `${dev}/mqueue` }, warnings };
}

/** Devices are bound from this machine's /dev: making nodes is not allowed in a user namespace. */
function deviceMounts(dev: string, warnings: string[]): MountStep[] {
  const steps: MountStep[] = [];
  for (const name of DEVICES) {
    if (!statSync(`/dev/${name}`, { throwIfNoEntry: false })?.isCharacterDevice()) {
      warnings.push(`this machine has no /dev/${name}`);
      continue;
    }
    writeFileSync(`${dev}/${name}`, '');
    steps.push({ source: `/dev/${name}`, target: `${dev}/${name}`, options: 'bind' });
  }
  for (const name of ['pts', 'shm', 'mqueue']) mkdirSync(`${dev}/${name}`);
  const pts = 'newinstance,ptmxmode=0666,mode=0620,nosuid,noexec';
  steps.push({ source: 'devpts', target: `${dev}/pts`, type: 'devpts', options: pts, orWarn: 'no /dev/pts' });
  // Docker's size of /dev/shm.
  const shm = 'nosuid,nodev,noexec,mode=1777,size=64m';
  steps.push({ source: 'shm', target: `${dev}/shm`, type: 'tmpfs', options: shm });
  for (const [name, target] of [
    ['ptmx', 'pts/ptmx'],
    ['fd', '/proc/self/fd'],
    ['stdin', '/proc/self/fd/0'],
    ['stdout', '/proc/self/fd/1'],
    ['stderr', '/proc/self/fd/2'],
  ] as const) {
    symlinkSync(target, `${dev}/${name}`);
  }
  return steps;
}

/** As docker writes them; on the machine's network its own names stay known. */
function etcFiles(spec: SessionSpec): Record<string, string> {
  const own = `127.0.0.1\t${spec.hostname}\n`;
  const local = '127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n';
  const machine = spec.net === 'host' ? readText('/etc/hosts') : '';
  return {
    hostname: `${spec.hostname}\n`,
    hosts: (machine === '' ? local : machine.replace(/\n?$/, '\n')) + own,
    'resolv.conf': resolvConf(spec.net, readText('/etc/resolv.conf')),
  };
}

/** One after another, because the destination of one may be inside another. */
async function mountBind(tools: Tools, root: string, bind: BindMount): Promise<void> {
  const source = statSync(bind.source, { throwIfNoEntry: false });
  if (!source) {
    throw new HotlayerError(
      'HL_ERR_NOT_FOUND',
      `${bind.source}, to be mounted on ${bind.destination}, does not exist`,
      {
        context: { file: bind.source },
      },
    );
  }
  const target = ensureInRoot(root, bind.destination, source.isDirectory() ? 'dir' : 'file');
  if (target === undefined) {
    throw new HotlayerError(
      'HL_ERR_WORKLOAD',
      `the image has no ${bind.destination} to mount on, and the root is read-only`,
    );
  }
  const what = `mount ${bind.source} on ${bind.destination}`;
  await runScript(tools, script([{ command: [tools.mount, '-n', '--rbind', bind.source, target] }]), what);
  if (!bind.readonly) return;
  // In a user namespace a remount must repeat the flags that came with the mount, or it is refused.
  const flags = mountFlags(readFileSync('/proc/self/mountinfo', 'utf8')).get(target) ?? [];
  const options = ['remount', 'bind', 'ro', ...flags.filter((flag) => flag !== 'rw' && flag !== 'ro')].join(',');
  await runScript(tools, script([{ command: [tools.mount, '-n', '-o', options, target] }]), `${what} read-only`);
}

/** Per-mount flags by mount point, the topmost mount's where several are stacked (proc_pid_mountinfo(5)). */
export function mountFlags(mountinfo: string): Map<string, string[]> {
  const flags = new Map<string, string[]>();
  for (const line of mountinfo.split('\n')) {
    const [, , , , point, options] = line.split(' ');
    if (point === undefined || options === undefined) continue;
    const path = point.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
    flags.set(path, options.split(','));
  }
  return flags;
}

/**
 * Puts the root under the process (and under every other of its mount namespace), then takes the old one away.
 * After pivot_root(".", ".") the old root lies over the new one: a second nsenter therefore finds the tools again.
 */
export async function switchRoot(tools: Tools, pid: number, root: string): Promise<void> {
  const enter = [tools.nsenter, '--target', String(pid), '--mount', '--'];
  const pivot = `cd ${quote(root)} && exec ${quote(tools.pivot_root)} . .`;
  const steps = [
    { command: [...enter, tools.sh, '-c', pivot] },
    { command: [...enter, tools.umount, '-n', '-l', '/'] },
  ];
  await runScript(tools, script(steps), 'switch to the container’s root');
}
