import { formatBytes, formatCount } from '../../src/units.js';
import { markdownTable } from '../support/report.js';
import type { Faults } from './faults.js';
import type { Sat } from './seats.js';

export interface SoakResult {
  readonly seconds: number;
  readonly processes: number;
  readonly seed: number;
  readonly images: readonly { readonly files: number; readonly bytes: number }[];
  /** Bytes; `largest` as seen every ten seconds, `kept` after the end. */
  readonly cache: { readonly limit: number; readonly largest: number; readonly kept: number };
  readonly requests: number;
  readonly faults: Faults;
  /** Processes that were left after everything. */
  readonly left: number;
  readonly sittings: readonly Sat[];
}

/** `ok`: nothing was wrong, and it was a test: bytes were read, faults were met and hotlayer was killed. */
export function reportOf(result: SoakResult, note = ''): { markdown: string; ok: boolean } {
  const { sittings, faults, cache } = result;
  const sum = (of: (sat: Sat) => number, some = sittings) => some.reduce((total, sat) => total + of(sat), 0);
  const differences = sum((sat) => sat.differences);
  const left = sum((sat) => sat.left.length) + result.left;
  const complaints = sittings.flatMap((sat) => sat.complaints);
  const broken = Object.entries(faults).filter(([name, many]) => name !== 'none' && many > 0);
  const killed = sittings.filter((sat) => sat.killed);
  const tried = sum((sat) => sat.bytes) > 0 && broken.length > 0 && killed.length > 0;
  const fits = cache.kept <= cache.limit;
  const ok = differences === 0 && left === 0 && complaints.length === 0 && tried && fits;
  const rows = (['run', 'mount'] as const).map((kind) => {
    const some = sittings.filter((sat) => sat.kind === kind);
    return [
      `\`${kind}\``,
      formatCount(some.length),
      formatCount(some.filter((sat) => sat.killed).length),
      formatCount(some.filter((sat) => !sat.read).length),
      formatCount(sum((sat) => sat.opens, some)),
      formatBytes(sum((sat) => sat.bytes, some)),
      formatCount(sum((sat) => (sat.killed ? 0 : sat.errors), some)),
      formatCount(sum((sat) => sat.differences, some)),
      `${(Math.max(0, ...some.map((sat) => sat.longestMs)) / 1000).toFixed(1)} s`,
    ];
  });
  const head = [
    '',
    'started',
    'SIGKILL',
    'never read',
    'files looked at',
    'compared',
    'EIO',
    'differences',
    'longest wait',
  ];
  const { images } = result;
  const markdown = `# Soak: ${result.processes} processes, ${result.seconds} s

${ok ? 'No byte was wrong and nothing was left behind.' : `**Not as it should be**: ${differences} differences, ${left} things left behind, ${complaints.length} complaints${fits ? '' : ', the cache is larger than its limit'}${tried ? '' : ', too little was tried'}.`}

${result.processes} processes at once, a quarter of them in each of two containers (\`hotlayer run\`) and two mounts (\`hotlayer mount\`), read ${images.length} images
(${formatCount(images.reduce((n, { files }) => n + files, 0))} files, ${formatBytes(images.reduce((n, { bytes }) => n + bytes, 0))}, a layer in common) from a registry: whole files, pieces, memory maps; half of the time the page cache of the file is thrown away before.
Every byte that they get, and names, modes, owners, sizes and times, are compared with the original by a program that shares nothing with hotlayer.
One cache of ${formatBytes(cache.limit)} for all (at most ${formatBytes(cache.largest)} with what was in use, ${formatBytes(cache.kept)} at the end); a container or mount lasts up to 15 s, then the next image; ${killed.length} of ${sittings.length} hotlayers were killed in the middle.

${markdownTable(head, rows)}

Of ${formatCount(result.requests)} requests: ${broken.map(([name, many]) => `${formatCount(many)} ${name}`).join(', ')} ("down": for a fifth of the time nobody answers; "damaged file": 5 000 bytes of a layer that nobody used were overwritten in the cache).
hotlayer warned ${formatCount(sum((sat) => sat.warnings))} times. EIO is what a process gets when the retries within a second failed or the bytes were wrong; it reads on (not counted where hotlayer was killed, for then every read fails). "Never read": a fault, or the kill, came before there was a tree.
${note === '' ? '' : `\n${note}\n`}`;
  return { markdown, ok };
}
