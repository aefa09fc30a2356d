// Where the bytes come from, in the terminal: packages, and the steps that made the layers.
import { parsePurl } from '../analyze/packages/purl.js';
import type { PackageUse, Profile } from '../analyze/types.js';
import { showPath } from '../paths.js';
import { formatBytes, formatCount } from '../units.js';
import type { Output } from './output.js';
import { table } from './table.js';

/** Rows shown; the rest is summed up, without --verbose. */
const SHOWN = 5;
const MAX_STEP = 60;

/** @param of a profile: what is read of them; of a plan: what of them is prefetched */
export function showPackages(out: Output, packages: readonly PackageUse[], of: 'profile' | 'plan' = 'profile'): void {
  // Nothing to say of an image without packages.
  if (packages.every((use) => use.package === undefined)) return;
  const bytesOf = (read: number, size: number): string[] =>
    of === 'plan' ? [formatBytes(size), formatBytes(read)] : [formatBytes(read), formatBytes(size)];
  const shown = out.verbose ? packages : packages.slice(0, SHOWN);
  const rows = shown.map((use) => [
    `  ${packageName(use)}`,
    ...bytesOf(use.bytesRead, use.size),
    formatCount(use.files),
    use.files === 1 ? showPath(use.largest) : `most of ${showPath(use.largest)}`,
  ]);
  const rest = packages.slice(shown.length);
  if (rest.length > 0) {
    const sum = (what: (use: PackageUse) => number): number => rest.reduce((total, use) => total + what(use), 0);
    rows.push([
      `  ${formatCount(rest.length)} more`,
      ...bytesOf(
        sum((use) => use.bytesRead),
        sum((use) => use.size),
      ),
      formatCount(sum((use) => use.files)),
      '',
    ]);
  }
  const columns = [
    { title: 'Packages' },
    { title: of === 'plan' ? 'prefetched' : 'read', align: 'right' },
    { title: of === 'plan' ? 'read' : 'of', align: 'right' },
    { title: 'files', align: 'right' },
    { title: '' },
  ] as const;
  for (const line of table(columns, rows, '')) out.result(line);
}

/** "libc6 (deb)" */
export function packageName(use: Pick<PackageUse, 'package'>): string {
  if (use.package === undefined) return 'no package';
  const known = parsePurl(use.package);
  return known ? `${known.name} (${known.kind})` : use.package;
}

/** What was read of each layer; layers of which nothing was are left out. */
export function showLayers(out: Output, { image, files }: Profile): void {
  const steps = image.layers ?? [];
  if (steps.length === 0) return;
  const sums = steps.map(() => ({ files: 0, bytes: 0 }));
  for (const { type, openedIn, layer, bytesRead } of files) {
    const sum = layer === undefined ? undefined : sums[layer];
    if (type !== 'reg' || openedIn === 0 || !sum) continue;
    sum.files += 1;
    sum.bytes += bytesRead.median;
  }
  const rows = sums.flatMap((sum, i) =>
    sum.files === 0
      ? []
      : [[`  layer ${i}`, formatBytes(sum.bytes), formatCount(sum.files), stepText(steps[i]?.createdBy)]],
  );
  const columns = [
    { title: 'Layers' },
    { title: 'read', align: 'right' },
    { title: 'files', align: 'right' },
    { title: '' },
  ] as const;
  for (const line of table(columns, rows, '')) out.result(line);
}

/** The step in short: without what every builder puts before it. */
export function stepText(createdBy: string | undefined): string {
  if (createdBy === undefined) return '';
  const plain = showPath(createdBy)
    .replace(/^\/bin\/sh -c #\(nop\) */, '')
    .replace(/^(RUN )?(\|\d+ .*? )?\/bin\/sh -c /, 'RUN ')
    .replace(/ # buildkit$/, '')
    .replace(/\s+/g, ' ')
    .trim();
  return plain.length > MAX_STEP ? `${plain.slice(0, MAX_STEP - 1)}…` : plain;
}
