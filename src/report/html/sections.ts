// The page's text: what can be read without a script, in the order of the reader's questions. Charts have their places here.
import { packageName, placeName, signed } from '../../analyze/diff/findings.js';
import { parsePurl } from '../../analyze/packages/purl.js';
import { formatBytes, formatCount, formatNanos } from '../../units.js';
import { formatChange, formatValue } from '../format-metric.js';
import { markup } from '../safe-text.js';
import type { Metric, Report, ReportChanges } from '../types.js';

export function pageBody(report: Report): string {
  const { findings } = report;
  const image = report.after ?? report.before;
  return [
    '<a class="skip" href="#verdict">to the report</a>',
    `<header><p class="tool">hotlayer</p><h1>${markup(report.image.reference)}</h1>${facts(report)}</header>`,
    '<main>',
    verdict(report),
    changes(report),
    '<noscript><p class="warn">The charts need JavaScript, which this page has within it; nothing is loaded.</p></noscript>',
    chart('barcodes', 'Where the hot files lie', findings.layers, missingImage(report)),
    chart('waterfall', 'Startup, file by file', findings.startup, 'No run has accesses with times.'),
    chart('cumulative', 'Bytes needed over time', findings.cumulative, 'No run has accesses with times.'),
    findings.fetched === undefined ? '' : chart('fetched', 'Bytes fetched over time, simulated', findings.fetched),
    chart('treemap', 'Hot and cold directories', findings.tree, missingImage(report), legend(image !== undefined)),
    chart('heat', 'Inside the big files', findings.heat, 'No file of 256 KiB or more is read.'),
    chart('stability', 'From run to run', findings.stability),
    chart(
      'simulation',
      'Simulated startup',
      findings.simulation,
      'Not simulated: that needs the image (--before, --after) and a run with times.',
    ),
    prefetch(report),
    packages(report),
    chart('misses', 'Names that do not exist', findings.misses),
    chart('files', 'Files', findings.files),
    method(report),
    '</main>',
  ].join('\n');
}

function missingImage(report: Report): string {
  return report.before || report.after
    ? ''
    : 'The image was not looked at: give it with --before, and the optimized one with --after.';
}

function legend(shown: boolean): string {
  return shown
    ? '<p class="hint">Area: bytes. The darker, the more of them are in files that a start opens (half for files that only some runs open). Choose a directory to go into it.</p>'
    : '';
}

/** A section with a finding above its chart; without one, why there is no chart. */
function chart(id: string, title: string, finding: string | undefined, otherwise = '', more = ''): string {
  const head = `<section aria-labelledby="${id}-title"><h2 id="${id}-title">${title}</h2>`;
  if (finding === undefined) return `${head}<p class="absent">${markup(otherwise)}</p></section>`;
  return `${head}<p class="finding">${markup(finding)}</p>${more}<div class="chart" id="${id}"></div></section>`;
}

function facts({ image, workload, environment, runs, date, tool }: Report): string {
  const list: [string, string][] = [
    ['digest', image.digest ?? 'none: a directory'],
    ['platform', environment.platform ?? 'not said'],
    ['workload', workload.args.join(' ')],
    ['ready at', workload.until.join(' or ')],
    ['runs', `${runs.length}, ${environment.precision === 'exact' ? 'exact ranges' : 'with readahead'}`],
    ['image', `${formatCount(image.files)} files, ${formatBytes(image.bytes)}`],
    ['profiled by', environment.profiledBy],
    ['reported by', date === undefined ? tool : `${tool}, ${date}`],
  ];
  return `<dl>${list.map(([name, value]) => `<div><dt>${name}</dt><dd>${markup(value)}</dd></div>`).join('')}</dl>`;
}

