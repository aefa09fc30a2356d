// Assembles the report from what other rooms found: profile, inspections, plan, simulation, verification, budgets.
// Pure: the same inputs give the same report, byte for byte.
import { REPLAY_OPS, type Replay, replayOf } from '../analyze/replay.js';
import type { Plan, Profile } from '../analyze/types.js';
import { formatPlatform } from '../image/index.js';
import type { ImageInspection } from '../rewrite/inspect/inspect.js';
import type { VerifyReport } from '../rewrite/verify/findings.js';
import { TOOL } from '../trace/tool.js';
import { changesSince, type ReportBase } from './changes.js';
import { findingsOf } from './findings.js';
import { heatOf } from './heat.js';
import { heatOfFiles, imageView } from './image-view.js';
import { methodOf, warningsOf } from './method.js';
import { metricsOf, withBase } from './metrics.js';
import { isPrefetched, prefetchView, reasonsOf } from './prefetch-view.js';
import { stabilityOf, type WhyOf } from './stability.js';
import { medianRun, startupOf } from './startup.js';
import {
  type BudgetResult,
  type Metric,
  REPORT_SCHEMA,
  type Report,
  type ReportRun,
  type ReportSimulation,
} from './types.js';

export interface ReportInputs {
  readonly profile: Profile;
  /** Made with the profile and `files: true`. */
  readonly before?: ImageInspection | undefined;
  readonly after?: ImageInspection | undefined;
  readonly plan?: Plan | undefined;
  readonly simulation?: ReportSimulation | undefined;
  readonly verification?: VerifyReport | undefined;
  /** What to compare with. */
  readonly base?: ReportBase | undefined;
  /** ISO 8601. */
  readonly date?: string | undefined;
}

/** @throws HL_ERR_DATA when a replay is damaged */
export function assembleReport(inputs: ReportInputs): Report {
  const { profile, plan, simulation, verification, base, date } = inputs;
  const before = inputs.before && imageView(profile, inputs.before);
  const after = inputs.after && imageView(profile, inputs.after);
  const prefetch = inputs.after && prefetchView(profile, inputs.after, heatOfFiles(profile, inputs.after), plan);
  const median = medianRun(profile);
  let startup: Report['startup'];
  const opened = profile.runs.map((run, i) => {
    // One at a time: the accesses of all runs together may be more than the memory that a report should take.
    const replay = replayOf(run, profile.files.length);
    if (i === median) startup = startupOf(profile, i, replay);
    return openedBy(replay, profile.files.length);
  });
  const stability = stabilityOf(profile, opened, whyOf(inputs));
  const heat = heatOf(profile);
  const runs = runsOf(profile);
  const own = metricsOf({
    runs,
    imageBytes: profile.image.bytes,
    agreement: profile.agreement,
    before,
    after,
    prefetch,
    simulation,
  });
  const metrics: readonly Metric[] = base ? withBase(own, base.metrics) : own;
  const { changes, warnings = [] } = base ? changesSince(base, profile) : {};
  const { runs: _, image, workload, platform, ...rest } = profile;
  return {
    schemaVersion: REPORT_SCHEMA,
    tool: TOOL,
    ...(date === undefined ? {} : { date }),
    findings: findingsOf({ profile, metrics, startup, stability, heat, before, after, prefetch, simulation, changes }),
    image,
    workload: { ...workload, until: profile.until },
    environment: {
      profiledBy: profile.tool,
      ...(platform ? { platform: formatPlatform(platform) } : {}),
      precision: profile.precision,
    },
    metrics,
    runs,
    profile: rest,
    ...(startup ? { startup } : {}),
    stability,
    heat,
    ...(before ? { before } : {}),
    ...(after ? { after } : {}),
    ...(prefetch ? { prefetch } : {}),
    ...(plan ? { plan } : {}),
    ...(simulation ? { simulation } : {}),
    ...(verification ? { verification } : {}),
    ...(base
      ? {
          base: {
            reference: base.image.reference,
            ...(base.image.digest === undefined ? {} : { digest: base.image.digest }),
            runs: base.runs.length,
          },
        }
      : {}),
    ...(changes ? { changes } : {}),
    warnings: [...warningsOf(inputs), ...warnings],
    method: methodOf(inputs),
  };
}

/** The same report with what came of its budgets. */
export function withBudgets(report: Report, budgets: readonly BudgetResult[]): Report {
  return { ...report, budgets };
}

/** Whether nothing that was checked says no. */
export function reportOk({ budgets = [], verification }: Report): boolean {
  return (verification?.ok ?? true) && budgets.every(({ ok, level }) => ok || level === 'warn');
}

function runsOf(profile: Profile): ReportRun[] {
  return profile.runs.map(({ replay: _, misses, ...run }, i) => ({
    ...run,
    number: i + 1,
    failedLookups: misses.reduce((sum, [, count]) => sum + count, 0),
  }));
}

const LOOK = REPLAY_OPS.indexOf('look');

function openedBy(replay: Replay, files: number): Uint8Array {
  const opened = new Uint8Array(files);
  for (let i = 0; i < replay.length; i++) if (replay.op[i] !== LOOK) opened[replay.file[i]!] = 1;
  return opened;
}

function whyOf({ profile, after, plan }: ReportInputs): WhyOf {
  const reasons = reasonsOf(plan);
  return (file) => {
    const place = after?.located?.[file];
    const because = reasons.get(profile.files[file]!.path);
    return {
      ...(after ? { prefetched: place !== undefined && isPrefetched(after, place) } : {}),
      ...(because === undefined ? {} : { because }),
    };
  };
}
