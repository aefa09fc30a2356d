// The networks between client and registry.
import type { Network } from '../../test/support/lab/proxy.js';

export interface NamedNetwork extends Network {
  readonly name: string;
}

/** `loopback`, or `RTTms/RATEmbit`. */
export const NETWORKS: readonly NamedNetwork[] = ['loopback', '20ms/100mbit', '100ms/25mbit'].map(parseNetwork);

/** @throws with what is understood */
export function parseNetwork(name: string): NamedNetwork {
  if (name === 'loopback') return { name, rtt: 0, mbit: 0 };
  const [, rtt, mbit] = /^(\d+)ms\/(\d+)mbit$/.exec(name) ?? [];
  if (rtt === undefined || mbit === undefined)
    throw new Error(`"${name}" is not a network: loopback, or RTTms/RATEmbit such as 20ms/100mbit`);
  return { name, rtt: Number(rtt), mbit: Number(mbit) };
}
