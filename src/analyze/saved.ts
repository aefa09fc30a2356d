// Profiles and plans as files: one JSON document, one line per list element, so that a change shows as a small diff.
// What is read is checked, by the schema and by the rules that a schema cannot say.
import { randomBytes } from 'node:crypto';
import { access, constants, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf, HotlayerError } from '../errors.js';
import { comparePaths } from '../paths.js';
import { requireSchema, type Schema } from '../trace/json-schema.js';
import { MIB } from '../units.js';
import { planSchema, profileSchema } from './schema.js';
import type { Plan, Profile, RangeCount } from './types.js';

/** Largest file accepted: a profile of half a million files; V8's longest string is twice that. */
export const MAX_SAVED_BYTES = 256 * MIB;

/** @throws HL_ERR_IO. The file appears whole or not at all. */
export async function writeProfile(path: string, profile: Profile): Promise<void> {
  await writeWhole(path, formatSaved(profile));
}

/** @throws HL_ERR_IO. The file appears whole or not at all. */
export async function writePlan(path: string, plan: Plan): Promise<void> {
  await writeWhole(path, formatSaved(plan));
}

/** @throws HL_ERR_NOT_FOUND; HL_ERR_DATA naming the JSON path of what is wrong; HL_ERR_IO, HL_ERR_LIMIT */
export async function readProfile(path: string): Promise<Profile> {
  return parseProfile(await readText(path), path);
}

/** @throws HL_ERR_NOT_FOUND; HL_ERR_DATA naming the JSON path of what is wrong; HL_ERR_IO, HL_ERR_LIMIT */
export async function readPlan(path: string): Promise<Plan> {
  return parsePlan(await readText(path), path);
}

/** @param where names the text in messages @throws HL_ERR_DATA */
export function parseProfile(text: string, where: string): Profile {
  const profile = parseAs<Profile>(text, profileSchema, where);
  const runs = profile.runs.length;
  const fail = failer(where);
  for (const [i, file] of profile.files.entries()) {
    const at = `$.files[${i}]`;
    const before = profile.files[i - 1];
    if (before && comparePaths(before.path, file.path) >= 0) {
      fail(`${at}.path`, 'paths in byte order, each once', `${file.path} after ${before.path}`);
    }
    if (file.seenIn > runs) fail(`${at}.seenIn`, `${runs} or less, the number of runs`, file.seenIn);
    if (file.openedIn > file.seenIn) fail(`${at}.openedIn`, `${file.seenIn} or less, as seenIn`, file.openedIn);
    checkRanges(file.ranges, file.size, runs, at, fail);
  }
  for (const [i, run] of profile.runs.entries()) {
    const directories = profile.misses.directories.length;
    for (const [n, [directory]] of run.misses.entries()) {
      if (directory < directories) continue;
      fail(`$.runs[${i}].misses[${n}][0]`, `an index below ${directories}, the number of directories`, directory);
    }
    for (const [n, { parent }] of run.replay.processes.entries()) {
      if (parent === undefined || parent < n) continue;
      fail(`$.runs[${i}].replay.processes[${n}].parent`, `an index below ${n}, its own`, parent);
    }
  }
  return profile;
}

/** @param where names the text in messages @throws HL_ERR_DATA */
export function parsePlan(text: string, where: string): Plan {
  const plan = parseAs<Plan>(text, planSchema, where);
  const fail = failer(where);
  for (const [i, layer] of plan.layers.entries()) {
    const at = `$.layers[${i}]`;
    if (layer.index !== i) fail(`${at}.index`, `${i}, its position`, layer.index);
    const landmark = layer.hot.length > 0 ? 'prefetch' : 'no-prefetch';
    if (layer.landmark !== landmark) {
      fail(`${at}.landmark`, `"${landmark}" for ${layer.hot.length} hot entries`, layer.landmark);
    }
    const sum = layer.hot.reduce((total, { size }) => total + size, 0);
    if (layer.hotBytes !== sum) fail(`${at}.hotBytes`, `${sum}, the sum of the hot entries' sizes`, layer.hotBytes);
    const seen = new Set<string>();
    for (const [n, { path }] of layer.hot.entries()) {
      if (seen.has(path)) fail(`${at}.hot[${n}].path`, 'each entry once', path);
      seen.add(path);
    }
    for (const [path, boundaries] of Object.entries(layer.chunks ?? {})) {
      const wrong = boundaries.findIndex((offset, n) => n > 0 && offset <= boundaries[n - 1]!);
      if (wrong >= 0) fail(`${at}.chunks[${JSON.stringify(path)}][${wrong}]`, 'ascending offsets', boundaries[wrong]!);
    }
  }
  return plan;
}

/**
 * JSON with each element of a top-level list (and of a list in such an element's object) on a line of its own.
 * Members keep the order in which they were made: the same value gives the same bytes.
 */
export function formatSaved(value: object): string {
  return `${format(value, '', 0)}\n`;
}

