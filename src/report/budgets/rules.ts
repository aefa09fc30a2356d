// A file of budgets → rules that can be checked. Shaped like ESLint's:
//   { "aggregate": "median", "budgets": { "startup-bytes": ["error", { "max": "60MiB", "maxIncrease": "5%" }] } }
import { ALPHA } from '../../analyze/diff/index.js';
import { HotlayerError } from '../../errors.js';
import { parseDuration, parseSize } from '../../units.js';
import { knownMetric, METRIC_IDS } from './metric.js';
import { closest } from './suggest.js';
import {
  AGGREGATES,
  type Aggregate,
  type Amount,
  type Budget,
  type Level,
  LIMITS,
  type Limit,
  type LimitKind,
  type MetricUnit,
} from './types.js';

/** Options of one rule; the same but the limits can be set for all. */
const OPTIONS = [...LIMITS, 'aggregate', 'alpha'] as const;
const LEVELS = ['off', 'warn', 'error'] as const;

/**
 * @param text JSON
 * @param where names the file in messages
 * @returns in the order of the file; those that are off are missing
 * @throws HL_ERR_USAGE naming file and place, with the closest known name
 */
export function parseBudgets(text: string, where: string): Budget[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new HotlayerError('HL_ERR_USAGE', `${where}: not JSON: ${(cause as Error).message}`, {
      cause,
      hint: EXAMPLE,
    });
  }
  const file = new Place(where, value);
  file.onlyKeys(['aggregate', 'alpha', 'budgets', '$schema']);
  const defaults = { aggregate: aggregateOf(file) ?? 'median', alpha: alphaOf(file) ?? ALPHA };
  const rules = file.at('budgets');
  if (!rules) throw file.wrong('has no "budgets"', EXAMPLE);
  return rules.entries().flatMap(([id, rule]) => {
    const budget = parseRule(id, rule, defaults);
    return budget ? [budget] : [];
  });
}

const EXAMPLE = 'write { "budgets": { "startup-bytes": ["error", { "max": "60MiB" }] } }';

function parseRule(id: string, rule: Place, defaults: Pick<Budget, 'aggregate' | 'alpha'>): Budget | undefined {
  const metric = knownMetric(id);
  if (!metric) {
    const meant = closest(id, METRIC_IDS);
    const hint = meant
      ? `did you mean "${meant}${meant.endsWith('-') ? 'NETWORK' : ''}"?`
      : `known are ${METRIC_IDS.join(', ')}`;
    throw rule.wrong('is no metric', hint);
  }
  const [level, options] = Array.isArray(rule.value) ? [rule.value[0] as unknown, rule.at(1)] : [rule.value, undefined];
  if (Array.isArray(rule.value) && rule.value.length > 2)
    throw rule.wrong('has more than a level and options', EXAMPLE);
  if (!LEVELS.includes(level as Level)) {
    const meant = typeof level === 'string' ? closest(level, LEVELS) : undefined;
    throw rule.wrong(`has the level ${show(level)}, expected off, warn or error`, meant && `did you mean "${meant}"?`);
  }
  if (level === 'off') return undefined;
  options?.onlyKeys(OPTIONS);
  const limits = LIMITS.flatMap((kind): Limit[] => {
    const limit = options?.at(kind);
    return limit ? [{ kind, amount: parseAmount(limit, kind, metric.unit) }] : [];
  });
  if (!options || limits.length === 0) throw rule.wrong('sets no limit', `give it ${LIMITS.join(', ')}`);
  return {
    id,
    level: level as Level,
    aggregate: aggregateOf(options) ?? defaults.aggregate,
    alpha: alphaOf(options) ?? defaults.alpha,
    limits,
  };
}

/** `5%` of a change is a part of the base; of a share it is the share itself. */
function parseAmount(place: Place, kind: LimitKind, unit: MetricUnit): Amount {
  const { value } = place;
  const change = kind === 'maxIncrease' || kind === 'maxDecrease';
  const percent = typeof value === 'string' ? /^\s*(\d+(?:\.\d+)?)\s*%\s*$/.exec(value)?.[1] : undefined;
  if (percent !== undefined && change) return { part: Number(percent) / 100 };
  if (percent !== undefined && unit === 'share') return { value: Number(percent) / 100 };
  const expected = `expected ${EXPECTED[unit]}${change ? ' or "5%" of the base' : ''}`;
  if (typeof value === 'number' && unit !== 'ns' && value >= 0) return { value };
  if (typeof value === 'number' && value === 0) return { value };
  if (typeof value !== 'string' || (unit !== 'ns' && unit !== 'bytes'))
    throw place.wrong(`is ${show(value)}, ${expected}`);
  try {
    return { value: unit === 'ns' ? parseDuration(value) : parseSize(value) };
  } catch (cause) {
    throw place.wrong(`is ${show(value)}, ${expected}`, (cause as HotlayerError).hint);
  }
}

const EXPECTED: Record<MetricUnit, string> = {
  ns: 'a time like "2.5s" or "300ms"',
  bytes: 'a size like "60MiB", or bytes',
  count: 'a number, 0 or more',
  share: 'a share like 0.95 or "95%"',
};

function aggregateOf(options: Place): Aggregate | undefined {
  const place = options.at('aggregate');
  if (!place) return undefined;
  if (AGGREGATES.includes(place.value as Aggregate)) return place.value as Aggregate;
  const meant = typeof place.value === 'string' ? closest(place.value, AGGREGATES) : undefined;
  throw place.wrong(`is ${show(place.value)}, expected ${AGGREGATES.join(', ')}`, meant && `did you mean "${meant}"?`);
}

function alphaOf(options: Place): number | undefined {
  const place = options.at('alpha');
  if (!place) return undefined;
  const { value } = place;
  if (typeof value === 'number' && value > 0 && value < 1) return value;
  throw place.wrong(`is ${show(value)}, expected a number between 0 and 1`);
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 59)}…` : text;
}

/** A value in the file, and how to get there. */
class Place {
  readonly #where: string;
  readonly value: unknown;

  constructor(where: string, value: unknown) {
    this.#where = where;
    this.value = value;
  }

  /** Undefined when there is none. */
  at(key: string | number): Place | undefined {
    if (typeof this.value !== 'object' || this.value === null || !Object.hasOwn(this.value, key)) return undefined;
    const where = `${this.#where}${typeof key === 'number' ? '' : `: ${JSON.stringify(key)}`}`;
    return new Place(where, (this.value as Record<string | number, unknown>)[key]);
  }

  entries(): [string, Place][] {
    this.#object();
    return Object.keys(this.value as object).map((key) => [key, this.at(key)!]);
  }

  onlyKeys(known: readonly string[]): void {
    this.#object();
    for (const key of Object.keys(this.value as object)) {
      if (known.includes(key)) continue;
      const meant = closest(key, known);
      throw this.at(key)!.wrong(
        'is not known here',
        meant ? `did you mean "${meant}"?` : `known are ${known.join(', ')}`,
      );
    }
  }

  #object(): void {
    const { value } = this;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw this.wrong(`is ${show(value)}, expected an object`, EXAMPLE);
    }
  }

  wrong(what: string, hint?: string | undefined): HotlayerError {
    return new HotlayerError('HL_ERR_USAGE', `${this.#where} ${what}`, hint === undefined ? {} : { hint });
  }
}
