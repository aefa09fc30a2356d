// JUnit XML: one test case for each budget and each verification check, as GitLab, Jenkins and Buildkite show them.
// The form is that of Jenkins' JUnit plugin (junit-10.xsd); all its consumers read it.
import { markup } from './safe-text.js';
import type { BudgetResult, Report } from './types.js';

interface Case {
  readonly name: string;
  /** Absent: it passed. */
  readonly failure?: { readonly message: string; readonly text: string };
  readonly output?: string;
}

export function renderJunit(report: Report): string {
  const suites = [
    { name: 'hotlayer.budgets', cases: (report.budgets ?? []).map(budgetCase) },
    { name: 'hotlayer.verify', cases: verifyCases(report) },
  ].filter(({ cases }) => cases.length > 0);
  // A file without a case fails pipelines that expect results: the report itself is one that was made.
  if (suites.length === 0)
    suites.push({ name: 'hotlayer.report', cases: [{ name: 'startup profile', output: report.findings.verdict }] });
  const failures = (cases: readonly Case[]): number => cases.filter(({ failure }) => failure).length;
  const all = suites.flatMap(({ cases }) => cases);
  const lines = ['<?xml version="1.0" encoding="UTF-8"?>'];
  lines.push(`<testsuites name="hotlayer" tests="${all.length}" failures="${failures(all)}" errors="0">`);
  for (const { name, cases } of suites) {
    lines.push(
      `  <testsuite name="${name}" tests="${cases.length}" failures="${failures(cases)}" errors="0" skipped="0">`,
    );
    for (const test of cases) lines.push(...caseLines(name, test));
    lines.push('  </testsuite>');
  }
  lines.push('</testsuites>', '');
  return lines.join('\n');
}

function caseLines(suite: string, { name, failure, output }: Case): string[] {
  const head = `    <testcase classname="${suite}" name="${markup(name)}"`;
  if (!failure && output === undefined) return [`${head}/>`];
  return [
    `${head}>`,
    ...(failure ? [`      <failure message="${markup(failure.message)}">${markup(failure.text)}</failure>`] : []),
    ...(output === undefined ? [] : [`      <system-out>${markup(output)}</system-out>`]),
    '    </testcase>',
  ];
}

/** A budget that only warns passes, and says so. */
function budgetCase({ id, limit, level, ok, expected, found, detail }: BudgetResult): Case {
  // A budget may have several limits, and cases of one name would be taken for one.
  const name = limit === undefined ? id : `${id} ${limit}`;
  const message = `${found}, expected ${expected}`;
  if (ok) return { name, output: message };
  if (level === 'warn') return { name, output: `warning: ${message}${detail ? ` (${detail})` : ''}` };
  return { name, failure: { message, text: detail ?? message } };
}

function verifyCases({ verification }: Report): Case[] {
  return (verification?.checks ?? []).map(({ label, ok, detail, mismatches }) => {
    if (ok) return { name: label, output: detail };
    const lines = mismatches
      .slice(0, 100)
      .map(({ layer, entry, message, expected, found }) =>
        [
          layer === undefined ? '' : `layer ${layer}`,
          entry === undefined ? '' : entry,
          message,
          expected === undefined && found === undefined
            ? ''
            : `before ${expected ?? 'absent'}, after ${found ?? 'absent'}`,
        ]
          .filter((part) => part !== '')
          .join(' '),
      );
    return { name: label, failure: { message: `${mismatches.length} mismatches`, text: lines.join(' | ') } };
  });
}
