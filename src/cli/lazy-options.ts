// From flags to how an image's content comes.
import type { LazyOptions } from '../container/run-image.js';
import type { LazyFlags } from './flags.js';
import type { CommandContext } from './main.js';

export function lazyOptionsOf(context: CommandContext, flags: LazyFlags): LazyOptions {
  const { out, signal, registry } = context;
  return {
    cache: { directory: flags.cacheDir, limit: flags.cacheSize },
    pull: flags.pull,
    ...(flags.offline && { offline: true }),
    ...(flags.backgroundFetch && { backgroundFetch: true }),
    ...(flags.platform ? { platform: flags.platform } : {}),
    patienceMs: flags.fetchTimeout / 1e6,
    // What loads faster: a container waits for it.
    registry: { ...registry, light: true },
    signal,
    onNote: (line) => out.note(line),
    onWarning: (line) => out.warn(line),
  };
}
