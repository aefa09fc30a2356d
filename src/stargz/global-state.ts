// Global PAX headers rule every entry after them, so entries cannot simply change places. This keeps each entry under
// the headers that ruled it: it says which blocks have to be written before the next entry.
//
// In most archives all global headers come first (git archive): they are written first, once. Otherwise, where the
// ruling state has to go back, a header with empty values cancels what is in force (POSIX: an empty value deletes),
// and the headers of the wanted state follow as they are.
import { paxHeader, paxRecord } from './tar/build.js';
import type { GlobalHeader } from './tar/scan.js';

type Records = ReadonlyMap<string, Buffer>;

/** Records that do not change what an entry means; entries of the format itself need not be shielded from them. */
const HARMLESS = /^(comment|hdrcharset|charset|atime|ctime)$|^GNU\.volume\./;
const NOTHING: Records = new Map();

export class GlobalState {
  private readonly headers: readonly GlobalHeader[];
  /** `states[k]`: the records in force after the first k headers. */
  private readonly states: Records[] = [NOTHING];
  private current: Records = NOTHING;
  private readonly used = new Set<GlobalHeader>();

  /** @param globals of the scan, in order */
  constructor(globals: readonly GlobalHeader[]) {
    this.headers = globals.filter((header) => header.flag === 'g');
    for (const header of this.headers) {
      const next = new Map(this.states.at(-1));
      for (const [key, value] of header.records) {
        if (value.length === 0) next.delete(key);
        else next.set(key, value);
      }
      this.states.push(next);
    }
  }

  /**
   * What to write before the entry of this index: made blocks, and headers to be copied from the input.
   * Nothing when the state is as it should be.
   */
  before(entryIndex: number): (Buffer | GlobalHeader)[] {
    const count = countBefore(this.headers, entryIndex);
    const wanted = this.states[count]!;
    if (same(wanted, this.current)) return [];
    // From the last state that equals the current one, or else from the last empty one, the wanted one is reached by
    // the input's own headers.
    let from = count;
    while (from >= 0 && !same(this.states[from]!, this.current)) from--;
    const blocks: (Buffer | GlobalHeader)[] = [];
    if (from < 0) {
      blocks.push(...this.reset());
      from = count;
      while (this.states[from]!.size > 0) from--;
    }
    const headers = this.headers.slice(from, count);
    for (const header of headers) this.used.add(header);
    blocks.push(...headers);
    this.current = wanted;
    return blocks;
  }

  /** What to write before an entry that the format adds, so that no global record changes it. */
  beforeOwn(): Buffer[] {
    return [...this.current.keys()].every((key) => HARMLESS.test(key)) ? [] : this.reset();
  }

  /** Headers that ruled no entry, and so were not written; those that only cancel are not worth a word. */
  unused(): GlobalHeader[] {
    return this.headers.filter((h) => !this.used.has(h) && [...h.records.values()].some((value) => value.length > 0));
  }

  private reset(): Buffer[] {
    if (this.current.size === 0) return [];
    const keys = [...this.current.keys()].sort();
    this.current = NOTHING;
    const name = Buffer.from('pax_global_header');
    return [
      paxHeader(
        'g',
        name,
        keys.map((key) => paxRecord(key, '')),
      ),
      // GNU tar lets a global header replace the one before it: this one leaves nothing in force there, either.
      paxHeader('g', name, [paxRecord('comment', '')]),
    ];
  }
}

/** How many of the headers come before the entry; they are in order of `firstEntry`. */
function countBefore(headers: readonly GlobalHeader[], entryIndex: number): number {
  let low = 0;
  let high = headers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (headers[middle]!.firstEntry <= entryIndex) low = middle + 1;
    else high = middle;
  }
  return low;
}

function same(a: Records, b: Records): boolean {
  if (a === b) return true;
  if (a.size !== b.size) return false;
  for (const [key, value] of a) if (!b.get(key)?.equals(value)) return false;
  return true;
}
