// Which transport mounts.
import type { FuseTransport } from './types.js';

export type TransportName = FuseTransport['name'];

/**
 * @param wish absent: raw where this process may mount by itself; else fuse-native, if that can be had; else raw again,
 *   which says what is in its way
 */
export async function chooseTransport(wish?: TransportName): Promise<FuseTransport> {
  return (wish ?? (await bestTransport())) === 'raw'
    ? (await import('./raw-transport.js')).rawTransport
    : (await import('./native-transport.js')).nativeTransport;
}

async function bestTransport(): Promise<TransportName> {
  const { mayMount } = await import('./may-mount.js');
  if (mayMount()) return 'raw';
  const { isLack, nativeSupport } = await import('./native-support.js');
  return isLack(nativeSupport()) ? 'raw' : 'fuse-native';
}
