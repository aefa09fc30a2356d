// When is a workload ready? Seen from outside, on this process's clock: its output, a port, a page.
import type { ChildProcess } from 'node:child_process';
import { type ClientRequest, get } from 'node:http';
import { connect, type Socket } from 'node:net';

export type PortRule = { readonly kind: 'tcp' | 'http'; readonly port: number };
export type ReadyRule = PortRule | { readonly kind: 'line'; readonly text: string };

/** Between two tries, ms: of what is measured here, a per cent at most. */
const INTERVAL = 3;

/**
 * Settles when the rule first holds. @returns performance.now() of that moment
 * @param child whose stdout and stderr a `line` is looked for in
 * @throws when the child ends before, or after `timeout` ms
 */
export async function whenReady(rule: ReadyRule, child: ChildProcess, timeout = 240_000): Promise<number> {
  const stop = new AbortController();
  let output = '';
  const line = new Promise<number>((resolve) => {
    for (const stream of [child.stdout!, child.stderr!])
      stream.setEncoding('utf8').on('data', (text: string) => {
        output = (output + text).slice(-64 * 1024);
        if (rule.kind === 'line' && output.includes(rule.text)) resolve(performance.now());
      });
  });
  const failed = new Promise<never>((_, reject) => {
    const timer = setTimeout(() => reject(new Error(`not ready after ${timeout / 1000} s: ${output}`)), timeout);
    stop.signal.addEventListener('abort', () => clearTimeout(timer));
    child.once('error', reject);
    child.once('close', (status) => reject(new Error(`ended with status ${status} before it was ready: ${output}`)));
  });
  try {
    return await Promise.race([rule.kind === 'line' ? line : answered(rule, stop.signal), failed]);
  } finally {
    stop.abort();
  }
}

/** Settles when the port or the page answers; never when `signal` says stop before. @returns performance.now() */
export async function answered(rule: PortRule, signal: AbortSignal): Promise<number> {
  const ask = rule.kind === 'tcp' ? connects : serves;
  while (!signal.aborted) {
    if (await ask(rule.port, signal)) return performance.now();
    await new Promise((resolve) => setTimeout(resolve, INTERVAL));
  }
  return new Promise(() => {});
}

function connects(port: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.once('connect', () => {
      resolve(true);
      socket.destroy();
    });
    socket.once('error', () => resolve(false));
    until(socket, signal, () => resolve(false));
  });
}

/** The whole page, with status 200. */
function serves(port: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const asked = get({ port, host: '127.0.0.1', agent: false }, (answer) => {
      answer.resume();
      answer.once('end', () => resolve(answer.statusCode === 200));
      answer.once('error', () => resolve(false));
    });
    asked.once('error', () => resolve(false));
    until(asked, signal, () => resolve(false));
  });
}

/** Ends a try when the signal says stop. The listener goes with the try: there are hundreds of them a second. */
function until(attempt: ClientRequest | Socket, signal: AbortSignal, closed: () => void): void {
  const stop = () => void attempt.destroy();
  signal.addEventListener('abort', stop, { once: true });
  attempt.once('close', () => {
    signal.removeEventListener('abort', stop);
    closed();
  });
}

/** @throws when somebody answers there already: what is measured would be somebody else's readiness */
export async function requireFree(rule: ReadyRule): Promise<void> {
  if (rule.kind !== 'line' && (await connects(rule.port, AbortSignal.timeout(1000))))
    throw new Error(`port ${rule.port} of this machine is in use; the workload needs it`);
}
