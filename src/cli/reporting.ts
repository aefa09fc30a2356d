// The part of a command that reports: from flags to a Report, on the terminal, in files and to the CI that runs us.
import { appendFileSync, existsSync } from 'node:fs';
import type { Command } from 'commander';
import type { Network } from '../analyze/model/network.js';
import { checkPlace } from '../analyze/saved.js';
import type { Plan, Profile } from '../analyze/types.js';
import { EXIT, HotlayerError } from '../errors.js';
import { hostPlatform, type Image, openImage } from '../image/index.js';
import { renderAnnotations } from '../report/annotations.js';
import { type Budget, checkBudgets, readBudgets, requireNoBase } from '../report/budgets/index.js';
import type { ReportBase } from '../report/changes.js';
import { MAX_MARKDOWN, renderMarkdown } from '../report/markdown.js';
import { OUTPUTS, type OutputForm, writeOutput } from '../report/outputs.js';
import { assembleReport, reportOk, withBudgets } from '../report/report.js';
import { readBase } from '../report/saved-report.js';
import { simulateStarts } from '../report/simulate-starts.js';
import type { Report } from '../report/types.js';
import { type ImageInspection, inspectImage } from '../rewrite/inspect/inspect.js';
import type { VerifyReport } from '../rewrite/verify/findings.js';
import { verifyImages } from '../rewrite/verify/verify.js';
import { formatBytes } from '../units.js';
import { flag } from './flags.js';
import type { CommandContext } from './main.js';
import { openingOf, tempParentOf } from './profiling.js';
import { showReport } from './report-summary.js';

export type FormFlags = Partial<Record<OutputForm, string>>;

/** What a report is held against and written to; the same for `report` and `autorun`. */
export interface ReportingFlags extends FormFlags {
  base?: string;
  baseOptional?: boolean;
  budgets?: string;
  network?: Network[];
}

export function addReportingOptions(command: Command): void {
  command
    .addOption(flag('--budgets <file>', 'limits on what the report says; exit status 1 when one is exceeded'))
    .addOption(flag('--base <file>', 'a profile or a JSON report to compare with'))
    .addOption(flag('--base-optional', 'a base that is not there is no error: limits on changes only warn'));
  for (const [form, { what }] of Object.entries(OUTPUTS)) command.addOption(flag(`--${form} <file>`, what));
}

/** What the flags name beside the images. */
export interface Yardsticks {
  readonly base?: ReportBase;
  readonly budgets: readonly Budget[];
  readonly hasBase: boolean | 'optional';
}

/**
 * Read before the images: what is wrong with a small file should be said before the work begins.
 * @throws HL_ERR_USAGE for budgets that cannot be held; as readBase
 */
export async function readYardsticks({ budgets: file, base, baseOptional }: ReportingFlags): Promise<Yardsticks> {
  const budgets = file === undefined ? [] : await readBudgets(file);
  const there = base !== undefined && (!baseOptional || existsSync(base));
  if (there) return { base: await readBase(base), budgets, hasBase: true };
  if (!baseOptional) requireNoBase(budgets);
  return { budgets, hasBase: baseOptional ? 'optional' : false };
}

/** @throws HL_ERR_IO when a form could not be written */
export async function checkForms(flags: FormFlags): Promise<void> {
  for (const form of Object.keys(OUTPUTS) as OutputForm[]) if (flags[form] !== undefined) await checkPlace(flags[form]);
}

export interface Reported {
  readonly before?: string | undefined;
  readonly after?: string | undefined;
  readonly plan?: Plan | undefined;
  readonly platform?: string | undefined;
  readonly network?: Network[] | undefined;
  /** True: done here, when there are two images; else what came of it. */
  readonly verification?: boolean | VerifyReport;
}

export async function makeReport(
  context: CommandContext,
  profile: Profile,
  what: Reported,
  { base, budgets, hasBase }: Yardsticks,
): Promise<Report> {
  const opening = openingOf(context, { platform: what.platform ?? platformOf(profile) });
  const open = async (reference: string | undefined): Promise<Image | undefined> =>
    reference === undefined ? undefined : openImage(reference, opening);
  const { plan } = what;
  const date = dateOf(process.env.SOURCE_DATE_EPOCH);
  await using before = (await open(what.before)) ?? NOTHING;
  await using after = (await open(what.after)) ?? NOTHING;
  const look = (image: Image | typeof NOTHING): Promise<ImageInspection> | undefined =>
    'layers' in image ? inspect(context, image, profile) : undefined;
  const [was, is] = [await look(before), await look(after)];
  const verify = async (): Promise<VerifyReport | undefined> =>
    'layers' in before && 'layers' in after
      ? verifyImages(before, after, { signal: context.signal, ...tempParentOf(context), ...(plan ? { plan } : {}) })
      : undefined;
  const verification =
    typeof what.verification === 'object' ? what.verification : what.verification ? await verify() : undefined;
  const simulation = simulateStarts(profile, was, is, what.network);
  const report = assembleReport({ profile, before: was, after: is, plan, simulation, verification, base, date });
  return budgets.length === 0 ? report : withBudgets(report, checkBudgets(report.metrics, budgets, hasBase));
}

/** For `await using` where there is no image. */
const NOTHING = { async [Symbol.asyncDispose](): Promise<void> {} };

function inspect(context: CommandContext, image: Image, profile: Profile): Promise<ImageInspection> {
  const { out, signal } = context;
  return inspectImage(image, {
    profile,
    files: true,
    ...tempParentOf(context),
    signal,
    onProgress: (layer, done, total) =>
      out.progress(`reading layer ${layer + 1}/${image.layers.length}  ${formatBytes(done)} of ${formatBytes(total)}`),
  });
}

/** Of an index the image that was profiled is meant. */
export function platformOf({ platform = hostPlatform() }: Profile): string {
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

/** Shows the report, writes the forms that have a file, tells GitHub. @returns the exit status */
export async function deliver(context: CommandContext, report: Report, files: FormFlags): Promise<number> {
  showReport(context.out, report);
  const written: string[] = [];
  for (const form of Object.keys(OUTPUTS) as OutputForm[]) {
    const file = files[form];
    if (file === undefined) continue;
    await writeOutput(form, report, file);
    written.push(file);
  }
  if (written.length > 0) context.out.note(`Wrote ${written.join(', ')}`);
  tellGithub(context, report, process.env);
  return reportOk(report) ? EXIT.ok : EXIT.no;
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
