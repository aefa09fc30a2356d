// Wanted files + the image they are of → a profile of one run, marked as imported: it ranks and plans like any other,
// but its times are not compared, and nothing is simulated from it.
import { layerSteps, ownersInImage } from '../analyze/packages/attribute.js';
import { buildProfile } from '../analyze/profile.js';
import { summarizeEvents } from '../analyze/summarize.js';
import { viewOfTree } from '../analyze/tree-view.js';
import type { Profile } from '../analyze/types.js';
import { showPath } from '../paths.js';
import type { SpooledImage } from '../rootfs/spooled-image.js';
import { TRACE_SCHEMA, type TraceEvent, type TraceHeader } from '../trace/events.js';
import { TOOL } from '../trace/tool.js';
import type { Wanted, WantedList } from './types.js';

/** Between two files of which only the order is known, ns. */
const STEP = 1000;

export interface ImportedProfile {
  readonly profile: Profile;
  /** What the list names and the image does not have, or what is no regular file. */
  readonly left: WantedList['left'];
}

/** @param source what recorded it: "strace" */
export function profileOfList(list: WantedList, spooled: SpooledImage, source: string): ImportedProfile {
  const { image, layers, tree } = spooled;
  const left = [...list.left];
  const events: TraceEvent[] = [];
  for (const [i, file] of list.files.entries()) {
    const node = tree.find(file.path);
    if (node?.type !== 'reg') {
      const reason = node ? 'not a regular file' : 'not in the image';
      left.push({ what: showPath(file.path), reason });
      continue;
    }
    events.push(...eventsOf({ ...file, path: tree.pathOf(node) }, node.size, file.t ?? i * STEP));
  }
  const { os, architecture, variant } = image.platform;
  const header: TraceHeader = {
    schemaVersion: TRACE_SCHEMA,
    tool: TOOL,
    image: { reference: image.reference, digest: image.descriptor.digest },
    platform: { os, architecture, ...(variant === undefined ? {} : { variant }) },
    workload: { args: [], user: '', cwd: '/' },
    precision: 'fast',
    until: [],
    imported: source,
  };
  const view = viewOfTree(tree);
  const endedAt = events.reduce((most, { t }) => Math.max(most, t), 0);
  const run = summarizeEvents(header, events, { end: true, events: events.length, complete: true, endedAt }, view);
  const { packages, databases } = ownersInImage(
    spooled,
    run.files.map(({ path }) => path),
  );
  const owned = run.files.map((file) => {
    const owner = packages.get(file.path);
    return owner === undefined ? file : { ...file, package: owner };
  });
  const totals = () => ({ ...view.totals(), layers: layerSteps(image.config.history, layers.length), databases });
  return { profile: buildProfile([{ ...run, files: owned }], { totals }), left };
}

/** Whose ranges are not known is read whole; a program's start reads it whole, too. */
function eventsOf({ path, ranges, executed }: Wanted, size: number, t: number): TraceEvent[] {
  const common = { t, path, pid: 0, dur: 0 };
  const whole = ranges === undefined ? [[0, size] as const] : ranges;
  return [
    { ...common, op: 'open', ...(executed ? { exec: true as const } : {}) },
    ...whole.flatMap(([offset, length]): TraceEvent[] => {
      const end = Math.min(size, offset + length);
      return end > offset ? [{ ...common, op: 'read', offset, length: end - offset }] : [];
    }),
  ];
}
