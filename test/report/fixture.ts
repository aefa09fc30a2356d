// A profile with paths that try to be something else, an image that has them, and the report of both.
import { buildProfile } from '../../src/analyze/profile.js';
import type { RecordedRun } from '../../src/analyze/recorded-run.js';
import { summarizeEvents } from '../../src/analyze/summarize.js';
import type { Profile } from '../../src/analyze/types.js';
import { assembleReport, type ReportInputs, withBudgets } from '../../src/report/report.js';
import type { Report } from '../../src/report/types.js';
import type { ImageInspection, LayerFiles } from '../../src/rewrite/inspect/inspect.js';
import type { TraceEvent, TraceHeader } from '../../src/trace/events.js';
import { DIGEST, end, HEADER } from '../analyze/support.js';

/** Names that are markup, quotes, line breaks, marks that turn the text round, bytes that are no UTF-8, table cells. */
export const HOSTILE = [
  '/a/<script>alert(1)</script>',
  '/a/<img src=x onerror=alert(1)>',
  '/b/"quoted\' & \\back',
  '/c/two\nlines\r\tand a tab',
  '/d/\u202egnp.exe\u2066',
  '/e/\udcff\udcfe not UTF-8',
  '/f/|cell|`code`[link](http://x)@you #1 ~~x~~ $y$',
  '/g/; semi;colon 12',
  '/h/]]>-->*/</style></title>',
  '/i/%0A::error::injected',
  '/j/\u0000\u001b[31mred',
  // biome-ignore lint/suspicious/noTemplateCurlyInString: it is a name that looks like one
  '/k/{{x}}${y}',
  `/l/${'long'.repeat(2000)}`,
];

const WORKLOAD = { args: ['/bin/app', '<b>', '"', '\u202e'], user: '', cwd: '/' };
const HOSTILE_HEADER: TraceHeader = { ...HEADER, workload: WORKLOAD, until: ['line:</script>\n'] };

function hostileRun(number: number): RecordedRun {
  const events: TraceEvent[] = [];
  let t = number;
  const add = (event: Partial<TraceEvent> & Pick<TraceEvent, 'op' | 'path'>): void => {
    t += 1_000_000;
    events.push({ t, pid: 7, comm: '<comm>;"', dur: 1000, ...event });
  };
  for (const [i, path] of HOSTILE.entries()) {
    if (number === 1 && i === 2) continue;
    add({ op: 'lookup', path });
    add({ op: 'open', path, ...(i === 0 ? { exec: true as const } : {}) });
    add({ op: 'read', path, offset: 0, length: 4096, pid: i % 2 === 0 ? 7 : 8, parent: 7 });
    add({ op: 'read', path, offset: 65_536, length: 100 * (i + 1) });
    add({ op: 'lookup', path: `${path}/missing`, errno: 2 });
  }
  const stop = end(events.length, { ready: { t: t + 1, by: 'line' }, endedAt: t + 2 });
  const nodes = new Map(
    HOSTILE.map((path, i) => [path, { path, type: 'reg' as const, layer: i % 2, size: 300_000 + i }]),
  );
  return summarizeEvents(HOSTILE_HEADER, events, stop, { at: (path) => nodes.get(path) });
}

export const hostileProfile: Profile = buildProfile([hostileRun(0), hostileRun(1), hostileRun(2)], {
  totals: () => ({ files: 40, bytes: 9_000_000 }),
});

/** Two layers; in the one after, the first half of the files lies before the landmark, with one that nobody reads. */
export function inspectionOf(profile: Profile, kind: 'before' | 'after'): ImageInspection {
  const after = kind === 'after';
  const lists = [0, 1].map((layer) => profile.files.filter((file) => file.layer === layer && file.type === 'reg'));
  const files = lists.map((list): LayerFiles => {
    const paths = ['unread <i>', ...list.map(({ path }) => path.slice(1))];
    return {
      paths,
      sizes: paths.map((_, i) => (i === 0 ? 50_000 : list[i - 1]!.size)),
      at: paths.map((_, i) => i * 10_000),
      length: paths.map(() => 9_000),
      prefetched: after ? Math.ceil(paths.length / 2) : 0,
      exact: after,
    };
  });
  const places = new Map(lists.flatMap((list, layer) => list.map(({ path }, i) => [path, [layer, i + 1] as const])));
  return {
    reference: `oci:image<${kind}>`,
    digest: after ? `sha256:${'34'.repeat(32)}` : DIGEST,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    platform: { os: 'linux', architecture: 'amd64' },
    profiledElsewhere: 0,
    steps: [{ createdBy: 'COPY <x> /' }, {}],
    located: profile.files.map(({ path }) => places.get(path)),
    layers: files.map((list, index) => ({
      index,
      mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
      digest: `sha256:${String(index).repeat(64)}`,
      size: 10_000 * list.paths.length + 1000,
      compression: 'gzip' as const,
      uncompressedSize: 320_000 * list.paths.length,
      diffId: `sha256:${'d'.repeat(64)}`,
      members: 9,
      entries: list.paths.length,
      entriesByType: { reg: list.paths.length },
      fileBytes: list.sizes.reduce((a, b) => a + b, 0),
      files: list,
      ...(after
        ? {
            stargz: {
              footer: 'estargz' as const,
              tocOffset: 10_000 * list.paths.length,
              tocSize: 900,
              tocDigest: DIGEST,
              landmark: { kind: 'prefetch' as const, offset: 10_000 * list.prefetched, entry: list.prefetched },
              prefetchBytes: 10_000 * list.prefetched,
              hotEntries: list.prefetched,
              hotBytes: 1,
              coldBytes: 1,
              largestHot: [],
            },
          }
        : {}),
    })),
  };
}

export const hostileInputs: ReportInputs = {
  profile: hostileProfile,
  before: inspectionOf(hostileProfile, 'before'),
  after: inspectionOf(hostileProfile, 'after'),
  date: '2026-01-02T03:04:05Z',
  verification: {
    ok: false,
    exceptions: [],
    checks: [
      { id: 'files', label: 'same files', ok: true, detail: '2 entries', mismatches: [] },
      {
        id: 'content',
        label: 'same content',
        ok: false,
        detail: '1 byte',
        mismatches: [{ layer: 0, entry: HOSTILE[3]!, message: 'differs', expected: '<a>', found: '"b"' }],
      },
    ],
  },
};

export function hostileReport(): Report {
  return withBudgets(assembleReport(hostileInputs), [
    { id: 'startup-files', level: 'error', ok: false, expected: '≤ 10', found: '13', detail: 'all: 13,\n<13>' },
    { id: 'startup-bytes', level: 'warn', ok: false, expected: '≤ 1 MiB', found: '2 MiB' },
    { id: 'run-stability', level: 'error', ok: true, expected: '≥ 0.5', found: '0.9' },
  ]);
}

export function textOf(rendered: string | Iterable<string>): string {
  return typeof rendered === 'string' ? rendered : [...rendered].join('');
}
