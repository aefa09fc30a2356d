// GitHub workflow commands: one annotation for each budget that is exceeded and each check that failed.
// https://docs.github.com/actions/reference/workflow-commands-for-github-actions
import { annotation } from './safe-text.js';
import type { Report } from './types.js';

/** Lines for stdout of a step; empty when all is well. */
export function renderAnnotations({ budgets = [], verification }: Report): string {
  const lines = [
    ...budgets
      .filter(({ ok }) => !ok)
      .map(({ id, level, expected, found, detail }) =>
        command(
          level === 'error' ? 'error' : 'warning',
          id,
          `${found}, expected ${expected}${detail ? ` (${detail})` : ''}`,
        ),
      ),
    ...(verification?.checks ?? [])
      .filter(({ ok }) => !ok)
      .map(({ label, mismatches }) => command('error', `verify: ${label}`, `${mismatches.length} mismatches`)),
  ];
  return lines.map((line) => `${line}\n`).join('');
}

function command(name: string, title: string, message: string): string {
  return `::${name} title=${annotation(title, true)}::${annotation(message)}`;
}
