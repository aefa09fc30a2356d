// `hotlayer autorun`: profile → optimize → verify → report in one command, as the config file says. What it does can
// also be done by the four commands one by one, with the same settings.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { writeProfile } from '../analyze/saved.js';
import type { Plan, Profile } from '../analyze/types.js';
import { quote } from '../container/index.js';
import { EXIT, HotlayerError } from '../errors.js';
import { formatPlatform, hostPlatform } from '../image/index.js';
import type { VerifyReport } from '../rewrite/verify/findings.js';
import type { IndexReport } from '../rewrite/verify/verify-index.js';
import { formatCount, formatNanos } from '../units.js';
import { addWorkloadOptions, collect, flag, type GlobalFlags, type WorkloadFlags } from './flags.js';
import type { CommandContext, Register } from './main.js';
import { addRewriteOptions, optimize, type RewriteFlags } from './optimize.js';
import { cachedProfile } from './profile-cache.js';
import {
  addReportingOptions,
  checkForms,
  deliver,
  makeReport,
  type ReportingFlags,
  readYardsticks,
} from './reporting.js';
import { verify } from './verify.js';

interface AutorunFlags extends GlobalFlags, WorkloadFlags, RewriteFlags, ReportingFlags {
  image?: string;
  target?: string;
  command?: string[];
  reports: string;
  /** False with --no-profile-cache. */
  profileCache: string | false;
}

export function addAutorun(program: Command, register: Register): void {
  const command = program
    .command('autorun')
    .argument('[command...]', 'what to run, after --; default: what the image runs')
    .description(
      'profile → optimize → verify → report, as hotlayer.config.json says: its sections "profile", "optimize" and "report" hold here, too.\nExit status 1 when a budget is exceeded or the images differ in more than order and compression.',
    )
    .summary('all of it in one command, for CI')
    .addOption(flag('--image <image>', 'the image to profile'))
    .addOption(flag('--target <image>', 'where the optimized image goes; without it the start is only reported'))
    .addOption(flag('--command <word>', 'what to run, word by word; as after --').argParser(collect))
    .addOption(
      flag('--reports <dir>', 'gets report.html, report.json, report.md, junit.xml, profile.json, plan.json').default(
        'reports',
      ),
    )
    .addOption(
      flag('--profile-cache <dir>', 'profiles are kept here: what did not change is not run again').default(
        '.hotlayer',
      ),
    )
    .addOption(new Option('--no-profile-cache', 'run the workload in any case'));
  addRewriteOptions(command);
  addReportingOptions(command);
  addWorkloadOptions(command);
  register<AutorunFlags>(command, autorun);
}

async function autorun(context: CommandContext, operands: readonly string[], given: AutorunFlags): Promise<number> {
  const { image, target } = given;
  if (image === undefined) {
    throw new HotlayerError('HL_ERR_USAGE', 'no image was given', {
      hint: 'write { "autorun": { "image": "oci:./app", "target": "oci:./app-hot" } } into hotlayer.config.json, or give --image',
    });
  }
  const at = (name: string): string => join(given.reports, name);
  const flags: AutorunFlags = {
    ...given,
    html: given.html ?? at('report.html'),
    report: given.report ?? at('report.json'),
    markdown: given.markdown ?? at('report.md'),
    junit: given.junit ?? at('junit.xml'),
  };
  const args = operands.length > 0 ? operands : (flags.command ?? []);
  const { out } = context;
  // All that can be wrong with what was written by hand is said before the first run.
  const yardsticks = await readYardsticks(flags);
  mkdirSync(flags.reports, { recursive: true });
  await checkForms(flags);

  out.note(out.paint('bold', `profile ${quote(image)}`, 'err'));
  const { profile, from } = await cachedProfile(context, image, args, flags, flags.profileCache || undefined);
  if (from !== undefined) {
    out.note(
      `  the profile of the same image and workload is there: ${from} (${formatCount(profile.runs.length)} runs)`,
    );
  }
  await writeProfile(at('profile.json'), profile);

  let rewritten: Rewritten | undefined;
  if (target !== undefined) rewritten = await rewrite(context, image, target, flags, profile);
  const report = await makeReport(
    context,
    profile,
    {
      before: image,
      after: target,
      plan: rewritten?.plan,
      platform: flags.platform,
      network: flags.network,
      ...(rewritten?.verification ? { verification: rewritten.verification } : {}),
    },
    yardsticks,
  );
  out.document(report);
  const status = await deliver(context, report, flags);
  const { mismatches = [], platforms = [] } = rewritten?.whole ?? {};
  for (const { message } of mismatches) out.warn(`the index differs: ${message}`);
  for (const { platform, ok } of platforms) if (!ok) out.warn(`${platform} is not the same image as before`);
  return rewritten?.whole.ok === false ? EXIT.no : status;
}

interface Rewritten {
  /** Of the platform that was profiled; absent: it is not in the index. */
  readonly plan?: Plan | undefined;
  readonly verification?: VerifyReport;
  readonly whole: IndexReport;
}

async function rewrite(
  context: CommandContext,
  image: string,
  target: string,
  flags: AutorunFlags,
  profile: Profile,
): Promise<Rewritten> {
  const { out } = context;
  const at = (name: string): string => join(flags.reports, name);
  out.note(out.paint('bold', `optimize ${quote(image)} ${quote(target)}`, 'err'));
  const began = process.hrtime.bigint();
  const ways = { ...flags, profile: [at('profile.json')], savePlan: at('plan.json') };
  const { whole, single } = await optimize(context, image, target, [], ways);
  const nanos = Number(process.hrtime.bigint() - began);
  for (const text of whole.warnings) out.warn(text);
  out.note(`  wrote ${whole.manifest?.digest ?? target} in ${formatNanos(nanos)}`);

  out.note(out.paint('bold', `verify ${quote(image)} ${quote(target)}`, 'err'));
  const { report } = await verify(context, image, target, {
    ...flags,
    ...(single ? { plan: at('plan.json') } : {}),
  });
  const profiled = formatPlatform(profile.platform ?? hostPlatform());
  const ours = <T extends { readonly platform: string }>(list: readonly T[]): T | undefined =>
    list.find(({ platform }) => platform === profiled) ?? (single ? list[0] : undefined);
  out.note(`  ${report.ok ? 'only order and compression differ' : 'NOT the same image'}`);
  const { platform: _, ...verification } = ours(report.platforms) ?? {};
  return {
    plan: ours(whole.platforms)?.plan,
    ...('ok' in verification ? { verification } : {}),
    whole: report,
  };
}
