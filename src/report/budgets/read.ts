// A file of budgets.
import { readFile } from 'node:fs/promises';
import { HotlayerError } from '../../errors.js';
import { parseBudgets } from './rules.js';
import type { Budget } from './types.js';

/** @throws HL_ERR_USAGE, also when the file cannot be read: it is part of how the command was called */
export async function readBudgets(path: string): Promise<Budget[]> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw new HotlayerError('HL_ERR_USAGE', `cannot read the budgets ${path}: ${(cause as Error).message}`, { cause });
  }
  return parseBudgets(text, path);
}
