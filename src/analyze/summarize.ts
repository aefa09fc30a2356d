// One trace → what one run touched until it was ready. Paths become canonical here: all the names of a hardlinked file
// are one file.
import { HotlayerError } from '../errors.js';
import type { TraceEnd, TraceEvent, TraceHeader } from '../trace/events.js';
import { peekReady, scanTrace } from '../trace/trace-file.js';
import { AccessLog } from './access-log.js';
import { readTotals } from './count-files.js';
import { idOfRun, type RecordedFile, type RecordedRun } from './recorded-run.js';
import { REPLAY_OPS, type ReplayProcess } from './replay.js';
import type { TreeView, ViewNode } from './tree-view.js';
import type { ProfileFile } from './types.js';
import { MAX_VARINT } from './varint.js';

/** Which file a name is. */
export type Names = Pick<TreeView, 'at'>;

/** Events of one run, in any order. */
export function summarizeEvents(
  header: TraceHeader,
  events: Iterable<TraceEvent>,
  end: TraceEnd,
  tree: Names,
): RecordedRun {
  const collector = new RunCollector(tree, readyLimit(end));
  for (const event of events) collector.add(event);
  return collector.finish(header, end);
}

/**
 * A trace file, in one pass: its end record, which is the last line, says which events count.
 * @param end absent: looked for in the file before
 * @throws as scanTrace; HL_ERR_LIMIT for more than MAX_REPLAY_ACCESSES accesses
 */
export async function summarizeTrace(path: string, tree: Names, end?: TraceEnd): Promise<RecordedRun> {
  const limit = readyLimit(end ?? { ready: await peekReady(path) });
  const collector = new RunCollector(tree, limit);
  const summary = await scanTrace(path, (event) => collector.add(event));
  // Only of a last line that is too long to be looked for.
  if (!end && readyLimit(summary.end) !== limit) return summarizeTrace(path, tree, summary.end);
  return collector.finish(summary.header, summary.end);
}

/** The moment after which nothing counts; without readiness everything does. */
function readyLimit({ ready }: { readonly ready?: TraceEnd['ready'] }): number {
  return ready?.t ?? Number.POSITIVE_INFINITY;
}

interface Gathered {
  readonly node: ViewNode | undefined;
  readonly path: string;
  type: ProfileFile['type'];
  /** Largest end of a read. */
  end: number;
  /** The first event, which becomes a `look` when the content is never asked for. */
  seenAt: number;
  seenBy: number;
  seenFor: number;
  opened: boolean;
}

class RunCollector {
  readonly #tree: Names;
  readonly #until: number;
  readonly #files: Gathered[] = [];
  /** Number of the file, by canonical path. */
  readonly #byPath = new Map<string, number>();
  /** Name in the event before, which is mostly that of the next one, and its number. */
  #lastName: string | undefined;
  #last = 0;
  readonly #processes: ReplayProcess[] = [];
  /** Row of each thread under its present name. */
  readonly #threads = new Map<number, number>();
  readonly #log = new AccessLog();
  readonly #misses = new Map<string, number>();

  constructor(tree: Names, until: number) {
    this.#tree = tree;
    this.#until = until;
  }

