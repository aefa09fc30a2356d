// One trace → what one run touched until it was ready, file by file. Paths become canonical here: all the names of a
// hardlinked file are one file.
import type { TraceEnd, TraceEvent, TraceHeader } from '../trace/events.js';
import { scanTrace } from '../trace/trace-file.js';
import { type Range, RangeSet, totalLength } from './ranges.js';
import type { TreeView, ViewNode } from './tree-view.js';
import type { ProfileFile, ProfileRun } from './types.js';

/** Which file a name is. */
export type Names = Pick<TreeView, 'at'>;

export interface FileInRun {
  readonly path: string;
  readonly type: ProfileFile['type'];
  readonly layer?: number;
  readonly size: number;
  /** When its content was first asked for; when it never was: when it was first looked at. */
  readonly first: number;
  /** Content was asked for: open, read, readlink of a symlink, readdir of a directory. */
  readonly opened: boolean;
  readonly executed: boolean;
  /** Read calls. */
  readonly reads: number;
  readonly ranges: readonly Range[];
  readonly comms: ReadonlySet<string>;
}

export interface RunSummary {
  readonly header: TraceHeader;
  readonly run: ProfileRun;
  readonly files: ReadonlyMap<string, FileInRun>;
  /** Look-ups of names that do not exist, by canonical path of the directory. */
  readonly misses: ReadonlyMap<string, number>;
}

/** Events of one run, in any order. */
export function summarizeEvents(
  header: TraceHeader,
  events: Iterable<TraceEvent>,
  end: TraceEnd,
  tree: Names,
): RunSummary {
  const collector = new RunCollector(tree, readyLimit(end));
  for (const event of events) collector.add(event);
  return collector.finish(header, end);
}

/**
 * A trace file, in one pass when its end record is known already, in two when not (it is the last line, but says
 * which events count).
 * @throws as scanTrace
 */
export async function summarizeTrace(path: string, tree: Names, end?: TraceEnd): Promise<RunSummary> {
  const known = end ?? (await scanTrace(path, () => {})).end;
  const collector = new RunCollector(tree, readyLimit(known));
  const summary = await scanTrace(path, (event) => collector.add(event));
  return collector.finish(summary.header, summary.end);
}

/** The moment after which nothing counts; without readiness everything does. */
function readyLimit(end: TraceEnd): number {
  return end.ready?.t ?? Number.POSITIVE_INFINITY;
}

interface Gathered {
  readonly node: ViewNode | undefined;
  readonly path: string;
  type: ProfileFile['type'];
  firstSeen: number;
  firstOpened: number;
  executed: boolean;
  reads: number;
  readonly ranges: RangeSet;
  readonly comms: Set<string>;
}

class RunCollector {
  readonly #tree: Names;
  readonly #until: number;
  /** By canonical path. */
  readonly #files = new Map<string, Gathered>();
  /** By the name in the event: the tree is asked once a name. */
  readonly #byName = new Map<string, Gathered>();
  readonly #misses = new Map<string, number>();

  constructor(tree: Names, until: number) {
    this.#tree = tree;
    this.#until = until;
  }

  add(event: TraceEvent): void {
    if (event.t > this.#until) return;
    if (event.errno !== undefined) {
      if (event.op === 'lookup' && event.errno === ENOENT) this.#miss(event.path);
      // A failed operation on a file that is there (EACCES, EINVAL) gave nothing to prefetch.
      return;
    }
    const file = this.#fileAt(event);
    file.firstSeen = Math.min(file.firstSeen, event.t);
    if (event.comm !== undefined) file.comms.add(event.comm);
    if (!CONTENT.has(event.op)) return;
    file.firstOpened = Math.min(file.firstOpened, event.t);
    if (event.exec) file.executed = true;
    if (event.op === 'read') {
      file.reads += 1;
      file.ranges.add(event.offset!, event.length!);
    }
  }

  finish(header: TraceHeader, end: TraceEnd): RunSummary {
    const files = new Map<string, FileInRun>();
    let filesRead = 0;
    let bytesRead = 0;
    for (const [path, file] of this.#files) {
      const ranges = file.ranges.ranges();
      const bytes = totalLength(ranges);
      const opened = file.firstOpened !== Number.POSITIVE_INFINITY;
      if (bytes > 0) filesRead += 1;
      bytesRead += bytes;
      files.set(path, {
        path,
        type: file.type,
        ...(file.node?.layer === undefined ? undefined : { layer: file.node.layer }),
        // Not in the tree any more (a directory that changed meanwhile): at least what was read of it.
        size: file.node?.size ?? ranges.reduce((size, [offset, length]) => Math.max(size, offset + length), 0),
        first: opened ? file.firstOpened : file.firstSeen,
        opened,
        executed: file.executed,
        reads: file.reads,
        ranges,
        comms: file.comms,
      });
    }
    const { complete, incompleteBecause, events, ready, endedAt, exitCode, signal } = end;
    const run: ProfileRun = {
      complete,
      ...(incompleteBecause === undefined ? undefined : { incompleteBecause }),
      events,
      ...(ready === undefined ? undefined : { ready }),
      endedAt,
      ...(exitCode === undefined ? undefined : { exitCode }),
      ...(signal === undefined ? undefined : { signal }),
      filesRead,
      bytesRead,
    };
    return { header, run, files, misses: this.#misses };
  }

  #miss(path: string): void {
    const directory = path.slice(0, Math.max(1, path.lastIndexOf('/')));
    const canonical = this.#tree.at(directory)?.path ?? directory;
    this.#misses.set(canonical, (this.#misses.get(canonical) ?? 0) + 1);
  }

  #fileAt(event: TraceEvent): Gathered {
    const known = this.#byName.get(event.path);
    if (known) {
      if (!known.node) known.type = moreCertain(known.type, event);
      return known;
    }
    const node = this.#tree.at(event.path);
    const path = node?.path ?? event.path;
    let file = this.#files.get(path);
    if (!file) {
      file = {
        node,
        path,
        type: node?.type ?? moreCertain('other', event),
        firstSeen: Number.POSITIVE_INFINITY,
        firstOpened: Number.POSITIVE_INFINITY,
        executed: false,
        reads: 0,
        ranges: new RangeSet(),
        comms: new Set(),
      };
      this.#files.set(path, file);
    }
    this.#byName.set(event.path, file);
    return file;
  }
}

const ENOENT = 2;
const CONTENT: ReadonlySet<string> = new Set(['open', 'read', 'readlink', 'readdir']);

/** The type of a file that the tree does not know, as far as an operation that worked on it tells. */
function moreCertain(type: ProfileFile['type'], event: TraceEvent): ProfileFile['type'] {
  if (event.op === 'read' || event.op === 'open') return 'reg';
  if (event.op === 'readlink') return 'symlink';
  if (event.op === 'readdir') return 'dir';
  return type;
}
