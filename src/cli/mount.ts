// `hotlayer mount IMAGE DIR`: the same tree as `run` gives a container, read-only, for whoever wants to look at it.
import type { Command } from 'commander';
import { mountImage } from '../container/mount-image.js';
import { EXIT } from '../errors.js';
import { addLazyOptions, addPlatformOption, flag, type GlobalFlags, type LazyFlags } from './flags.js';
import { lazyOptionsOf } from './lazy-options.js';
import type { Register } from './main.js';

interface MountFlags extends GlobalFlags, LazyFlags {
  profile?: string;
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
  addPlatformOption(command);
  addLazyOptions(command);
  register<MountFlags>(command, async (context, [image, dir], flags) => {
    const { out } = context;
    const ended = await mountImage(image!, dir!, {
      ...lazyOptionsOf(context, flags),
      ...(flags.profile !== undefined && {
        hot: async () => (await import('./hot-files.js')).hotFiles(flags.profile!),
      }),
      onMounted: () => out.note(`${image} is mounted on ${dir}; umount ${dir}, or Ctrl-C here, ends it`),
    });
    out.document({ fetched: ended.counts });
    return EXIT.ok;
  });
}
