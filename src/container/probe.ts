// What this machine can do, and the mend for what it cannot: the data of `doctor`. Everything that can be tried is
// tried, up to a whole session, because no list of settings says whether a mount will be allowed.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statfsSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { HotlayerError } from '../errors.js';
import { deviceMend, isLack, nativeSupport, nativeTransport, probeFuse } from '../fuse/index.js';
import { makeTempDir } from '../temp.js';
import { formatBytes, formatCount, GIB } from '../units.js';
import { findTool, findTools, TOOL_NAMES, toolPath } from './machine/tools.js';
import { needsUserNamespace, runSession } from './session/run-session.js';

export interface Check {
  /** Stable: kernel, node, util-linux, fuse (the transport raw), fuse-native, namespaces, session, space. */
  readonly id: string;
  readonly label: string;
  readonly ok: boolean;
  /** True: the machine can do without. */
  readonly optional?: boolean;
  /** One line: what was found. */
  readonly detail: string;
  /** What to do. Absent when ok, or when nothing can be done. */
  readonly mend?: string;
}

/** FUSE 7.31, which the transport speaks, came with Linux 5.4. */
const KERNEL = [5, 4] as const;
/** The floor of package.json "engines". */
const NODE = [20, 12] as const;
/** unshare --map-user came with util-linux 2.36. */
const UTIL_LINUX = [2, 36] as const;
/** A spooled image and a rewritten one should fit. */
const SPACE = 1 * GIB;
const EMPTY_FS = { module: new URL('./empty-fs.js', import.meta.url).href, args: {} };
const NO_SPEC_TIMEOUT = 20e9;

/** Every check, in the order in which a person would mend them. Takes about half a second. Never throws. */
export async function probeMachine(tmp: string = process.env.TMPDIR || tmpdir()): Promise<Check[]> {
  return [
    checkKernel(),
    checkNode(),
    checkTools(),
    checkFuse(),
    await checkNative(tmp),
    checkNamespaces(),
    await checkSession(tmp),
    checkSpace(tmp),
  ];
}

function checkKernel(): Check {
  const ok = process.platform === 'linux' && atLeast(release(), KERNEL);
  return {
    id: 'kernel',
    label: 'Linux kernel',
    ok,
    detail: `${process.platform} ${release()}`,
    ...(!ok && { mend: `use Linux ${KERNEL.join('.')} or later; without root, 5.11 or later` }),
  };
}

function checkNode(): Check {
  const ok = atLeast(process.versions.node, NODE);
  const mend = `install Node.js ${NODE.join('.')} or later`;
  return { id: 'node', label: 'Node.js', ok, detail: process.versions.node, ...(!ok && { mend }) };
}

function checkTools(): Check {
  const check = { id: 'util-linux', label: 'util-linux' };
  const mend = `install util-linux ${UTIL_LINUX.join('.')} or later (Debian: apt-get install util-linux mount)`;
  const missing = TOOL_NAMES.filter((name) => findTool(name) === undefined);
  if (missing.length > 0) return { ...check, ok: false, detail: `${missing.join(', ')} not in ${toolPath()}`, mend };
  const { unshare } = findTools();
  const said = spawnSync(unshare, ['--version'], { encoding: 'utf8', timeout: 5000 }).stdout?.trim() ?? '';
  const version = /util-linux\s+(\S+)/.exec(said)?.[1];
  if (version === undefined) {
    return {
      ...check,
      ok: false,
      detail: `${unshare} is not util-linux: ${said.split('\n')[0] || 'it has no --version'}`,
      mend,
    };
  }
  const ok = atLeast(version, UTIL_LINUX);
  return { ...check, ok, detail: version, ...(!ok && { mend }) };
}

function checkFuse(): Check {
  const probe = probeFuse();
  return {
    id: 'fuse',
    label: 'transport raw',
    ok: probe.ok,
    detail: probe.detail,
    ...(probe.mend !== undefined && { mend: probe.mend }),
  };
}

/** The other transport; a machine without it lacks nothing as long as the first one can be used. */
async function checkNative(tmp: string): Promise<Check> {
  const check = { id: 'fuse-native', label: 'transport fuse-native', optional: true };
  const support = nativeSupport();
  if (isLack(support)) return { ...check, ok: false, detail: support.why, mend: support.mend };
  const means = support.mode === 'mount' ? 'mount(2), as root' : support.fusermount;
  try {
    using directory = makeTempDir(tmp);
    const mounted = await nativeTransport.mount({ mountpoint: directory.path, ...EMPTY_FS, name: 'hotlayer-probe' });
    await mounted.unmount();
    return { ...check, ok: true, detail: `libfuse 2 mounts through ${means}` };
  } catch (error) {
    if (!(error instanceof HotlayerError)) throw error;
    return { ...check, ok: false, detail: error.message, mend: nativeMend(error) };
  }
}

