// Every form that a report can be written in: what the flag is called, what it is, what renders it.
import { formatSaved, writePieces } from '../analyze/saved.js';
import { renderActionBenchmark, renderHyperfine } from './benchmark-json.js';
import { renderHtml } from './html/html.js';
import { renderJunit } from './junit.js';
import { renderMarkdown } from './markdown.js';
import { renderOpenMetrics } from './openmetrics.js';
import { renderFolded, renderSpeedscope } from './stacks.js';
import { renderTraceEvents } from './trace-events.js';
import type { Report } from './types.js';

export interface Output {
  /** For the flag's help. */
  readonly what: string;
  readonly render: (report: Report) => string | Iterable<string>;
}

export const OUTPUTS = {
  html: { what: 'one page with charts; opens without a network', render: renderHtml },
  report: {
    what: 'everything, as JSON (the form that --base and budgets read)',
    render: (report) => formatSaved(report),
  },
  markdown: { what: 'Markdown for a job summary or a comment, at most 64 KiB', render: renderMarkdown },
  junit: { what: 'JUnit XML: a test case for each budget and check', render: renderJunit },
  openmetrics: { what: 'OpenMetrics text: a gauge for each metric', render: renderOpenMetrics },
  benchmark: { what: 'JSON for github-action-benchmark (customSmallerIsBetter)', render: renderActionBenchmark },
  hyperfine: { what: "JSON in the form of hyperfine's results", render: renderHyperfine },
  perfetto: { what: 'the median run as trace events: Perfetto, chrome://tracing', render: renderTraceEvents },
  speedscope: { what: 'bytes read by process and directory, for speedscope', render: renderSpeedscope },
  folded: { what: 'the same as folded stacks, for flame graphs', render: renderFolded },
} satisfies Record<string, Output>;

export type OutputForm = keyof typeof OUTPUTS;

/** @throws HL_ERR_IO. The file appears whole or not at all. */
export async function writeOutput(form: OutputForm, report: Report, file: string): Promise<void> {
  const rendered = (OUTPUTS[form] as Output).render(report);
  await writePieces(file, typeof rendered === 'string' ? [rendered] : rendered);
}
