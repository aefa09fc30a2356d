// `inspect` of several images: what the index lists, what lies beside, and which of it survives a rewrite.
import type { IndexInspection, ReferrerInspection } from '../rewrite/inspect/inspect-index.js';
import { formatBytes, formatCount } from '../units.js';
import type { Output } from './output.js';
import { table } from './table.js';

export function showIndex(out: Output, index: IndexInspection): void {
  const count = index.platforms.length;
  out.result(
    `${index.reference}  ${index.digest ?? '(no index document)'}  ${formatCount(count)} platform${count === 1 ? '' : 's'}`,
  );
  const rows = index.platforms.map(({ platform, digest, layers, lazyLayers, size, because }) => [
    platform,
    digest,
    formatCount(layers),
    because === undefined ? `${formatCount(lazyLayers)} of ${formatCount(layers)}` : '–',
    formatBytes(size),
  ]);
  const columns = [
    { title: 'platform' },
    { title: 'manifest' },
    { title: 'layers', align: 'right' },
    { title: 'eStargz', align: 'right' },
    { title: 'size', align: 'right' },
  ] as const;
  for (const line of table(columns, rows)) out.result(line);
  for (const { platform, because } of index.platforms) {
    if (because !== undefined) out.note(`${platform} would be kept as it is: ${because}`);
  }
  for (const { digest, subject } of index.attestations) {
    out.result(`  attestation ${digest}${subject === undefined ? '' : `, about ${subject}`}`);
  }
  for (const { digest, artifactType } of index.artifacts)
    out.result(`  artifact ${digest}  ${artifactType || 'of no type'}`);
  for (const { digest, platform } of index.absent) out.warn(`${platform ?? 'manifest'} ${digest} is not stored there`);
  showReferrers(out, index.referrers);
}

const FATES: Readonly<Record<ReferrerInspection['fate'], string>> = {
  'still-true': 'follows a rewritten image',
  'no-longer-verifies': 'does not verify a rewritten image',
  unknown: 'nobody knows whether it holds for a rewritten image',
};

export function showReferrers(out: Output, referrers: readonly ReferrerInspection[]): void {
  if (referrers.length === 0) return;
  out.result('\nStored beside it:');
  for (const { digest, subject, artifactType, fate } of referrers) {
    out.result(`  ${artifactType || 'of no type'} ${digest}, about ${subject}: ${FATES[fate]}`);
  }
}
