// config.json of an OCI runtime bundle: the same container as launch.ts makes, in the words of the runtime
// specification. Pure.

import type { ProcessSpec } from '../types.js';
import { CAPABILITIES, MASKED_PROC, READONLY_PROC } from './confinement.js';
import type { Identity } from './passwd.js';
import { defaultSeccomp } from './seccomp.js';

/** As large as a resource limit can be, RLIM_INFINITY: more than a number of JavaScript holds. */
const INFINITY_TEXT = '18446744073709551615';
const INFINITY_MARK = '@infinity@';

export interface BundlePlan {
  readonly process: ProcessSpec;
  /** Its whole environment. */
  readonly env: readonly string[];
  readonly identity: Identity;
  /** Absolute path of the root file system, furnished except for the kernel's file systems and /dev. */
  readonly root: string;
  /** The container's /dev as a directory of this machine. */
  readonly dev: string;
  /** Which of these the root has a place for. */
  readonly places: { readonly proc: boolean; readonly sys: boolean; readonly dev: boolean };
  readonly hostname: string;
  readonly ownNetwork: boolean;
  /** In a user namespace. */
  readonly inner: boolean;
  /** In one that knows one id, which is not the process's. */
  readonly renameId: boolean;
  readonly cgroup2: boolean;
  readonly terminal: boolean;
  /** Of the terminal at first: runc asks for it itself, crun does not. */
  readonly consoleSize?: { readonly height: number; readonly width: number } | undefined;
  /** Text of /proc/self/limits. */
  readonly limits: string;
  /** Says that the container is there, and waits: the arguments of a shell. */
  readonly hook: readonly string[];
}

/** @returns the file's text */
export function ociConfig(plan: BundlePlan): string {
  const { identity, process } = plan;
  const owner = identity.uid === 0 ? CAPABILITIES.map((name) => `CAP_${name.toUpperCase()}`) : [];
  const bounding = CAPABILITIES.map((name) => `CAP_${name.toUpperCase()}`);
  const one = (containerID: number) => [{ containerID, hostID: 0, size: 1 }];
  const config = {
    ociVersion: '1.0.2',
    process: {
      terminal: plan.terminal,
      ...(plan.consoleSize && { consoleSize: plan.consoleSize }),
      user: {
        uid: identity.uid,
        gid: identity.gid,
        ...(!plan.renameId && identity.groups.length > 0 && { additionalGids: identity.groups }),
      },
      args: process.args,
      env: plan.env,
      cwd: process.cwd,
      capabilities: { bounding, effective: owner, permitted: owner, inheritable: [], ambient: [] },
      rlimits: rlimits(plan.limits),
      noNewPrivileges: false,
    },
    root: { path: plan.root, readonly: false },
    hostname: plan.hostname,
    mounts: mounts(plan),
    hooks: { createRuntime: [{ path: '/bin/sh', args: plan.hook }] },
    linux: {
      namespaces: [
        ...['pid', 'ipc', 'uts', 'mount'].map((type) => ({ type })),
        ...(plan.ownNetwork ? [{ type: 'network' }] : []),
        ...(plan.renameId ? [{ type: 'user' }] : []),
      ],
      ...(plan.renameId && { uidMappings: one(identity.uid), gidMappings: one(identity.gid) }),
      seccomp: defaultSeccomp(),
      maskedPaths: [...MASKED_PROC.files, ...MASKED_PROC.dirs].map((name) => `/proc/${name}`).concat('/sys/firmware'),
      readonlyPaths: READONLY_PROC.map((name) => `/proc/${name}`),
    },
  };
  return JSON.stringify(config, undefined, 2).replaceAll(`"${INFINITY_MARK}"`, INFINITY_TEXT);
}

function mounts({ places, dev, ownNetwork, inner, cgroup2 }: BundlePlan): object[] {
  const quiet = ['nosuid', 'noexec', 'nodev'];
  const list: object[] = [];
  if (places.proc) list.push({ destination: '/proc', type: 'proc', source: 'proc', options: quiet });
  if (places.dev) {
    list.push({ destination: '/dev', type: 'bind', source: dev, options: ['rbind'] });
    list.push({ destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: quiet });
  }
  if (places.sys) {
    // Whoever does not own the network namespace cannot mount its /sys.
    const own = ownNetwork || !inner;
    list.push(
      own
        ? { destination: '/sys', type: 'sysfs', source: 'sysfs', options: [...quiet, 'ro'] }
        : { destination: '/sys', type: 'bind', source: '/sys', options: ['rbind', 'ro', ...quiet] },
    );
    if (own && cgroup2)
      list.push({ destination: '/sys/fs/cgroup', type: 'bind', source: '/sys/fs/cgroup', options: ['rbind', 'ro'] });
  }
  return list;
}

/** What this process has, as hard limits may only be lowered; no core files, as launch.ts has it. */
function rlimits(text: string): object[] {
  const of = (label: string, type: string, soft?: number) => {
    const [, nowSoft, hard] = new RegExp(`^Max ${label}\\s+(\\d+|unlimited)\\s+(\\d+|unlimited)`, 'm').exec(text) ?? [];
    if (nowSoft === undefined || hard === undefined) return [];
    const value = (word: string) => (word === 'unlimited' ? INFINITY_MARK : Number(word));
    return [{ type, soft: soft ?? value(nowSoft), hard: value(hard) }];
  };
  return [...of('core file size', 'RLIMIT_CORE', 0), ...of('open files', 'RLIMIT_NOFILE')];
}