function verdict(report: Report): string {
  const { budgets = [], verification, warnings } = report;
  const parts = [
    '<section id="verdict" aria-labelledby="verdict-title"><h2 id="verdict-title">Verdict</h2>',
    `<p class="lead">${markup(report.findings.verdict)}</p>`,
    tiles(report),
  ];
  if (budgets.length > 0) {
    parts.push(
      table(
        'Budgets',
        ['', 'budget', '>expected', '>found', ''],
        budgets.map(({ id, level, ok, expected, found, detail }) => [
          ok ? 'PASS' : level === 'error' ? 'FAIL' : 'WARN',
          id,
          expected,
          found,
          detail ?? '',
        ]),
      ),
    );
  }
  if (verification) {
    const checks = verification.checks.length;
    const kept = verification.ok
      ? `PASS Verified: only order and compression differ (${checks} checks)`
      : 'FAIL Not the same image';
    parts.push(
      folded(
        kept,
        !verification.ok,
        table(
          'Verification',
          ['', 'check', 'what was compared'],
          verification.checks.map(({ ok, label, detail, mismatches }) => [
            ok ? 'PASS' : 'FAIL',
            label,
            ok ? detail : `${mismatches.length} mismatches; the first: ${mismatches[0]?.message ?? ''}`,
          ]),
        ),
      ),
    );
  }
  parts.push(folded('All metrics, by the ids that budgets have', false, metrics(report)));
  if (warnings.length > 0)
    parts.push(`<ul class="warnings">${warnings.map((text) => `<li>${markup(text)}</li>`).join('')}</ul>`);
  parts.push('</section>');
  return parts.join('\n');
}

/** What is looked at first, in this order, as far as it is known. */
const TILES = [
  'startup-time',
  'startup-files',
  'startup-bytes',
  'prefetch-coverage',
  'prefetch-waste',
  'simulated-ready-wan',
  'image-growth',
];

function tiles({ metrics: list }: Report): string {
  const shown = TILES.flatMap((id) => list.filter((metric) => metric.id === id));
  const items = shown.map((metric) => {
    const change = formatChange(metric);
    const below = change === undefined ? range(metric) : `${change} since the base`;
    return `<li><span>${markup(metric.label)}</span><b>${markup(formatValue(metric.value, metric.unit))}</b><small>${markup(below)}</small></li>`;
  });
  return `<ul class="tiles">${items.join('')}</ul>`;
}

/** @param title its first word may be PASS or FAIL */
function folded(title: string, open: boolean, content: string): string {
  const [, mark, rest] = /^(PASS |FAIL )?(.*)$/.exec(title)!;
  const marked = mark === undefined ? '' : `<b class="${mark.trim().toLowerCase()}">${mark.trim()}</b> `;
  return `<details${open ? ' open' : ''}><summary>${marked}${markup(rest!)}</summary>${content}</details>`;
}

function metrics({ metrics: list, base }: Report): string {
  const head = ['metric', '>value', ...(base ? [`>change from ${base.reference}`] : []), '>min … max over runs', 'id'];
  return table(
    'Metrics',
    head,
    list.map((metric) => [
      metric.label,
      formatValue(metric.value, metric.unit),
      ...(base ? [formatChange(metric) ?? '–'] : []),
      range(metric),
      metric.id,
    ]),
  );
}

function range({ runs, unit }: Metric): string {
  if (!runs || runs.length < 2) return '';
  const [least, most] = [formatValue(Math.min(...runs), unit), formatValue(Math.max(...runs), unit)];
  return least === most ? 'the same in all runs' : `${least} … ${most}`;
}

/** Tables of what became of the startup since the base; nothing without one. */
function changes({ changes: since, base, findings }: Report): string {
  if (!since || !base) return '';
  const list = <G extends ReportChanges['steps'][number]>(
    caption: string,
    groups: readonly G[],
    name: (group: G) => string,
  ): string =>
    groups.length === 0
      ? ''
      : table(
          caption,
          ['', caption.replace(/^By /, ''), '>files', '>bytes read', '>first at', 'most in'],
          groups.map((group) => [
            group.kind,
            name(group),
            formatCount(group.files),
            group.shift === undefined ? signed(group.bytes, formatBytes) : signed(group.shift, formatNanos),
            group.first === undefined ? '' : formatNanos(group.first),
            group.files > 1 ? group.largest : '',
          ]),
        );
  return [
    `<section aria-labelledby="changes-title"><h2 id="changes-title">Since ${markup(base.reference)}</h2>`,
    `<p class="finding">${markup(findings.changes ?? '')}</p>`,
    since.findings.length === 0 ? '' : `<ul>${since.findings.map((text) => `<li>${markup(text)}</li>`).join('')}</ul>`,
    list('By directory', since.places, placeName),
    list('By package', since.packages, ({ name }) => packageName(name)),
    list('By what made the layer', since.steps, ({ name }) => name ?? 'not known'),
    '</section>',
  ].join('\n');
}

