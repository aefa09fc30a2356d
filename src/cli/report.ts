// `hotlayer report PROFILE`: assembles what is known of a startup into one report and writes it in every form asked for.
import { appendFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import type { Network } from '../analyze/model/network.js';
import { checkPlace, readPlan, readProfile } from '../analyze/saved.js';
import type { Profile } from '../analyze/types.js';
import { EXIT, HotlayerError } from '../errors.js';
import { hostPlatform, type Image, openImage } from '../image/index.js';
import { renderAnnotations } from '../report/annotations.js';
import { MAX_MARKDOWN, renderMarkdown } from '../report/markdown.js';
import { OUTPUTS, type OutputForm, writeOutput } from '../report/outputs.js';
import { assembleReport, reportOk } from '../report/report.js';
import { readBase } from '../report/saved-report.js';
import { simulateStarts } from '../report/simulate-starts.js';
import type { Report } from '../report/types.js';
import { type ImageInspection, inspectImage } from '../rewrite/inspect.js';
import { verifyImages } from '../rewrite/verify.js';
import { formatBytes } from '../units.js';
import { addPlatformOption, flag, type GlobalFlags, networkOption, type PlatformFlags } from './flags.js';
import type { CommandContext, Register } from './main.js';
import { openingOf, tempParentOf } from './profiling.js';
import { showReport } from './report-summary.js';

interface ReportFlags extends GlobalFlags, PlatformFlags, Partial<Record<OutputForm, string>> {
  before?: string;
  after?: string;
  plan?: string;
  base?: string;
  network?: Network[];
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
    .addOption(flag('--base <file>', 'a profile or a JSON report to compare with'))
    .addOption(networkOption('for which line starts are simulated'))
    .addOption(new Option('--no-verify', 'do not verify the image after'));
  for (const [form, { what }] of Object.entries(OUTPUTS)) command.addOption(flag(`--${form} <file>`, what));
  addPlatformOption(command);
  register<ReportFlags>(command, async (context, [profile], flags) => {
    const forms = (Object.keys(OUTPUTS) as OutputForm[]).filter((form) => flags[form] !== undefined);
    for (const form of forms) await checkPlace(flags[form]!);
    const report = await makeReport(context, await readProfile(profile!), flags);
    context.out.document(report);
    showReport(context.out, report);
    await writeReport(context, report, flags);
    tellGithub(context, report, process.env);
    return reportOk(report) ? EXIT.ok : EXIT.no;
  });
}

async function makeReport(context: CommandContext, profile: Profile, flags: ReportFlags): Promise<Report> {
  const opening = openingOf(context, { platform: flags.platform ?? platformOf(profile) });
  const open = async (reference: string | undefined): Promise<Image | undefined> =>
    reference === undefined ? undefined : openImage(reference, opening);
  // What is wrong with a small file should be said before the images are read.
  const plan = flags.plan === undefined ? undefined : await readPlan(flags.plan);
  const base = flags.base === undefined ? undefined : await readBase(flags.base);
  const date = dateOf(process.env.SOURCE_DATE_EPOCH);
  await using before = (await open(flags.before)) ?? NOTHING;
  await using after = (await open(flags.after)) ?? NOTHING;
  const look = (image: Image | typeof NOTHING): Promise<ImageInspection> | undefined =>
    'layers' in image ? inspect(context, image, profile) : undefined;
  const [was, is] = [await look(before), await look(after)];
  const verification =
    flags.verify && 'layers' in before && 'layers' in after
      ? await verifyImages(before, after, {
          signal: context.signal,
          ...tempParentOf(context),
          ...(plan ? { plan } : {}),
        })
      : undefined;
  const simulation = simulateStarts(profile, was, is, flags.network);
  return assembleReport({ profile, before: was, after: is, plan, simulation, verification, base, date });
}

/** For `await using` where there is no image. */
const NOTHING = { async [Symbol.asyncDispose](): Promise<void> {} };

function inspect(
  { out, signal, ...context }: CommandContext,
  image: Image,
  profile: Profile,
): Promise<ImageInspection> {
  return inspectImage(image, {
    profile,
    files: true,
    ...tempParentOf({ out, signal, ...context }),
    signal,
    onProgress: (layer, done, total) =>
      out.progress(`reading layer ${layer + 1}/${image.layers.length}  ${formatBytes(done)} of ${formatBytes(total)}`),
  });
}

/** Of an index the image that was profiled is meant. */
function platformOf({ platform = hostPlatform() }: Profile): string {
  const { os, architecture, variant } = platform;
  return [os, architecture, ...(variant ? [variant] : [])].join('/');
}

/** @throws HL_ERR_USAGE for what is no number of seconds */
function dateOf(epoch: string | undefined): string | undefined {
  if (epoch === undefined || epoch === '') return undefined;
  const date = new Date(Number(epoch) * 1000);
  if (!/^\d+$/.test(epoch) || Number.isNaN(date.getTime())) {
    throw new HotlayerError(
      'HL_ERR_USAGE',
      `SOURCE_DATE_EPOCH is ${JSON.stringify(epoch)}; expected seconds since 1970`,
    );
  }
  return date.toISOString().replace('.000Z', 'Z');
}

/** Writes the forms that have a flag, and says so. */
export async function writeReport(
  { out }: CommandContext,
  report: Report,
  files: Partial<Record<OutputForm, string>>,
): Promise<void> {
  const written: string[] = [];
  for (const form of Object.keys(OUTPUTS) as OutputForm[]) {
    const file = files[form];
    if (file === undefined) continue;
    await writeOutput(form, report, file);
    written.push(file);
  }
  if (written.length > 0) out.note(`Wrote ${written.join(', ')}`);
}

/** In a GitHub job: the summary of the step, and a line for each thing that is not as it should be. */
function tellGithub({ out }: CommandContext, report: Report, env: NodeJS.ProcessEnv): void {
  if (env.GITHUB_ACTIONS !== 'true') return;
  const file = env.GITHUB_STEP_SUMMARY;
  if (file) {
    try {
      appendFileSync(file, renderMarkdown(report));
    } catch (error) {
      // The summary is an extra: its loss must not fail the gate.
      out.warn(`cannot write the job summary: ${(error as Error).message} (at most ${formatBytes(MAX_MARKDOWN)})`);
    }
  }
  for (const line of renderAnnotations(report).split('\n').slice(0, -1)) out.result(line);
}