  add(event: TraceEvent): void {
    const { t, op, dur } = event;
    if (t > this.#until) return;
    if (event.errno !== undefined) {
      if (op === 'lookup' && event.errno === ENOENT) this.#miss(event.path);
      // A failed operation on a file that is there (EACCES, EINVAL) gave nothing to prefetch.
      return;
    }
    const number = this.#fileAt(event);
    const file = this.#files[number]!;
    const process = this.#processOf(event);
    if (t < file.seenAt) {
      file.seenAt = t;
      file.seenBy = process;
      file.seenFor = dur;
    }
    const kind = KINDS.get(event.exec ? 'exec' : op);
    if (kind === undefined) return;
    file.opened = true;
    const offset = event.offset ?? 0;
    const length = event.length ?? 0;
    if (offset + length > MAX_VARINT / 2 || Math.abs(t) > MAX_VARINT / 2) {
      const message = `${event.path}: ${op} of ${length} bytes at ${offset}, at ${t} ns: out of every range`;
      throw new HotlayerError('HL_ERR_DATA', message);
    }
    file.end = Math.max(file.end, offset + length);
    this.#log.add(t, process, number, kind, offset, length, dur);
  }

  finish(header: TraceHeader, end: TraceEnd): RecordedRun {
    for (const [number, file] of this.#files.entries()) {
      if (!file.opened) this.#log.add(file.seenAt, file.seenBy, number, LOOK, 0, 0, file.seenFor);
    }
    const replay = this.#log.finish(this.#processes);
    // Not in the tree any more (a directory that changed meanwhile): at least what was read of it.
    const files = this.#files.map(({ node, path, type, end }): RecordedFile => node ?? { path, type, size: end });
    const { complete, incompleteBecause, events, ready, endedAt, exitCode, signal } = end;
    const facts = {
      complete,
      ...(incompleteBecause === undefined ? undefined : { incompleteBecause }),
      ...(header.imported === undefined ? undefined : { imported: header.imported }),
      events,
      ...(ready === undefined ? undefined : { ready }),
      endedAt,
      ...(exitCode === undefined ? undefined : { exitCode }),
      ...(signal === undefined ? undefined : { signal }),
    };
    const { image, platform, workload, precision, until } = header;
    const origin = { image, ...(platform === undefined ? undefined : { platform }), workload, precision, until };
    const recorded = { header: origin, files, replay, misses: this.#misses };
    const id = idOfRun({ ...recorded, run: facts });
    return { ...recorded, run: { id, ...facts, ...readTotals(replay) } };
  }

  #miss(path: string): void {
    const directory = path.slice(0, Math.max(1, path.lastIndexOf('/')));
    const canonical = this.#tree.at(directory)?.path ?? directory;
    this.#misses.set(canonical, (this.#misses.get(canonical) ?? 0) + 1);
  }

  #processOf({ pid, comm, parent }: TraceEvent): number {
    const known = this.#threads.get(pid);
    // No name: too late to ask for it; it is still the same thread.
    if (known !== undefined && (comm === undefined || this.#processes[known]!.comm === comm)) return known;
    const from = known ?? (parent === undefined ? undefined : this.#threads.get(parent));
    const row = this.#processes.length;
    this.#processes.push({
      pid,
      ...(comm === undefined ? undefined : { comm }),
      ...(from === undefined ? undefined : { parent: from }),
    });
    this.#threads.set(pid, row);
    return row;
  }

  #fileAt(event: TraceEvent): number {
    if (event.path !== this.#lastName) {
      this.#lastName = event.path;
      this.#last = this.#numberOf(event.path);
    }
    const file = this.#files[this.#last]!;
    if (!file.node) file.type = moreCertain(file.type, event);
    return this.#last;
  }

  #numberOf(name: string): number {
    const node = this.#tree.at(name);
    const path = node?.path ?? name;
    const known = this.#byPath.get(path);
    if (known !== undefined) return known;
    const number = this.#files.length;
    this.#byPath.set(path, number);
    const seenAt = Number.POSITIVE_INFINITY;
    const type = node?.type ?? 'other';
    this.#files.push({ node, path, type, end: 0, seenAt, seenBy: 0, seenFor: 0, opened: false });
    return number;
  }
}

const ENOENT = 2;
const LOOK = REPLAY_OPS.indexOf('look');
/** Operations that ask for content. */
const KINDS: ReadonlyMap<string, number> = new Map(
  (['open', 'exec', 'read', 'readlink', 'readdir'] as const).map((op) => [op, REPLAY_OPS.indexOf(op)]),
);

/** The type of a file that the tree does not know, as far as an operation that worked on it tells. */
function moreCertain(type: ProfileFile['type'], event: TraceEvent): ProfileFile['type'] {
  if (event.op === 'read' || event.op === 'open') return 'reg';
  if (event.op === 'readlink') return 'symlink';
  if (event.op === 'readdir') return 'dir';
  return type;
}
