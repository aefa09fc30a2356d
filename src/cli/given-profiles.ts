// What `-p` names: profiles with weights, grouped by workload.
import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { readProfile } from '../analyze/saved.js';
import type { WorkloadRegret } from '../analyze/types.js';
import { type GivenProfile, type WeighedWorkload, workloadsOf } from '../analyze/workloads.js';
import { HotlayerError } from '../errors.js';
import { showPath } from '../paths.js';
import { formatCount, formatNanos, formatShare } from '../units.js';
import type { Output } from './output.js';
import { table } from './table.js';

/** `FILE` or `FILE=WEIGHT`; a file whose name ends in `=3` is meant when it is there. @throws HL_ERR_USAGE */
export function parseProfileFlag(text: string): { file: string; weight?: number } {
  const [, file, weight] = /^(.+)=([^=/]*)$/.exec(text) ?? [];
  if (file === undefined || weight === undefined || existsSync(text)) return { file: text };
  const value = Number(weight);
  if (!/^\d+(\.\d+)?$/.test(weight) || value <= 0 || !Number.isFinite(value)) {
    throw new HotlayerError('HL_ERR_USAGE', `--profile ${text}: "${weight}" is not a weight`, {
      hint: 'write it like -p web.json=3 -p worker.json=1, with numbers above 0',
    });
  }
  return { file, weight: value };
}

/** @throws HL_ERR_USAGE for a weight that is none, or two for one workload; as readProfile */
export async function readWorkloads(flags: readonly string[]): Promise<WeighedWorkload[]> {
  const given = flags.map(parseProfileFlag).map(async ({ file, weight }): Promise<GivenProfile> => {
    const name = basename(file).replace(/(\.profile)?\.json$/, '') || file;
    return { name, profile: await readProfile(file), weight };
  });
  return workloadsOf(await Promise.all(given));
}

/** What a common plan costs each workload, on stdout. */
export function showRegrets(
  out: Output,
  workloads: readonly WorkloadRegret[],
  networks: readonly { readonly name: string }[],
): void {
  const rows = workloads.map(({ name, weight, regret, networks: on }) => [
    showPath(name),
    formatCount(weight),
    ...on.map(({ nanos, best }) => `${formatNanos(nanos)} (best ${formatNanos(best)})`),
    formatShare(regret, 1),
  ]);
  const columns = [
    { title: 'Workload' },
    { title: 'weight', align: 'right' },
    ...networks.map(({ name }) => ({ title: `ready on ${name}, predicted`, align: 'right' as const })),
    { title: 'loses', align: 'right' },
  ] as const;
  for (const line of table(columns, rows, '')) out.result(line);
}