/** Objects are spread over lines down to this depth, lists of objects wherever they stand above it. */
const SPREAD_DEPTH = 3;

function format(value: unknown, indent: string, depth: number): string {
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    if (value.length === 0 || typeof value[0] !== 'object' || Array.isArray(value[0])) return JSON.stringify(value);
    return `[\n${value.map((item) => inner + format(item, inner, depth + 1)).join(',\n')}\n${indent}]`;
  }
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value).filter(([, item]) => item !== undefined);
  const spreads = depth === 0 || (depth < SPREAD_DEPTH && members.some(([, item]) => isListOfObjects(item)));
  if (!spreads) return JSON.stringify(value);
  const lines = members.map(([name, item]) => `${inner}${JSON.stringify(name)}: ${format(item, inner, depth + 1)}`);
  return `{\n${lines.join(',\n')}\n${indent}}`;
}

function isListOfObjects(value: unknown): boolean {
  return Array.isArray(value) && value.length > 0 && typeof value[0] === 'object' && !Array.isArray(value[0]);
}

type Fail = (at: string, expected: string, found: string | number) => never;

function failer(where: string): Fail {
  return (at, expected, found) => {
    throw new HotlayerError('HL_ERR_DATA', `${where}: ${at}: expected ${expected}, found ${JSON.stringify(found)}`, {
      hint: 'was the file edited by hand?',
    });
  };
}

function checkRanges(ranges: readonly RangeCount[], size: number, runs: number, at: string, fail: Fail): void {
  let end = 0;
  for (const [i, [offset, length, count]] of ranges.entries()) {
    if (offset < end) fail(`${at}.ranges[${i}]`, `an offset of ${end} or more (sorted, disjoint)`, offset);
    end = offset + length;
    if (end > size) fail(`${at}.ranges[${i}]`, `an end within the file's ${size} bytes`, end);
    if (count > runs) fail(`${at}.ranges[${i}][2]`, `${runs} or less, the number of runs`, count);
  }
}

/** @param where names the text in messages @throws HL_ERR_DATA */
export function parseAs<T>(text: string, schema: Schema, where: string): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new HotlayerError('HL_ERR_DATA', `${where}: not JSON: ${(cause as Error).message}`, {
      hint: `expected ${schema.title}`,
      cause,
    });
  }
  return requireSchema<T>(value, schema, where);
}

/** @throws HL_ERR_NOT_FOUND, HL_ERR_IO, HL_ERR_LIMIT */
export async function readText(path: string): Promise<string> {
  const context = { file: path };
  try {
    const { size } = await stat(path);
    if (size > MAX_SAVED_BYTES) {
      const message = `${path}: ${size} bytes, more than ${MAX_SAVED_BYTES} (MAX_SAVED_BYTES)`;
      throw new HotlayerError('HL_ERR_LIMIT', message, { context });
    }
    return await readFile(path, 'utf8');
  } catch (cause) {
    if (cause instanceof HotlayerError) throw cause;
    if (errnoOf(cause) === 'ENOENT') throw new HotlayerError('HL_ERR_NOT_FOUND', `${path}: no such file`, { context });
    throw new HotlayerError('HL_ERR_IO', `cannot read ${path}: ${(cause as Error).message}`, { cause, context });
  }
}

/**
 * For a file that is written when long work has been done: what would surely fail then is said now.
 * @throws HL_ERR_IO when `path` is a directory, or its directory is missing or cannot be written to
 */
export async function checkPlace(path: string): Promise<void> {
  const context = { file: path };
  try {
    await access(dirname(path), constants.W_OK);
    if (!(await stat(path)).isDirectory()) return;
  } catch (cause) {
    // The file itself need not exist; that its directory has to was said by access.
    if (errnoOf(cause) === 'ENOENT' && (cause as NodeJS.ErrnoException).syscall === 'stat') return;
    const hint = 'name a place that can be written to';
    throw new HotlayerError('HL_ERR_IO', `cannot write ${path}: ${(cause as Error).message}`, { cause, context, hint });
  }
  throw new HotlayerError('HL_ERR_IO', `cannot write ${path}: it is a directory`, {
    context,
    hint: 'name a file in it',
  });
}

async function writeWhole(path: string, text: string): Promise<void> {
  await writePieces(path, [text]);
}

/** @throws HL_ERR_IO. The file appears whole or not at all; the pieces are made while they are written. */
export async function writePieces(path: string, pieces: Iterable<string>): Promise<void> {
  // Beside the target, so that the rename stays on one file system.
  const staged = `${path}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    const file = await open(staged, 'wx');
    try {
      for (const piece of pieces) await file.appendFile(piece);
    } finally {
      await file.close();
    }
    await rename(staged, path);
  } catch (cause) {
    await rm(staged, { force: true });
    if (cause instanceof HotlayerError) throw cause;
    throw new HotlayerError('HL_ERR_IO', `cannot write ${path}: ${(cause as Error).message}`, {
      cause,
      context: { file: path },
    });
  }
}
