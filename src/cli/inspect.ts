// `hotlayer inspect IMAGE|BLOB`: what is in the layers, and what lies before the landmark.
import { statSync } from 'node:fs';
import type { Command } from 'commander';
import { readProfile } from '../analyze/saved.js';
import { EXIT, isHotlayerError } from '../errors.js';
import { hostPlatform, openImage, openIndex } from '../image/index.js';
import { bestMatches } from '../image/platform.js';
import { showPath } from '../paths.js';
import {
  type BlobInspection,
  type ImageInspection,
  type InspectOptions,
  inspectBlob,
  inspectImage,
} from '../rewrite/inspect/inspect.js';
import { inspectIndex } from '../rewrite/inspect/inspect-index.js';
import { isSingle } from '../rewrite/optimize-index.js';
import { formatBytes, formatCount, formatShare } from '../units.js';
import { addPlatformOption, flag, type GlobalFlags, type PlatformFlags } from './flags.js';
import { showIndex, showReferrers } from './inspect-index.js';
import type { Register } from './main.js';
import type { Output } from './output.js';
import { openingOf, tempParentOf } from './profiling.js';
import { bar, table } from './table.js';

interface InspectFlags extends GlobalFlags, PlatformFlags {
  profile?: string;
}

export function addInspect(program: Command, register: Register): void {
  const command = program
    .command('inspect')
    .argument('<image>', 'an image, or the file of one layer blob')
    .description('Shows layers, TOC, members, landmark, hot and cold bytes, read from the bytes themselves.')
    .summary('TOC, members, landmark, hot and cold bytes per layer')
    .addOption(flag('-p, --profile <file>', 'also show how much of what was read lies before the landmark'));
  addPlatformOption(command);
  register<InspectFlags>(command, async (context, [subject], flags) => {
    const { out, signal } = context;
    const options = { ...tempParentOf(context), signal };
    const blob = await bareBlob(subject!, options);
    if (blob) {
      out.document(blob);
      showBlob(out, subject!, blob);
      return EXIT.ok;
    }
    const profile = flags.profile === undefined ? undefined : await readProfile(flags.profile);
    await using index = await openIndex(subject!, openingOf(context, flags));
    const overview = await inspectIndex(index);
    // Of several the one that would run here is shown in full.
    const [image] = bestMatches(hostPlatform(), index.images, (one) => one.platform);
    const chosen = isSingle(index) ? index.images[0] : image;
    const inspection = chosen && (await inspectImage(chosen, { ...options, ...(profile ? { profile } : {}) }));
    const { referrers } = overview;
    if (isSingle(index) && inspection) {
      out.document({ ...inspection, ...(referrers.length > 0 ? { referrers } : {}) });
      showInspection(out, inspection);
      showReferrers(out, referrers);
      return EXIT.ok;
    }
    out.document({ ...overview, ...(inspection ? { image: inspection } : {}) });
    showIndex(out, overview);
    if (inspection) {
      out.result();
      showInspection(out, inspection);
      if (index.images.length > 1) out.note('\n--platform shows another one in full.');
    }
    return EXIT.ok;
  });
}

/** The file of a layer; undefined when it is an archive of an image, or no file. @throws as inspectBlob */
async function bareBlob(path: string, options: InspectOptions): Promise<BlobInspection | undefined> {
  if (!statSync(path, { throwIfNoEntry: false })?.isFile()) return undefined;
  try {
    await (await openImage(path, options.tempParent === undefined ? {} : { tempParent: options.tempParent })).close();
    return undefined;
  } catch (error) {
    // A layer is a tar, too, and may even hold an index.json: only what is no image at all is taken for a layer.
    if (!isHotlayerError(error) || error.code !== 'HL_ERR_IMAGE') throw error;
    return inspectBlob(path, options);
  }
}

