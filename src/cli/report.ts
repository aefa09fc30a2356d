// `hotlayer report PROFILE`: assembles what is known of a startup into one report and writes it in every form asked for.
import { type Command, Option } from 'commander';
import { readPlan, readProfile } from '../analyze/saved.js';
import { addPlatformOption, flag, type GlobalFlags, networkOption, type PlatformFlags } from './flags.js';
import type { Register } from './main.js';
import {
  addReportingOptions,
  checkForms,
  deliver,
  makeReport,
  type ReportingFlags,
  readYardsticks,
} from './reporting.js';

interface ReportFlags extends GlobalFlags, PlatformFlags, ReportingFlags {
  before?: string;
  after?: string;
  plan?: string;
  verify: boolean;
}

export function addReport(program: Command, register: Register): void {
  const command = program
    .command('report')
    .argument('<profile>', 'what `profile` wrote')
    .description(
      'Says what a start reads, what of it is prefetched and what varies; as text, and as any of the files below.\nWith --before and --after also verifies that the two images differ in order and compression only.',
    )
    .summary('what a start reads, as text, HTML and for CI')
    .addOption(flag('--before <image>', 'the image that was profiled'))
    .addOption(flag('--after <image>', 'what `optimize` made of it'))
    .addOption(flag('--plan <file>', 'the plan it was made by: says why a file is where it is'))
    .addOption(networkOption('for which line starts are simulated'))
    .addOption(new Option('--no-verify', 'do not verify the image after'));
  addReportingOptions(command);
  addPlatformOption(command);
  register<ReportFlags>(command, async (context, [file], flags) => {
    await checkForms(flags);
    const { before, after, platform, network, verify: verification } = flags;
    const yardsticks = await readYardsticks(flags);
    const plan = flags.plan === undefined ? undefined : await readPlan(flags.plan);
    const profile = await readProfile(file!);
    const what = { before, after, plan, platform, network, verification };
    const report = await makeReport(context, profile, what, yardsticks);
    context.out.document(report);
    return deliver(context, report, flags);
  });
}
