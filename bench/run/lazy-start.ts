// One measurement of `hotlayer run`: a container of an image that is not here (or that the cache has) until it is ready.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { ThrottlingProxy } from '../../test/support/lab/proxy.js';
import { CpuMeter, descendantPids, NeighbourMeter } from '../support/cpu.js';
import { ROOT } from '../support/report.js';
import { type ReadyRule, requireFree, whenReady } from '../support/watch.js';

export interface Start {
  /** ms, from the start of the command to the moment of readiness. */
  readonly readyMs: number;
  /** At readiness: bytes that the registry had sent, requests and connections that it had got. */
  readonly bytes: number;
  readonly requests: number;
  readonly connections: number;
  /** CPU of all that was started, ms. */
  readonly cpuMs: number;
  /** CPU of everything else on the machine meanwhile, ms: how quiet it was. */
  readonly neighboursMs: number;
}

const HOTLAYER = join(ROOT, 'bin/hotlayer.js');
/** From the signal to the end of everything, ms. */
const END_MS = 20_000;
/** Some programs, started first in a container, never hear of the signal: who asks three times gets its end all the same. */
const ASK_MS = 1000;

/**
 * Starts `hotlayer run WORDS`, waits until it is ready, and ends it.
 * @param proxy between it and the registry; absent: no traffic is counted
 * @throws when it ends before, or does not end afterwards
 */
export async function startLazily(words: readonly string[], ready: ReadyRule, proxy?: ThrottlingProxy): Promise<Start> {
  const bystanders = descendantPids();
  await requireFree(ready);
  const cpu = new CpuMeter(bystanders);
  const neighbours = new NeighbourMeter();
  proxy?.reset();
  const began = performance.now();
  // Node reads the authorities that this names whenever it starts, needed or not.
  const { NODE_EXTRA_CA_CERTS: _, ...env } = process.env;
  const child = spawn(HOTLAYER, ['run', ...words], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  try {
    const readyAt = await whenReady(ready, child);
    const traffic = proxy?.traffic();
    return {
      readyMs: Math.round((readyAt - began) * 100) / 100,
      bytes: traffic?.down ?? 0,
      requests: traffic?.requests ?? 0,
      connections: traffic?.connections ?? 0,
      cpuMs: cpu.read(),
      neighboursMs: neighbours.read(),
    };
  } finally {
    await end(child);
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const again = setInterval(() => child.kill('SIGTERM'), ASK_MS);
  const timer = setTimeout(() => child.kill('SIGKILL'), END_MS);
  await exited;
  clearInterval(again);
  clearTimeout(timer);
}
