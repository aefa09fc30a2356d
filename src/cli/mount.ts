// `hotlayer mount IMAGE DIR`: the same tree as `run` gives a container, read-only, for whoever wants to look at it.
import type { Command } from 'commander';
import { mountImage } from '../container/mount-image.js';
import { EXIT } from '../errors.js';
import {
  addLazyOptions,
  addPlatformOption,
  addTraceOptions,
  addTransportOption,
  flag,
  type GlobalFlags,
  type LazyFlags,
  type TransportFlags,
  transportOf,
} from './flags.js';
import { lazyOptionsOf } from './lazy-options.js';
import type { Register } from './main.js';
import { startTracing } from './tracing.js';

interface MountFlags extends GlobalFlags, LazyFlags, TransportFlags {
  profile?: string;
  trace?: string;
  precision: 'exact' | 'fast';
}

export function addMount(program: Command, register: Register): void {
  const command = program
    .command('mount')
    .argument('<image>', 'an image in a registry, oci:DIR[:TAG], oci-archive:FILE or docker-archive:FILE')
    .argument('<dir>', 'an existing directory')
    .description(
      'Mounts the root file system of an image, read-only; content is fetched, verified and kept as it is read.',
    )
    .summary('the same tree, only mounted')
    .addOption(flag('-p, --profile <file>', 'fetch what this profile says ahead, in the order in which it was needed'));
  addTraceOptions(command);
  addPlatformOption(command);
  addTransportOption(command);
  addLazyOptions(command);
  register<MountFlags>(command, async (context, [image, dir], flags) => {
    const { out } = context;
    await using tracing = flags.trace === undefined ? undefined : await startTracing(flags.trace, out);
    const ended = await mountImage(image!, dir!, {
      ...lazyOptionsOf(context, flags),
      ...(flags.profile !== undefined && {
        hot: async () => (await import('./hot-files.js')).hotFiles(flags.profile!),
      }),
      ...(tracing && { observer: tracing.observer }),
      precision: flags.precision,
      ...transportOf(flags),
      onMounted: () => out.note(`${image} is mounted on ${dir}; umount ${dir}, or Ctrl-C here, ends it`),
    });
    await tracing?.finish(
      {
        image: { reference: image!, digest: ended.image.descriptor.digest },
        workload: { args: ['mount', dir!], user: '', cwd: '/' },
        precision: flags.precision,
        until: [],
      },
      ended.image.config,
      ended.mountedAt,
      { ...ended, endedAt: Number(ended.endedAt - ended.mountedAt) },
    );
    out.document({ fetched: ended.counts });
    return EXIT.ok;
  });
}
