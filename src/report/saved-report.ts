// Reports as files: written as one JSON document, read to be compared with.
import type { DiffSide } from '../analyze/diff/index.js';
import { parseAs, parseProfile, readText } from '../analyze/saved.js';
import { HotlayerError } from '../errors.js';
import { type ReportBase, sideOf } from './changes.js';
import { assembleReport } from './report.js';
import { reportSchema } from './schema.js';
import type { Report } from './types.js';

/** @throws HL_ERR_NOT_FOUND; HL_ERR_DATA naming the JSON path of what is wrong; HL_ERR_IO, HL_ERR_LIMIT */
export async function readReport(path: string): Promise<Report> {
  return parseAs<Report>(await readText(path), reportSchema, path);
}

/**
 * What a report compares with: a profile or a saved report, whichever the file is.
 * @throws as readReport and readProfile
 */
export async function readBase(path: string): Promise<ReportBase> {
  const text = await readText(path);
  return isReport(text, path)
    ? parseAs<Report>(text, reportSchema, path)
    : assembleReport({ profile: parseProfile(text, path) });
}

/**
 * What `diff` compares: a profile or a saved report.
 * @throws as readReport and readProfile
 */
export async function readSide(path: string): Promise<DiffSide> {
  const text = await readText(path);
  return isReport(text, path) ? sideOf(parseAs<Report>(text, reportSchema, path)) : parseProfile(text, path);
}

function isReport(text: string, path: string): boolean {
  try {
    const value = JSON.parse(text) as unknown;
    return typeof value === 'object' && value !== null && Object.hasOwn(value, 'findings');
  } catch (cause) {
    throw new HotlayerError('HL_ERR_DATA', `${path}: not JSON: ${(cause as Error).message}`, {
      cause,
      hint: 'a profile or a report was expected',
    });
  }
}
