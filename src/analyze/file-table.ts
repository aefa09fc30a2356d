// The files of several runs as one list: by path, in byte order, each once.
import { sortPaths } from '../paths.js';
import type { RecordedFile } from './recorded-run.js';

export interface NumberedFiles {
  readonly files: readonly RecordedFile[];
  /** Numbers in `files` that count; others are left out. */
  readonly used: Iterable<number>;
}

export class FileTable {
  readonly files: readonly RecordedFile[];
  /** For each list that went in: number in `files` by number in the list; 0 for those not used. */
  readonly numbers: readonly Uint32Array[];

  constructor(lists: readonly NumberedFiles[]) {
    const byPath = new Map<string, RecordedFile>();
    const marked = lists.map(({ files, used }) => {
      const marks = new Uint8Array(files.length);
      for (const number of used) marks[number] = 1;
      for (const [i, file] of files.entries()) {
        if (marks[i] === 0) continue;
        const other = byPath.get(file.path);
        byPath.set(file.path, other ? oneOf(other, file) : file);
      }
      return marks;
    });
    const paths = sortPaths([...byPath.keys()]);
    const numberOf = new Map(paths.map((path, i) => [path, i]));
    this.files = paths.map((path) => byPath.get(path)!);
    this.numbers = lists.map(({ files }, list) =>
      Uint32Array.from(files, ({ path }, i) => (marked[list]![i] === 0 ? 0 : numberOf.get(path)!)),
    );
  }
}

/** They agree but for a directory that changed between the runs: then the largest stands for all. */
function oneOf(a: RecordedFile, b: RecordedFile): RecordedFile {
  const owner = [a.package, b.package].filter((name) => name !== undefined).sort()[0];
  if (a.type === b.type && a.size === b.size && a.layer === b.layer && a.package === owner) return a;
  const layer = a.size === b.size ? Math.min(a.layer ?? 0, b.layer ?? 0) : (a.size > b.size ? a : b).layer;
  return {
    path: a.path,
    type: a.type === b.type ? a.type : 'other',
    ...(layer === undefined || (a.layer === undefined && b.layer === undefined) ? undefined : { layer }),
    size: Math.max(a.size, b.size),
    ...(owner === undefined ? undefined : { package: owner }),
  };
}
