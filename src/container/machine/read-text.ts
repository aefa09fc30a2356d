import { readFileSync } from 'node:fs';

/** A file that may be missing or closed: then "". */
export function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
