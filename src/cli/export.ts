// `hotlayer export PROFILE`: the files a start wants, as a list for another tool.
import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { checkPlace, readProfile } from '../analyze/saved.js';
import { writeTo } from '../container/session/flow.js';
import { EXIT, HotlayerError } from '../errors.js';
import { EXPORT_FORMATS, type ExportFormat, exportList, wantedFiles } from '../interop/index.js';
import { formatCount } from '../units.js';
import { flag, type GlobalFlags } from './flags.js';
import type { Register } from './main.js';

interface ExportFlags extends GlobalFlags {
  to: ExportFormat;
  output?: string;
}

export function addExport(program: Command, register: Register): void {
  const command = program
    .command('export')
    .argument('<profile>', 'as written by hotlayer profile')
    .description(
      'Writes the files that a start reads, first needed first, for another tool:\nstargz-record (ctr-remote, nerdctl: --estargz-record-in), prefetch-list (ctr-remote), paths (nydusify convert),\nnydus (nydusify optimize, with byte ranges), soci (--prefetch-files-json), overlaybd (--priority_list).',
    )
    .summary("a profile as another tool's list")
    .addOption(flag('--to <format>', 'what to write').choices(EXPORT_FORMATS).makeOptionMandatory())
    .addOption(flag('-o, --output <file>', 'where to (default: standard output)'));
  register<ExportFlags>(command, async ({ out }, [file], { to, output }) => {
    if (output !== undefined) await checkPlace(output);
    else if (out.json)
      throw new HotlayerError('HL_ERR_USAGE', '--json and the list both want standard output', {
        hint: 'name a file with -o',
      });
    const profile = await readProfile(file!);
    const { bytes, files, left } = exportList(wantedFiles(profile), to, profile.image.digest);
    for (const { what, reason } of left) out.warn(`left out ${what}: ${reason}`);
    if (output === undefined) await writeTo(process.stdout, bytes);
    else await writeFile(output, bytes);
    out.document({ format: to, file: output, files, left });
    out.note(
      `${formatCount(files)} ${files === 1 ? 'file' : 'files'} as ${to}${output === undefined ? '' : `: ${output}`}`,
    );
    return EXIT.ok;
  });
}
