// From measurements to reports/bench-convert.
import { LEVELS } from '../../src/stargz/codec/codec.js';
import { formatBytes } from '../../src/units.js';
import { describeHotlayer, describeMachine, machineLine, markdownTable, writeReport } from '../support/report.js';
import { ratioOf, type Summary, summarize } from '../support/statistics.js';
import type { Shape } from './layers.js';
import { ABOUT, type Conversion, NATIVE_LEVEL, PROGRAMS, type Program } from './programs.js';

export interface Measurement {
  readonly layer: Shape & {
    readonly bytes: number;
    readonly files: number;
    readonly entries: number;
    readonly hot: number;
    readonly hotBytes: number;
  };
  readonly round: number;
  /** `othersMs`: CPU time that the rest of the machine took meanwhile. */
  readonly costs: Readonly<Record<Program, Conversion & { readonly othersMs: number }>>;
}

/** What was asked for, of the writer beside the peer. */
const ASKED = { wall: 8, cpu: 8, overLimit: 1.8 };

interface Verdict {
  readonly claim: string;
  readonly found: string;
  readonly holds: boolean;
}

/** Prints, and writes the report. @returns whether all that was asked for holds */
export function report(measurements: readonly Measurement[], write: boolean, say: (text: string) => void): boolean {
  const names = [...new Set(measurements.map((one) => one.layer.name))];
  const results = names.map((name) => resultOf(measurements.filter((one) => one.layer.name === name)));
  const verdicts = results.flatMap((result) => result.verdicts);
  const machine = describeMachine({
    libdeflate: ['libdeflate-gzip', '-V'],
    go: ['/usr/lib/go-1.19/bin/go', 'version'],
  });
  const failed = verdicts.filter((verdict) => !verdict.holds);
  const tables = results.map(
    ({ layer, rows }) =>
      `**${layer.name}**: ${layer.about}. ${layer.entries} entries, ${formatBytes(layer.bytes)}; ${layer.hot === 0 ? 'nothing goes first' : `${layer.hot} files of ${formatBytes(layer.hotBytes)} go first`}.\n\n${markdownTable(['', 'time', 'peer is slower by', 'CPU', 'peer takes more by', 'blob', 'peak memory'], rows)}`,
  );
  const markdown = `# Converting a layer to eStargz, beside the peer's library

${failed.length === 0 ? 'Everything that was asked for holds.' : `**Does not hold:** ${failed.map(({ claim, found }) => `${claim}: ${found}`).join('; ')}.`}

${tables.join('\n\n')}

Asked for, of the writer: at least ${ASKED.wall} times faster than the peer's library at its default level 9, in an ${ASKED.cpu}th of its CPU time, a blob that is no larger, at most ${ASKED.overLimit} times
the native limit's time. ${verdicts.length - failed.length} of ${verdicts.length} hold:

${markdownTable(
  ['', 'found', ''],
  verdicts.map(({ claim, found, holds }) => [claim, found, holds ? 'holds' : '**does not hold**']),
)}

**Method.** _estargz.Build_ is the library of Debian's package in a program that writes the blob to a file (test/foreign/esgz-check.go, GOMAXPROCS the cores); _hotlayer's writer_ is the same
for ours (bench/convert/build.ts): both read the uncompressed tar. _ctr-remote image convert_ and _hotlayer optimize_ are the commands, from an image whose layer is that tar; theirs has containerd read and write for it, whose CPU
counts; ours checks digests, plans and syncs to disk. All get the same list of files that go first; ours compresses those at a higher level by default, so a row shows it with one level for all. The _native limit_ is two processes, each with half of the tar: libdeflate-gzip (level ${NATIVE_LEVEL}) over it as a whole,
sha256 of the tar twice (chunks, diffID) and of the result, which is written. It makes one member where eStargz wants one for each file; _in the same pieces_ it makes those that the writer makes, TOC included, all at the lower level: one call of libdeflate-gzip for some ten thousand files with the content of one member each, which it has to open. Rounds are interleaved, who is first changes; what was written before is synced before each. Medians (min–max); ratios are of medians, with the 95 % interval of a bootstrap over rounds.
Memory is the largest VmHWM of all rounds, of the program alone (of the limit: of the shell).

**What bounds us.** libdeflate runs as WebAssembly (the npm package, its hash table loops widened to SIMD); that is half of the writer's CPU time or more, and native code takes two thirds of it for the same work. sha256 takes 10 to 16 %, reading the tar and copying 10 %, starting Node, its threads and compiling JavaScript 15 % of a job of
two seconds. The levels are ours: ${LEVELS.libdeflate.default} for the rest is about as fast as libdeflate's 4 and, of these layers, 1 to 2 % smaller, ${LEVELS.libdeflate.hot} for what goes first makes 2 % less than 5 at one and a half to two times the rate of 10 (src/stargz/codec/codec.ts). The native limit is measured at libdeflate's next lower level. Of very many small files, clearing the tables and building Huffman codes for each member is most of the work.

**Machine.** ${machineLine(machine)} Others took ${othersShare(measurements)} of the machine meanwhile, on average.
`;
  process.stdout.write(markdown);
  if (write) {
    const data = { schemaVersion: 1, hotlayer: describeHotlayer(), machine, asked: ASKED, results, measurements };
    say(`written: ${writeReport('bench-convert', data, markdown).join(', ')}`);
  }
  return failed.length === 0;
}

