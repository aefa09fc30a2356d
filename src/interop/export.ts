// Wanted files → the lists that other tools read. Names are bytes: text lists carry any but a line break, JSON carries
// only UTF-8. What a format cannot say is left out and named.
import { isUtf8Path, pathToBytes, showPath } from '../paths.js';
import { KIB } from '../units.js';
import type { Wanted } from './types.js';

export const EXPORT_FORMATS = ['stargz-record', 'prefetch-list', 'paths', 'nydus', 'soci', 'overlaybd'] as const;
/**
 * `stargz-record`: ctr-remote and nerdctl `--estargz-record-in`; `prefetch-list`: ctr-remote `--prefetch-list` (globs);
 * `paths`: nydusify convert `--prefetch-patterns`; `nydus`: nydusify optimize `--prefetch-files`, with byte ranges;
 * `soci`: `--prefetch-files-json`; `overlaybd`: `--priority_list`.
 */
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

export interface Exported {
  readonly bytes: Buffer;
  readonly files: number;
  readonly left: readonly { readonly what: string; readonly reason: string }[];
}

/** overlaybd reads no longer list. */
export const MAX_OVERLAYBD_BYTES = 64 * KIB;

/** @param digest of the platform's manifest, for `stargz-record`; absent: lines without it */
export function exportList(files: readonly Wanted[], format: ExportFormat, digest?: string): Exported {
  const left: { what: string; reason: string }[] = [];
  const kept = files.filter(({ path }) => {
    const reason = unspeakable(path, format);
    if (reason !== undefined) left.push({ what: showPath(path), reason });
    return reason === undefined;
  });
  if (format === 'overlaybd') return withinLimit(kept, left);
  return { bytes: WRITERS[format](kept, digest), files: kept.length, left };
}

function unspeakable(path: string, format: ExportFormat): string | undefined {
  if (format === 'overlaybd')
    return /^[A-Za-z0-9_.\-/]+$/.test(path) ? undefined : 'overlaybd takes A-Z a-z 0-9 _ . - only';
  if (format === 'prefetch-list' || format === 'paths') {
    if (/[\n\r]/.test(path)) return 'a line break in the name';
    return path !== path.trim() ? 'white space at an end of the name, which readers strip' : undefined;
  }
  return isUtf8Path(path) ? undefined : 'the name is not UTF-8, JSON cannot carry it';
}

const WRITERS: Record<Exclude<ExportFormat, 'overlaybd'>, (files: readonly Wanted[], digest?: string) => Buffer> = {
  'stargz-record': (files, manifestDigest) =>
    text(files.map(({ path, layer }) => JSON.stringify({ path: path.slice(1), manifestDigest, layerIndex: layer }))),
  'prefetch-list': (files) => lines(files.map(({ path }) => literal(path))),
  paths: (files) => lines(files.map(({ path }) => path)),
  nydus: (files) => {
    const list = files.map(({ path, ranges }) => JSON.stringify({ path, ...(ranges ? { ranges } : {}) }));
    return Buffer.from(`{"version":"v1","files":[${list.map((file) => `\n${file}`).join(',')}\n]}\n`);
  },
  soci: (files) => Buffer.from(`[${files.map(({ path }) => `\n${JSON.stringify(path)}`).join(',')}\n]\n`),
};

/** As a glob that matches this path only. */
function literal(path: string): string {
  return /[*?[{\\]/.test(path) ? path.replace(/[*?[\]{}\\]/g, '\\$&') : path;
}

function lines(paths: readonly string[]): Buffer {
  return Buffer.concat(paths.flatMap((path) => [pathToBytes(path), Buffer.from('\n')]));
}

function text(rows: readonly string[]): Buffer {
  return Buffer.from(rows.map((row) => `${row}\n`).join(''));
}

function withinLimit(files: readonly Wanted[], left: { what: string; reason: string }[]): Exported {
  let size = 0;
  const kept = files.filter(({ path }) => {
    size += path.length + 1;
    if (size > MAX_OVERLAYBD_BYTES) left.push({ what: path, reason: 'overlaybd takes no list longer than 64 KiB' });
    return size <= MAX_OVERLAYBD_BYTES;
  });
  return { bytes: lines(kept.map(({ path }) => path)), files: kept.length, left };
}