export function showInspection(out: Output, image: ImageInspection): void {
  out.result(`${image.reference}  ${image.digest}  ${image.platform.os}/${image.platform.architecture}`);
  const rows = image.layers.map((layer) => {
    const stargz = layer.stargz;
    return [
      String(layer.index),
      stargz ? stargz.footer : layer.compression,
      formatCount(layer.entries),
      formatCount(layer.members),
      stargz ? formatBytes(stargz.tocSize) : '–',
      formatBytes(layer.size),
      stargz?.landmark
        ? stargz.landmark.kind === 'prefetch'
          ? `at ${formatBytes(stargz.landmark.offset)}`
          : 'no prefetch'
        : 'none',
      stargz ? formatBytes(stargz.hotBytes) : '–',
      stargz ? formatBytes(stargz.coldBytes) : formatBytes(layer.fileBytes),
      stargz && stargz.prefetchBytes > 0 ? `${bar(stargz.prefetchBytes / layer.size, 16)}│` : '',
    ];
  });
  const columns = [
    { title: 'layer' },
    { title: 'format' },
    { title: 'entries', align: 'right' },
    { title: 'members', align: 'right' },
    { title: 'TOC', align: 'right' },
    { title: 'size', align: 'right' },
    { title: 'landmark', align: 'right' },
    { title: 'hot', align: 'right' },
    { title: 'cold', align: 'right' },
    { title: '' },
  ] as const;
  for (const line of table(columns, rows)) out.result(line);
  for (const layer of image.layers) if (layer.problem) out.warn(`layer ${layer.index}: ${layer.problem}`);
  showTouched(out, image);
  if (out.verbose) for (const layer of image.layers) showLargest(out, `layer ${layer.index}`, layer);
}

function showTouched(out: Output, image: ImageInspection): void {
  const touched = image.layers.flatMap((layer) => (layer.touched ? [{ index: layer.index, ...layer.touched }] : []));
  if (touched.length === 0) return;
  out.result('\nWhat the profile read, and what is prefetched of it:');
  const rows = touched.map((t) => [
    String(t.index),
    formatCount(t.files),
    formatBytes(t.bytesRead),
    formatBytes(t.bytes),
    `${formatCount(t.prefetchedFiles)} (${formatShare(t.prefetchedFiles, t.files)})`,
    `${formatCount(t.unusedFiles)}, ${formatBytes(t.unusedBytes)}`,
  ]);
  const right = 'right' as const;
  const columns = ['layer', 'files read', 'bytes read', 'of files of', 'prefetched', 'prefetched, not read'].map(
    (title, i) => (i === 0 ? { title } : { title, align: right }),
  );
  for (const line of table(columns, rows)) out.result(line);
  if (image.profiledElsewhere > 0)
    out.result(`  ${formatCount(image.profiledElsewhere)} files that the profile read are in no layer of this image`);
}

function showBlob(out: Output, name: string, blob: BlobInspection): void {
  const types = Object.entries(blob.entriesByType).map(([type, count]) => `${formatCount(count)} ${type}`);
  const rows: [string, string][] = [
    ['blob', name],
    ['digest', blob.digest],
    ['diffID', blob.diffId],
    ['size', `${formatBytes(blob.size)}, ${formatBytes(blob.uncompressedSize)} uncompressed (${blob.compression})`],
    ['entries', `${formatCount(blob.entries)}: ${types.join(', ')}`],
    ['members', formatCount(blob.members)],
  ];
  const s = blob.stargz;
  if (s) {
    rows.push(
      ['footer', s.footer],
      ['TOC', `${formatBytes(s.tocSize)} at offset ${s.tocOffset}, ${s.tocDigest}`],
      [
        'landmark',
        s.landmark ? `${s.landmark.kind} at offset ${s.landmark.offset}, entry ${s.landmark.entry}` : 'none',
      ],
      [
        'hot',
        `${formatCount(s.hotEntries)} entries, ${formatBytes(s.hotBytes)}; prefetch ${formatBytes(s.prefetchBytes)}`,
      ],
      ['cold', formatBytes(s.coldBytes)],
    );
  }
  for (const line of table([{ title: '' }, { title: '' }], rows, '')) out.result(line);
  if (blob.problem) out.warn(blob.problem);
  showLargest(out, 'the blob', blob);
}

function showLargest(out: Output, of: string, blob: BlobInspection): void {
  const largest = blob.stargz?.largestHot ?? [];
  if (largest.length === 0) return;
  out.result(`\nLargest before the landmark of ${of}:`);
  const rows = largest.map((e) => [
    formatBytes(e.size),
    e.compressedSize === undefined ? '' : formatBytes(e.compressedSize),
    showPath(e.path),
  ]);
  for (const line of table(
    [{ title: 'size', align: 'right' }, { title: 'compressed', align: 'right' }, { title: 'path' }],
    rows,
  ))
    out.result(line);
}
