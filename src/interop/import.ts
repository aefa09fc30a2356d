// A foreign record, whichever it is.
import { HotlayerError } from '../errors.js';
import { bytesToPath } from '../paths.js';
import * as lists from './import-lists.js';
import { parseStrace } from './strace.js';
import type { WantedList } from './types.js';

export const IMPORT_FORMATS = [
  'stargz-record',
  'paths',
  'nydus',
  'nydus-trace',
  'soci',
  'stargz-log',
  'strace',
  'fatrace',
  'creport',
] as const;
export type ImportFormat = (typeof IMPORT_FORMATS)[number];

const PARSERS: Record<ImportFormat, (text: string, where: string) => WantedList> = {
  'stargz-record': lists.parseStargzRecord,
  paths: lists.parsePaths,
  nydus: lists.parseNydus,
  'nydus-trace': lists.parseNydusTrace,
  soci: lists.parseSoci,
  'stargz-log': lists.parseStargzLog,
  strace: parseStrace,
  fatrace: lists.parseFatrace,
  creport: lists.parseCreport,
};

/**
 * @param where names it in messages
 * @param format absent: as the content looks
 * @throws HL_ERR_DATA when it is not of that format, or of none that is known
 */
export function importList(
  content: Uint8Array,
  where: string,
  format?: ImportFormat,
): WantedList & { readonly format: ImportFormat } {
  const text = bytesToPath(content);
  const found = format ?? formatOf(text);
  if (!found) {
    throw new HotlayerError('HL_ERR_DATA', `${where}: no record or list of a known kind`, {
      hint: `say which it is: --from ${IMPORT_FORMATS.join('|')}`,
    });
  }
  const list = PARSERS[found](text, where);
  if (list.files.length === 0) {
    throw new HotlayerError('HL_ERR_DATA', `${where}: no file is named in it (read as ${found})`, {
      hint: `another format? --from ${IMPORT_FORMATS.join('|')}`,
    });
  }
  return { ...list, format: found };
}

/** By what only this format has; undefined: none. */
export function formatOf(text: string): ImportFormat | undefined {
  const start = text.slice(0, 65_536);
  if (/msg"?[=:]"file accessed: /.test(text)) return 'stargz-log';
  if (/^path,size,elapsed\r?$/m.test(start.slice(0, 200))) return 'nydus-trace';
  if (/^\s*\[\s*("|\])/.test(start)) return 'soci';
  if (/^\s*\{/.test(start)) {
    if (/"version"\s*:\s*"v1"/.test(start)) return 'nydus';
    if (/"monitors"\s*:/.test(start)) return 'creport';
    if (/^\s*\{"path":.*"elapsed":/.test(start)) return 'nydus-trace';
    return /^\s*\{.*"path":/.test(start) ? 'stargz-record' : undefined;
  }
  if (/^(\[pid +\d+\] |\d+ +)?(\d[\d:.]* )?(execve|openat|open)\(/m.test(start)) return 'strace';
  if (/^\S.*\(\d+\)(?: \[[^\]]*\])?: +[RWOC+D<>]+ +\//m.test(start)) return 'fatrace';
  return /^\.?\/?[^\s{[][^\n]*$/m.test(start) ? 'paths' : undefined;
}