function nativeMend(error: HotlayerError): string {
  return /dev\/fuse/.test(error.message)
    ? deviceMend('EACCES')
    : 'none is known; the message is libfuse’s or fusermount’s';
}

/** Settings that forbid user namespaces, and what they are when they do not. */
const SWITCHES = [
  { file: 'kernel/unprivileged_userns_clone', good: '1', forbids: (value: string) => value === '0' },
  { file: 'kernel/apparmor_restrict_unprivileged_userns', good: '0', forbids: (value: string) => value === '1' },
  { file: 'user/max_user_namespaces', good: '10000', forbids: (value: string) => value === '0' },
];

function checkNamespaces(): Check {
  const check = { id: 'namespaces', label: 'namespaces' };
  const user = needsUserNamespace();
  const args = [
    ...(user ? ['--user', '--map-root-user'] : []),
    '--mount',
    '--pid',
    '--ipc',
    '--uts',
    '--net',
    '--fork',
    'true',
  ];
  const unshare = findTool('unshare');
  if (unshare === undefined)
    return { ...check, ok: false, detail: 'there is no unshare command', mend: 'install util-linux' };
  const tried = spawnSync(unshare, args, { encoding: 'utf8', timeout: 5000, env: { PATH: toolPath(), LC_ALL: 'C' } });
  if (tried.status === 0) {
    const how = user ? 'without root, in a user namespace' : 'as root';
    return { ...check, ok: true, detail: `mount, pid, ipc, uts and net namespaces ${how}` };
  }
  const detail = tried.stderr?.trim() || `unshare ended with status ${tried.status}`;
  const off = SWITCHES.find(({ file, forbids }) => forbids(sysctl(file)));
  const mend =
    user && off
      ? `sysctl -w ${off.file.replaceAll('/', '.')}=${off.good}, or run as root`
      : 'inside a container: --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined';
  return { ...check, ok: false, detail, mend };
}

/** This machine's programs on an empty served root: all that a real session does, in a moment. */
async function checkSession(tmp: string): Promise<Check> {
  const check = { id: 'session', label: 'a whole session' };
  const mend = 'mend what is wrong above; what remains is in the message';
  try {
    const { sh } = findTools();
    const dirs = ['/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32', '/usr', '/nix', '/gnu'].filter((dir) =>
      existsSync(dir),
    );
    const result = await runSession({
      fs: EMPTY_FS,
      fds: [],
      process: { args: [sh, '-c', 'exit 42'], env: ['PATH=/usr/bin:/bin'], cwd: '/', user: '' },
      binds: dirs.map((dir) => ({ source: dir, destination: dir, readonly: false })),
      net: 'none',
      hostname: 'doctor',
      until: [],
      timeoutNanos: NO_SPEC_TIMEOUT,
      tmpdir: tmp,
    });
    if (result.exitCode !== 42) {
      const how = result.timedOut ? 'did not end' : `ended with ${result.signal ?? result.exitCode} instead of 42`;
      return { ...check, ok: false, detail: `the workload ${how}: ${result.tail.join('; ')}`, mend };
    }
    const layer = {
      overlay: 'a disposable overlayfs layer',
      'fuse-overlayfs': 'a disposable layer of fuse-overlayfs',
      readonly: 'a read-only root (no overlayfs, and no fuse-overlayfs)',
    }[result.writable];
    const missing = result.warnings?.length ? `; ${result.warnings.join('; ')}` : '';
    const ids = !result.rootless
      ? ''
      : result.uids === 1
        ? '; one user id (more: ranges in /etc/subuid and /etc/subgid, and the package uidmap)'
        : `; ${formatCount(result.uids)} user ids`;
    return { ...check, ok: true, detail: `a process ran on a FUSE root with ${layer}${ids}${missing}` };
  } catch (error) {
    if (!(error instanceof HotlayerError)) throw error;
    return { ...check, ok: false, detail: error.message, mend: error.hint ?? mend };
  }
}

function checkSpace(tmp: string): Check {
  const check = { id: 'space', label: 'temporary space' };
  const mend = 'make room, or name another directory with --tmpdir';
  try {
    const { bavail, bsize } = statfsSync(tmp);
    const free = bavail * bsize;
    const ok = free >= SPACE;
    return { ...check, ok, detail: `${formatBytes(free)} free in ${tmp}`, ...(!ok && { mend }) };
  } catch (error) {
    return { ...check, ok: false, detail: `${tmp}: ${(error as Error).message}`, mend };
  }
}

function sysctl(file: string): string {
  try {
    return readFileSync(`/proc/sys/${file}`, 'latin1').trim();
  } catch {
    return '';
  }
}

/** `6.18.44-fc`, `2.38.1` … against major and minor. */
function atLeast(version: string, [major, minor]: readonly [number, number]): boolean {
  const [a = 0, b = 0] = version.split('.').map((part) => Number.parseInt(part, 10));
  return a > major || (a === major && b >= minor);
}
