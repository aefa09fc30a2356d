// Where each path is in a list of entries: as a Map with a million strings as keys it would take a hundred megabytes, and
// the strings would have to stay; so it is twelve bytes an entry. Open addressing: a path's place is its hash, or the next
// that is free.

export class PathIndex<Entry extends { readonly path: string }> {
  /** Positions in `entries`, plus one; 0 is free. */
  private readonly slots: Uint32Array;
  /** Of the path in each slot, so that other paths are hardly ever looked at. */
  private readonly hashes: Int32Array;
  private readonly mask: number;

  /** @param entries must not change */
  constructor(readonly entries: readonly Entry[]) {
    // At most three quarters are taken.
    let room = 8;
    while (room * 3 < entries.length * 4) room *= 2;
    this.mask = room - 1;
    this.slots = new Uint32Array(room);
    this.hashes = new Int32Array(room);
  }

  /** The position last set for the path; undefined when none was. */
  get(path: string): number | undefined {
    const position = this.slots[this.slotOf(path, hashOf(path))]! - 1;
    return position < 0 ? undefined : position;
  }

  has(path: string): boolean {
    return this.get(path) !== undefined;
  }

  /**
   * @param path that of the entry, which the caller has at hand
   * @returns the position that stood there before, -1 for none
   */
  set(path: string, position: number): number {
    const hash = hashOf(path);
    const slot = this.slotOf(path, hash);
    const before = this.slots[slot]! - 1;
    this.slots[slot] = position + 1;
    this.hashes[slot] = hash;
    return before;
  }

  private slotOf(path: string, hash: number): number {
    for (let slot = hash & this.mask; ; slot = (slot + 1) & this.mask) {
      const position = this.slots[slot]! - 1;
      if (position < 0 || (this.hashes[slot] === hash && this.entries[position]!.path === path)) return slot;
    }
  }
}

/** So that a layer cannot be made of names that all have one place. */
const SEED = (Math.random() * 2 ** 32) | 0;

/** Murmur's way of mixing (MurmurHash3, Austin Appleby, public domain), over UTF-16 units. */
function hashOf(path: string): number {
  let hash = SEED;
  for (let i = 0; i < path.length; i++) {
    hash = Math.imul(hash ^ path.charCodeAt(i), 0x5bd1e995);
    hash ^= hash >>> 15;
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
