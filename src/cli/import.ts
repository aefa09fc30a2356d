// `hotlayer import FILE IMAGE`: another tool's record as a profile of the image.
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { checkPlace, writeProfile } from '../analyze/saved.js';
import { EXIT, errnoOf, HotlayerError } from '../errors.js';
import { openImage } from '../image/index.js';
import { IMPORT_FORMATS, type ImportFormat, importList, profileOfList } from '../interop/index.js';
import { spoolImage } from '../rootfs/spooled-image.js';
import { formatCount } from '../units.js';
import { addPlatformOption, flag, type GlobalFlags, type PlatformFlags } from './flags.js';
import type { Register } from './main.js';
import { openingOf, tempParentOf } from './profiling.js';

/** Names that were left out, without --verbose. */
const SHOWN = 5;

interface ImportFlags extends GlobalFlags, PlatformFlags {
  from?: ImportFormat;
  output?: string;
}

export function addImport(program: Command, register: Register): void {
  const command = program
    .command('import')
    .argument('<file>', 'record, list or log of another tool')
    .argument('<image>', 'the image it is of')
    .description(
      'Makes a profile of what another tool recorded: record-out of ctr-remote, lists of paths, nydus lists and traces,\nSOCI lists, the log of the stargz snapshotter (log_file_access), strace -f -y -ttt, fatrace, creport.json of slim.',
    )
    .summary("another tool's record as a profile")
    .addOption(flag('--from <format>', 'what it is (default: as it looks)').choices(IMPORT_FORMATS))
    .addOption(flag('-o, --output <file>', 'the profile (default: hotlayer.profile.json)'));
  addPlatformOption(command);
  register<ImportFlags>(command, async (context, [file, reference], flags) => {
    const { out, signal } = context;
    const output = flags.output ?? 'hotlayer.profile.json';
    await checkPlace(output);
    const list = importList(await readRecord(file!), file!, flags.from);
    await using image = await openImage(reference!, openingOf(context, flags));
    using spooled = await spoolImage(image, { ...tempParentOf(context), signal });
    const { profile, left } = profileOfList(list, spooled, list.format);
    await writeProfile(output, profile);
    out.document({ format: list.format, file: output, files: profile.files.length, left });
    out.result(`${formatCount(profile.files.length)} files from ${list.format}, ${formatCount(left.length)} left out`);
    for (const { what, reason } of out.verbose ? left : left.slice(0, SHOWN)) out.note(`  left out ${what}: ${reason}`);
    if (!out.verbose && left.length > SHOWN) out.note(`  … and ${formatCount(left.length - SHOWN)} more (--verbose)`);
    out.note(`Wrote ${output}`);
    return EXIT.ok;
  });
}

async function readRecord(file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (cause) {
    const code = errnoOf(cause) === 'ENOENT' ? 'HL_ERR_NOT_FOUND' : 'HL_ERR_IO';
    throw new HotlayerError(code, `cannot read ${file}: ${(cause as Error).message}`, { cause });
  }
}
