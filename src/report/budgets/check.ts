// Metrics against budgets. A change from the base counts only beyond the noise of the runs (analyze/diff/noise.ts).
import { compareRuns } from '../../analyze/diff/index.js';
import { HotlayerError } from '../../errors.js';
import { formatBytes, formatCount, formatNanos, formatShare } from '../../units.js';
import { knownMetric, type MetricUnit } from './metric.js';
import type { Aggregate, Budget, Level, Limit, LimitKind } from './types.js';

/** A report's metric, as far as budgets look at it. */
export interface CheckedMetric {
  readonly id: string;
  readonly unit: MetricUnit;
  readonly better: 'lower' | 'higher';
  readonly value: number;
  readonly runs?: readonly number[];
  readonly base?: { readonly value: number; readonly runs?: readonly number[] };
}

/** One limit, held. */
export interface BudgetResult {
  readonly id: string;
  readonly level: Level;
  readonly ok: boolean;
  readonly limit: LimitKind;
  /** `≤ 60.0 MiB`, `≤ 34.6 MiB (base 33.0 MiB + 5 %)`. */
  readonly expected: string;
  readonly found: string;
  /** All values, how they were summed up, why a change counts or does not. */
  readonly detail?: string;
}

/** @throws HL_ERR_USAGE when a budget limits the change from a base: to be called when there is none */
export function requireNoBase(budgets: readonly Budget[]): void {
  for (const { id, limits } of budgets) {
    const limit = limits.find(isChange);
    if (!limit) continue;
    throw new HotlayerError('HL_ERR_USAGE', `the budget "${id}" has ${limit.kind}, and there is no base`, {
      hint: 'give --base FILE, a profile or report to compare with; --base-optional lets the first run pass without',
    });
  }
}

/**
 * @param hasBase whether the report compares with another; `optional`: it does not, and limits on changes only warn
 * @returns one result for each limit, in the order of the budgets
 * @throws HL_ERR_USAGE when a budget limits the change from a base and there is none
 */
export function checkBudgets(
  metrics: readonly CheckedMetric[],
  budgets: readonly Budget[],
  hasBase: boolean | 'optional',
): BudgetResult[] {
  if (!hasBase) requireNoBase(budgets);
  const byId = new Map(metrics.map((metric) => [metric.id, metric]));
  return budgets.flatMap((budget) =>
    budget.limits.map((limit) => {
      const metric = byId.get(budget.id);
      if (!metric) return absent(budget, limit);
      return isChange(limit) && hasBase === 'optional'
        ? unheld(metric, budget, limit)
        : checkLimit(metric, budget, limit);
    }),
  );
}

/** A gate that cannot see does not open. */
function absent({ id, level }: Budget, limit: Limit): BudgetResult {
  const { unit, needs } = knownMetric(id)!;
  return {
    id,
    level,
    ok: false,
    limit: limit.kind,
    expected: amountOf(limit, unit),
    found: 'not known',
    detail: `it needs ${needs}`,
  };
}

/** Nothing to compare with yet, and that was allowed. */
function unheld(metric: CheckedMetric, { id, aggregate }: Budget, limit: Limit): BudgetResult {
  const { unit, better } = metric;
  const found = formatValue(aggregated(metric, aggregate, better), unit);
  return {
    id,
    level: 'warn',
    ok: false,
    limit: limit.kind,
    expected: amountOf(limit, unit),
    found,
    detail: 'not held: there is no base yet',
  };
}

