// What people should know about a layer before they use its optimized form.
import { HotlayerError } from '../errors.js';
import { showPath } from '../paths.js';
import type { SpooledLayer } from '../stargz/spool.js';
import type { TarEntry } from '../stargz/tar/entry.js';
import type { CheckedOrder } from './layer-order.js';
import type { ResolvedLinks } from './links.js';

export interface LayerWarning {
  readonly layer: number;
  /** Stable, for programs: the writer's codes, and `hardlink-copied`, `planned-missing`, `order-kept`, `input`. */
  readonly code: string;
  /** As shown to people; "" when it concerns the whole layer. */
  readonly entry: string;
  readonly message: string;
}

/** What is known before the layer is written. */
export function layerWarnings(
  layer: number,
  spooled: SpooledLayer,
  entries: readonly TarEntry[],
  order: CheckedOrder,
  links: ResolvedLinks,
): LayerWarning[] {
  const warnings: LayerWarning[] = spooled.warnings.map((message) => ({ layer, code: 'input', entry: '', message }));
  for (const path of order.missed) {
    const message = 'the plan names it, but the layer has no such entry: ignored';
    warnings.push({ layer, code: 'planned-missing', entry: showPath(path), message });
  }
  if (order.kept) {
    const message =
      'its entries replace each other through symlinks, and the planned order would change the result: the order is kept, nothing is prefetched';
    warnings.push({ layer, code: 'order-kept', entry: '', message });
  }
  for (const [position, source] of links.copies) {
    const { name, linkName } = entries[position]!;
    const where = source.layer === layer ? 'was replaced later in this layer' : `is in layer ${source.layer}`;
    const message = `a hardlink to "${showPath(linkName)}", which ${where}: stored as a copy (${source.entry.size} bytes)`;
    warnings.push({ layer, code: 'hardlink-copied', entry: showPath(name), message });
  }
  return warnings;
}

/** What `--strict` does not let pass: differences between the tar and the lazy view that nobody can mend. */
const STRICT: readonly string[] = ['name-not-utf8', 'name-collision', 'time-out-of-range'];

/** @throws HL_ERR_CHECK_FAILED */
export function refuse(warnings: readonly LayerWarning[]): void {
  const bad = warnings.filter((warning) => STRICT.includes(warning.code));
  const [first] = bad;
  if (!first) return;
  const more = bad.length > 1 ? ` (and ${bad.length - 1} more)` : '';
  throw new HotlayerError('HL_ERR_CHECK_FAILED', `layer ${first.layer}: "${first.entry}": ${first.message}${more}`, {
    context: { entry: first.entry },
    hint: 'rename it in the image, or go without --strict',
  });
}
