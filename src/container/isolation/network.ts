// A container's own network that reaches out through a program of this machine, as users without root know it.
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, writeFileSync } from 'node:fs';
import { HotlayerError } from '../../errors.js';
import { readText } from '../machine/read-text.js';
import { runScript, script, toolEnv } from '../machine/shell.js';
import { findTool, type Tools } from '../machine/tools.js';
import type { Net } from '../types.js';

type Through = Exclude<Net, 'host' | 'none'>;

/** slirp4netns(1): its own name server. */
const SLIRP_DNS = '10.0.2.3';
/** An address that nobody else has (link-local), for pasta to answer on when the machine's name server is itself. */
const PASTA_DNS = '169.254.1.53';
const TUN = '/dev/net/tun';
/** What it takes to come up, milliseconds. */
const UP_MS = 10_000;
const PACKAGE: Record<Through, string> = { slirp4netns: 'slirp4netns', pasta: 'passt' };

export function isThrough(net: Net): net is Through {
  return net === 'slirp4netns' || net === 'pasta';
}

/** The text of /etc/resolv.conf in the container. @param machine that of this machine */
export function resolvConf(net: Net, machine: string): string {
  if (net === 'host') return machine;
  if (net === 'none') return '';
  if (net === 'slirp4netns') return `nameserver ${SLIRP_DNS}\n`;
  return onlyLocal(machine) ? `nameserver ${PASTA_DNS}\n` : machine;
}

/** Whether no name server of the text can be reached from another network namespace. */
function onlyLocal(text: string): boolean {
  return [...text.matchAll(/^nameserver\s+(\S+)/gm)].every(([, address]) => /^(127\.|::1$)/.test(address!));
}

/** @throws HL_ERR_MACHINE when it is not installed or cannot work here */
export function requireNetwork(net: Net): void {
  if (!isThrough(net)) return;
  if (findTool(net) === undefined) {
    throw new HotlayerError('HL_ERR_MACHINE', `--net ${net}: there is no ${net} command`, {
      hint: `install it (apt-get install ${PACKAGE[net]}), or use --net host or none`,
    });
  }
  try {
    accessSync(TUN, constants.R_OK | constants.W_OK);
  } catch (cause) {
    throw new HotlayerError('HL_ERR_MACHINE', `--net ${net}: ${(cause as Error).message}`, {
      hint: `load the kernel module (modprobe tun) and let users open ${TUN}, or use --net host or none`,
      cause,
    });
  }
}

/**
 * Connects the network namespace of a process. The program ends with the session's pid namespace at the latest.
 * @param pid of a process in it, in this process's pid namespace @param dir a directory for a file
 * @param inner this is a user namespace, not the machine's own
 * @returns ends it
 * @throws HL_ERR_MACHINE with what it said
 */
export async function connectNetwork(
  net: Net,
  pid: number,
  tools: Tools,
  dir: string,
  inner: boolean,
): Promise<() => void> {
  if (!isThrough(net)) return () => {};
  const place = `${dir}/netns`;
  writeFileSync(place, '');
  // pasta gives up its rights before it opens the namespace: of a process with more than it has left it may not.
  const bind = script([{ command: [tools.mount, '-n', '--bind', `/proc/${pid}/ns/net`, place] }]);
  await runScript(tools, bind, 'hold the network namespace');
  const program = findTool(net)!;
  // The user namespace is ours already: only the network namespace is entered.
  const args =
    net === 'slirp4netns'
      ? ['--configure', '--mtu=65520', '--disable-host-loopback', '--ready-fd=3', '--netns-type=path', place, 'tap0']
      : pastaArgs(place, inner);
  const child = spawn(tools.setpriv, ['--pdeathsig', 'KILL', '--', program, ...args], {
    cwd: '/',
    env: toolEnv(),
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
  });
  let said = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const up = await cameUp(child, net === 'slirp4netns' ? undefined : () => hasRoute(pid));
  if (up) return () => void child.kill('SIGKILL');
  child.kill('SIGKILL');
  throw new HotlayerError(
    'HL_ERR_MACHINE',
    `--net ${net}: ${said.trim().replaceAll('\n', '; ') || 'it did not come up'}`,
    {
      hint: 'use --net host or none',
    },
  );
}

function pastaArgs(place: string, inner: boolean): string[] {
  const dns = onlyLocal(readText('/etc/resolv.conf')) ? ['--dns-forward', PASTA_DNS] : [];
  const closed = ['--tcp-ports', 'none', '--udp-ports', 'none', '--tcp-ns', 'none', '--udp-ns', 'none'];
  return [
    '--config-net',
    '--foreground',
    '--quiet',
    '--no-map-gw',
    ...closed,
    ...dns,
    // As the machine's root it becomes "nobody", who may not enter what is root's; it locks itself up in any case.
    ...(inner ? [] : ['--runas', '0:0']),
    '--netns-only',
    '--netns',
    place,
  ];
}

/** @param look absent: a byte on descriptor 3 says so */
async function cameUp(child: ChildProcess, look: (() => boolean) | undefined): Promise<boolean> {
  const deadline = performance.now() + UP_MS;
  let ended = false;
  let told = false;
  child.on('error', () => {
    ended = true;
  });
  child.on('exit', () => {
    ended = true;
  });
  (child.stdio[3] as NodeJS.ReadableStream).on('data', () => {
    told = true;
  });
  while (!ended && performance.now() < deadline) {
    if (told || look?.()) return true;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return false;
}

/** A default route: destination 0 (proc_net(5), /proc/net/route). */
function hasRoute(pid: number): boolean {
  return /^\S+\t00000000\t/m.test(readText(`/proc/${pid}/net/route`));
}