function prefetch({ prefetch: view, findings }: Report): string {
  if (!view || findings.prefetch === undefined) {
    return chart(
      'prefetch',
      'Prefetched and needed',
      undefined,
      'The optimized image was not looked at: give it with --after.',
    );
  }
  return [
    '<section aria-labelledby="prefetch-title"><h2 id="prefetch-title">Prefetched and needed</h2>',
    `<p class="finding">${markup(findings.prefetch)}</p>`,
    `<h3>Read, but not prefetched</h3><div class="chart" id="missing">${view.missing.files === 0 ? '<p class="absent">None.</p>' : ''}</div>`,
    `<h3>Prefetched, but not read</h3><div class="chart" id="unused">${view.unused.files === 0 ? '<p class="absent">None.</p>' : ''}</div>`,
    '</section>',
  ].join('\n');
}

const PACKAGES = 30;

function packages({ profile: { packages: list = [] } }: Report): string {
  if (list.every((use) => use.package === undefined)) return '';
  const rows = list.slice(0, PACKAGES).map((use) => {
    const known = use.package === undefined ? undefined : parsePurl(use.package);
    const name = use.package === undefined ? 'no package' : known ? `${known.name} (${known.kind})` : use.package;
    return [
      name,
      known?.version ?? '',
      formatBytes(use.bytesRead),
      formatBytes(use.size),
      formatCount(use.files),
      use.largest,
    ];
  });
  const [first] = rows;
  const more =
    list.length > PACKAGES ? `<p class="hint">${list.length - PACKAGES} more are in the JSON report.</p>` : '';
  return [
    '<section aria-labelledby="packages-title"><h2 id="packages-title">Packages</h2>',
    `<p class="finding">${markup(`Files of ${formatCount(list.filter((use) => use.package !== undefined).length)} packages are opened; most is read of ${first![0]}, ${first![2]}.`)}</p>`,
    table('Packages by bytes read', ['package', 'version', '>read', '>of', '>files', 'most of'], rows),
    more,
    '</section>',
  ].join('\n');
}

function method({ method: list, runs }: Report): string {
  return [
    '<section aria-labelledby="method-title"><h2 id="method-title">Method and limits</h2>',
    `<ul>${list.map((text) => `<li>${markup(text)}</li>`).join('')}</ul>`,
    table(
      'Runs',
      ['>run', '>ready', 'by', '>files read', '>bytes read', '>failed look-ups', '>events', 'complete', 'id'],
      runs.map((run) => [
        String(run.number),
        run.ready ? formatNanos(run.ready.t) : '–',
        run.ready?.by ?? '',
        formatCount(run.filesRead),
        formatBytes(run.bytesRead),
        formatCount(run.failedLookups),
        formatCount(run.events),
        run.complete ? 'yes' : 'no',
        run.id,
      ]),
    ),
    '</section>',
  ].join('\n');
}

/** A cell of more letters is broken where need be. */
const LONG = 30;

/** @param head a leading `>` sets the column to the right */
function table(caption: string, head: readonly string[], rows: readonly (readonly string[])[]): string {
  const right = head.map((title) => title.startsWith('>'));
  const cell = (tag: string, text: string, i: number): string =>
    `<${tag}${right[i] ? ' class="n"' : /^(PASS|FAIL|WARN)$/.test(text) ? ` class="${text.toLowerCase()}"` : ` class="${text.length > LONG ? 'long' : 'short'}"`}${tag === 'th' ? ' scope="col"' : ''}>${markup(text)}</${tag.split(' ')[0]}>`;
  const titles = head.map((title, i) => cell('th', title.replace(/^>/, ''), i)).join('');
  const lines = rows.map((row) => `<tr>${row.map((text, i) => cell('td', text, i)).join('')}</tr>`);
  return `<div class="wide" tabindex="0" role="region" aria-label="${markup(caption)}"><table><caption>${markup(caption)}</caption><thead><tr>${titles}</tr></thead><tbody>\n${lines.join('\n')}\n</tbody></table></div>`;
}
