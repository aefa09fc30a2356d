// Images that are uncompressed one after the other, as the platforms of an index are: a layer that a later one has, too,
// is kept for it.
import type { Image, Layer } from '../image/types.js';
import type { SpooledLayer } from '../stargz/spool.js';

interface Kept {
  readonly spooled: SpooledLayer;
  /** How many have it and have not closed it. */
  users: number;
}

export class SharedSpools implements Disposable {
  private readonly kept = new Map<string, Kept>();
  /** In how many of the images to come a layer is. */
  private readonly awaited = new Map<string, number>();

  /** @param images all that will be begun */
  constructor(images: readonly Image[]) {
    for (const image of images) for (const key of keysOf(image)) this.count(key, 1);
  }

  /** From now on it is not one of those to come. */
  begin(image: Image): void {
    for (const key of keysOf(image)) this.count(key, -1);
  }

  has(layer: Layer): boolean {
    return this.kept.has(keyOf(layer));
  }

  /**
   * The layer, to be closed like one's own.
   * @param spool makes it, when nobody has
   */
  async get(layer: Layer, spool: () => Promise<SpooledLayer>): Promise<SpooledLayer> {
    const key = keyOf(layer);
    let kept = this.kept.get(key);
    if (!kept) {
      kept = { spooled: await spool(), users: 0 };
      this.kept.set(key, kept);
    }
    const { spooled } = kept;
    kept.users += 1;
    let open = true;
    const close = () => {
      if (open) this.release(key);
      open = false;
    };
    return { ...spooled, layer, close, [Symbol.dispose]: close };
  }

  /** Gives all space back, also of what somebody still has. Idempotent. */
  close(): void {
    for (const { spooled } of this.kept.values()) spooled.close();
    this.kept.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  private release(key: string): void {
    const kept = this.kept.get(key);
    if (!kept) return;
    kept.users -= 1;
    if (kept.users > 0 || (this.awaited.get(key) ?? 0) > 0) return;
    kept.spooled.close();
    this.kept.delete(key);
  }

  private count(key: string, by: number): void {
    this.awaited.set(key, (this.awaited.get(key) ?? 0) + by);
  }
}

/** The config's claim belongs to it: it is checked while a layer is uncompressed. */
function keyOf({ descriptor, diffId }: Layer): string {
  return `${descriptor.digest} ${diffId}`;
}

function keysOf(image: Image): ReadonlySet<string> {
  return new Set(image.layers.map(keyOf));
}
