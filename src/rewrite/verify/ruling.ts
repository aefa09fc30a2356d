// Global PAX headers belong to no entry and rule all that follow, so what is compared is not where they stand but
// which of their records are in force at each entry.
import type { TarScan } from '../../stargz/tar/scan.js';

/** The global records in force at an entry, as one comparable text; "" when there are none. */
export type Ruling = (entryIndex: number) => string;

export function rulingOf(scan: Pick<TarScan, 'globals'>): Ruling {
  const headers = scan.globals.filter((header) => header.flag === 'g');
  const texts: string[] = [''];
  let state = new Map<string, string>();
  for (const header of headers) {
    state = new Map(state);
    for (const [key, value] of header.records) {
      if (value.length === 0) state.delete(key);
      else state.set(key, value.toString('latin1'));
    }
    const sorted = [...state].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    texts.push(state.size === 0 ? '' : JSON.stringify(sorted));
  }
  let count = 0;
  return (entryIndex) => {
    // Callers mostly go forward; going back starts over.
    if (count > 0 && headers[count - 1]!.firstEntry > entryIndex) count = 0;
    while (count < headers.length && headers[count]!.firstEntry <= entryIndex) count += 1;
    return texts[count]!;
  };
}
