// How a report was made, what it cannot know, and what about its inputs should be known.
import type { Profile } from '../analyze/types.js';
import { formatCount } from '../units.js';
import { remarksOn } from './remarks.js';
import type { ReportInputs } from './report.js';

export function methodOf({ profile, before, after, simulation, verification }: ReportInputs): string[] {
  const runs = profile.runs.length;
  return [
    `The workload was run ${runs === 1 ? 'once' : `${formatCount(runs)} times`} on a tracing file system, each time on a fresh mount, until ${profile.until.join(' or ')}. Medians and median absolute deviations are over runs.`,
    profile.precision === 'exact'
      ? 'Readahead was off: byte ranges are what was touched, to the page.'
      : 'Readahead was on (--precision fast): byte ranges are larger than what was touched.',
    'A trace has first touches: repeated reads are answered by the kernel. Files that the workload wrote itself, mounts from the host, /proc, /sys and /dev are not in it.',
    'Times are those of this machine with all files at hand and the file system in user space: compare them with each other, not with another machine.',
    ...(before && !before.layers.every(({ stargz }) => stargz)
      ? ['Places in a layer that is not stargz are those in its uncompressed tar.']
      : []),
    ...(after ? ['A file counts as prefetched when its first chunk lies before the landmark of its layer.'] : []),
    simulation
      ? `Simulated starts play the recorded accesses again on a model of ${simulation.client}; they are not measured.`
      : 'Starts were not simulated.',
    verification
      ? 'Verification recomputed both images from their bytes.'
      : 'Whether the image after holds the same files was not verified in this report.',
  ];
}

export function warningsOf({ profile, before, after, plan, simulation }: ReportInputs): string[] {
  const image = after ?? before;
  const { digest } = profile.image;
  return [
    ...incomplete(profile),
    ...remarksOn(profile),
    ...(before && digest !== undefined && before.digest !== digest
      ? [
          `The profile was made of ${short(digest)}, the image before is ${short(before.digest)}: paths are matched by name.`,
        ]
      : []),
    ...(image && image.profiledElsewhere > 0
      ? [`${formatCount(image.profiledElsewhere)} files that the profile read are in no layer of ${image.reference}.`]
      : []),
    ...(plan?.missed.length
      ? [`${formatCount(plan.missed.length)} profiled paths could not be placed or were left out by the plan.`]
      : []),
    ...(simulation?.left ?? []).map((why) => `Not simulated: ${why}.`),
  ];
}

function incomplete({ runs }: Profile): string[] {
  return runs.flatMap((run, i) =>
    run.complete ? [] : [`Run ${i + 1} is not complete: ${run.incompleteBecause ?? 'events may be lost'}.`],
  );
}

function short(digest: string): string {
  return `${digest.slice(0, 19)}…`;
}
