// Which TCP ports something listens on, from the text of /proc/PID/net/tcp and tcp6 (proc(5)).
import { readFileSync } from 'node:fs';
import { HotlayerError } from '../../errors.js';
import type { ReadyRule } from '../types.js';

/** Column `st` of a listening socket: TCP_LISTEN in the kernel's include/net/tcp_states.h. */
const LISTEN = '0A';

/** Local ports in state LISTEN, whatever the address. */
export function parseListening(text: string): Set<number> {
  const ports = new Set<number>();
  for (const line of text.split('\n')) {
    // "  0: 0100007F:1F90 00000000:0000 0A …": slot, local address:port, remote, state; all hexadecimal.
    const match = /^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} ([0-9A-F]{2}) /.exec(line);
    if (match && match[2] === LISTEN) ports.add(Number.parseInt(match[1]!, 16));
  }
  return ports;
}

/** Whether something in the network namespace of the process listens on the port. False when the process is gone. */
export function isListening(pid: number | 'self', port: number): boolean {
  for (const table of ['tcp', 'tcp6']) {
    try {
      if (parseListening(readFileSync(`/proc/${pid}/net/${table}`, 'latin1')).has(port)) return true;
    } catch {
      // No IPv6 on this machine, or the process has ended.
    }
  }
  return false;
}

/**
 * On the machine's own network, a rule about a port that is taken already would fire at once and say nothing.
 * @throws HL_ERR_MACHINE
 */
export function refuseTakenPorts(rules: readonly ReadyRule[], listening = (port: number) => isListening('self', port)) {
  for (const rule of rules) {
    const port = portHere(rule);
    if (port === undefined || !listening(port)) continue;
    throw new HotlayerError(
      'HL_ERR_MACHINE',
      `port ${port} of this machine is in use before the workload has started`,
      {
        hint: 'stop what listens there, or give the workload a network of its own with --net none',
      },
    );
  }
}

/** The local port that a rule waits for. */
function portHere(rule: ReadyRule): number | undefined {
  if (rule.kind === 'tcp') return rule.port;
  if (rule.kind !== 'http') return undefined;
  const url = new URL(rule.url);
  if (!/^(localhost|127(\.\d+){3}|0\.0\.0\.0|\[::1?\])$/.test(url.hostname)) return undefined;
  return url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
}
