// Measurements as they are made, one JSON object a line: what was interrupted can go on, and nothing is lost.
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { dirname } from 'node:path';

export class Journal<T extends object> {
  private readonly known: T[];

  /**
   * @param path made when missing; a last line that was not finished is cut off
   * @param options `fresh`: what it holds is thrown away
   */
  constructor(
    readonly path: string,
    options: { readonly fresh?: boolean } = {},
  ) {
    mkdirSync(dirname(path), { recursive: true });
    if (options.fresh) rmSync(path, { force: true });
    const text = existsSync(path) ? readFileSync(path, 'utf8') : '';
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    if (whole.length < text.length) truncateSync(path, Buffer.byteLength(whole));
    this.known = whole
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as T);
  }

  /** In the order in which they were added. */
  entries(): readonly T[] {
    return this.known;
  }

  add(entry: T): void {
    appendFileSync(this.path, `${JSON.stringify(entry)}\n`);
    this.known.push(entry);
  }
}