function resultOf(measurements: readonly Measurement[]) {
  const { layer } = measurements[0]!;
  const of = (program: Program, key: keyof Conversion) =>
    measurements.flatMap(({ costs }) => (costs[program] ? [costs[program][key]] : []));
  const present = PROGRAMS.filter((program) => of(program, 'wallMs').length > 0);
  const seconds = ({ median, min, max }: Summary) =>
    `${(median / 1000).toFixed(2)} s (${(min / 1000).toFixed(2)}–${(max / 1000).toFixed(2)})`;
  const times = (program: Program, key: 'wallMs' | 'cpuMs') => {
    const { ratio, interval } = ratioOf(of('peer', key), of(program, key));
    return `${ratio.toFixed(1)} (${interval.map((value) => value.toFixed(1)).join('–')})`;
  };
  const rows = present.map((program) => [
    ABOUT[program],
    seconds(summarize(of(program, 'wallMs'))),
    program === 'peer' ? '1' : times(program, 'wallMs'),
    seconds(summarize(of(program, 'cpuMs'))),
    program === 'peer' ? '1' : times(program, 'cpuMs'),
    program === 'limit' || program === 'pieces' ? `(${of(program, 'size')[0]})` : `${of(program, 'size')[0]}`,
    formatBytes(Math.max(...of(program, 'peakBytes'))),
  ]);
  const verdicts: Verdict[] = [];
  const check = (what: string, found: number, holds: boolean, unit = '×') =>
    verdicts.push({ claim: `${layer.name}: ${what}`, found: `${found.toFixed(2)}${unit}`, holds });
  for (const program of (['writer', 'one-level'] as const).filter((one) => present.includes(one))) {
    const named = program === 'writer' ? '' : ' (one level)';
    const wall = ratioOf(of('peer', 'wallMs'), of(program, 'wallMs')).ratio;
    const cpu = ratioOf(of('peer', 'cpuMs'), of(program, 'cpuMs')).ratio;
    const size = of(program, 'size')[0]! / of('peer', 'size')[0]!;
    const limit = ratioOf(of(program, 'wallMs'), of('limit', 'wallMs')).ratio;
    check(`time, peer's over ours${named}`, wall, wall >= ASKED.wall);
    check(`CPU, peer's over ours${named}`, cpu, cpu >= ASKED.cpu);
    check(`blob, ours over peer's${named}`, size, size <= 1, '');
    check(`time, ours over the limit's${named}`, limit, limit <= ASKED.overLimit);
    if (!present.includes('pieces')) continue;
    const pieces = ratioOf(of(program, 'wallMs'), of('pieces', 'wallMs')).ratio;
    check(`time, ours over the limit's in the same pieces${named}`, pieces, pieces <= ASKED.overLimit);
  }
  return { layer, rows, verdicts };
}

function othersShare(measurements: readonly Measurement[]): string {
  let others = 0;
  let wall = 0;
  for (const { costs } of measurements)
    for (const cost of Object.values(costs)) {
      others += cost.othersMs;
      wall += cost.wallMs;
    }
  return `${((100 * others) / (2 * wall)).toFixed(0)} %`;
}