function checkLimit(metric: CheckedMetric, budget: Budget, limit: Limit): BudgetResult {
  const { id, level, aggregate, alpha } = budget;
  const { unit, better, base } = metric;
  const value = aggregated(metric, aggregate, better);
  const head = { id, level, limit: limit.kind, found: formatValue(value, unit) };
  const values = allValues(metric, aggregate);
  if (!isChange(limit)) {
    const border = 'value' in limit.amount ? limit.amount.value : Number.NaN;
    const ok = limit.kind === 'max' ? value <= border : value >= border;
    return { ...head, ok, expected: amountOf(limit, unit), ...(values === '' ? {} : { detail: values }) };
  }
  if (!base) {
    return { ...head, ok: false, expected: amountOf(limit, unit), detail: 'the base does not have it' };
  }
  const from = aggregated(base, aggregate, better);
  const { amount } = limit;
  const step = 'part' in amount ? Math.abs(from) * amount.part : amount.value;
  const border = limit.kind === 'maxIncrease' ? from + step : from - step;
  const within = limit.kind === 'maxIncrease' ? value <= border : value >= border;
  const noise = base.runs && metric.runs ? compareRuns(base.runs, metric.runs, alpha) : undefined;
  const forgiven = !within && noise?.noise === 'within';
  const why = noise ? [`${WORDS[noise.noise]} (${noise.because})`] : [];
  const detail = [
    ...(values === '' ? [] : [values]),
    ...(base.runs ? [`base: ${allValues({ ...base, unit }, aggregate)}`] : []),
    ...(forgiven ? [`over the limit, but ${why.join('')}`] : why),
  ];
  return {
    ...head,
    ok: within || forgiven,
    expected: `${limit.kind === 'maxIncrease' ? '≤' : '≥'} ${formatValue(border, unit)} (base ${formatValue(from, unit)} ${stepText(limit, unit)})`,
    ...(detail.length === 0 ? {} : { detail: detail.join('; ') }),
  };
}

const WORDS = { beyond: 'beyond the noise', within: 'within the noise', unknown: 'noise not known, so it counts' };

function isChange({ kind }: Limit): boolean {
  return kind === 'maxIncrease' || kind === 'maxDecrease';
}

/** Optimistic: the best of the runs; pessimistic: the worst. */
function aggregated(
  { value, runs }: Pick<CheckedMetric, 'value' | 'runs'>,
  aggregate: Aggregate,
  better: CheckedMetric['better'],
): number {
  if (!runs || runs.length === 0) return value;
  const sorted = [...runs].sort((a, b) => a - b);
  const half = sorted.length / 2;
  if (aggregate === 'median') return (sorted[Math.ceil(half) - 1]! + sorted[Math.floor(half)]!) / 2;
  return (aggregate === 'optimistic') === (better === 'lower') ? sorted[0]! : sorted.at(-1)!;
}

/** `median of 5 runs: 1 198, 1 201, 1 204, 1 207, 1 241`; nothing for what is no matter of runs. */
function allValues({ runs, unit }: Pick<CheckedMetric, 'runs' | 'unit'>, aggregate: Aggregate): string {
  if (!runs || runs.length === 0) return '';
  const count = `${runs.length} ${runs.length === 1 ? 'run' : 'runs'}`;
  const how = { median: `median of ${count}`, optimistic: `best of ${count}`, pessimistic: `worst of ${count}` };
  return `${how[aggregate]}: ${runs.map((value) => formatValue(value, unit)).join(', ')}`;
}

/** `≤ 60.0 MiB`, `≤ base + 5 %`. */
function amountOf(limit: Limit, unit: MetricUnit): string {
  const sign = limit.kind === 'max' || limit.kind === 'maxIncrease' ? '≤' : '≥';
  if (isChange(limit)) return `${sign} base ${stepText(limit, unit)}`;
  return `${sign} ${'value' in limit.amount ? formatValue(limit.amount.value, unit) : ''}`;
}

function stepText({ kind, amount }: Limit, unit: MetricUnit): string {
  const sign = kind === 'maxIncrease' ? '+' : '−';
  if ('part' in amount) return `${sign} ${Number((100 * amount.part).toPrecision(4))} %`;
  return `${sign} ${formatValue(amount.value, unit).replace('%', unit === 'share' ? 'percentage points' : '%')}`;
}

function formatValue(value: number, unit: MetricUnit): string {
  if (unit === 'share') return value < 0 ? `−${formatShare(-value, 1)}` : formatShare(value, 1);
  return { ns: formatNanos, bytes: formatBytes, count: formatCount }[unit](Math.round(value));
}
