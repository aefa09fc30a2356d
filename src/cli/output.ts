// Everything a command prints. Results go to stdout, narration and progress to stderr; with --json stdout gets
// exactly one JSON document and nothing else.
import { writeTo } from '../container/session/flow.js';
import { type HotlayerError, isHotlayerError } from '../errors.js';
import { showPath } from '../paths.js';

export interface OutputOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
  /** False with --no-color. */
  readonly color?: boolean;
  /** False with --no-progress. */
  readonly progress?: boolean;
}

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

// SGR codes, ECMA-48 section 8.3.117: [on, off].
const SGR: Record<Style, readonly [number, number]> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
};

export class Output {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly verbose: boolean;
  readonly #progressOn: boolean;
  readonly #color: { out: boolean; err: boolean };
  #progressShown = false;
  #lastProgress = 0;

  constructor(options: OutputOptions = {}, env: NodeJS.ProcessEnv = process.env) {
    this.json = options.json ?? false;
    this.quiet = options.quiet ?? false;
    this.verbose = options.verbose ?? false;
    // https://no-color.org: any non-empty value turns colour off.
    const wanted = options.color !== false && !env.NO_COLOR && env.TERM !== 'dumb';
    this.#color = { out: wanted && process.stdout.isTTY === true, err: wanted && process.stderr.isTTY === true };
    this.#progressOn = options.progress !== false && !this.quiet && process.stderr.isTTY === true && !env.CI;
  }

  /** A line of the result, on stdout. Dropped with --json: the document says it. */
  result(line = ''): void {
    this.clearProgress();
    if (!this.json) process.stdout.write(`${line}\n`);
  }

  /** The result itself when --json is given. */
  document(value: unknown): void {
    this.clearProgress();
    if (this.json) process.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
  }

  /** Narration: what is being done. Silent with -q. */
  note(line: string): void {
    if (this.quiet) return;
    this.clearProgress();
    process.stderr.write(`${line}\n`);
  }

  /** Only with -v. */
  detail(line: string): void {
    if (this.verbose) this.note(line);
  }

  warn(line: string): void {
    this.clearProgress();
    process.stderr.write(`${this.paint('yellow', 'warning:', 'err')} ${line}\n`);
  }

  /** Output of the workload, passed through as it comes; a promise while stderr is full. Silent with -q. */
  passThrough(chunk: Uint8Array): Promise<void> | undefined {
    if (this.quiet) return undefined;
    this.clearProgress();
    return writeTo(process.stderr, chunk);
  }

  /** One line that is overwritten by the next; only on a terminal, at most ten times a second. */
  progress(line: string): void {
    if (!this.#progressOn) return;
    const now = Date.now();
    if (now - this.#lastProgress < 100) return;
    this.#lastProgress = now;
    const width = (process.stderr.columns ?? 80) - 1;
    process.stderr.write(`\r\u001b[K${line.slice(0, width)}`);
    this.#progressShown = true;
  }

  clearProgress(): void {
    if (!this.#progressShown) return;
    process.stderr.write('\r\u001b[K');
    this.#progressShown = false;
  }

  paint(style: Style, text: string, stream: 'out' | 'err' = 'out'): string {
    const [on, off] = SGR[style];
    return this.#color[stream] ? `\u001b[${on}m${text}\u001b[${off}m` : text;
  }

  /** What failed, where, and what to do next; the stack only with -v or when the fault is ours. */
  error(error: unknown): void {
    this.clearProgress();
    if (isHotlayerError(error)) {
      if (this.json) {
        const { code, message, hint, context, exitCode } = error;
        process.stdout.write(
          `${JSON.stringify({ error: { code, message, hint, context, exitCode } }, undefined, 2)}\n`,
        );
      }
      // A message of several lines ends in what the workload said last.
      const [first, ...rest] = error.message.split('\n');
      process.stderr.write(`${this.paint('red', 'error:', 'err')} ${first} (${error.code})\n`);
      for (const line of rest) process.stderr.write(`${line}\n`);
      for (const line of whereLines(error)) process.stderr.write(`  ${line}\n`);
      if (error.hint) process.stderr.write(`  Try: ${error.hint}\n`);
      if (this.verbose) process.stderr.write(`${error.stack ?? ''}\n`);
      return;
    }
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    if (this.json)
      process.stdout.write(`${JSON.stringify({ error: { code: 'HL_ERR_BUG', message: text } }, undefined, 2)}\n`);
    process.stderr.write(
      `${this.paint('red', 'error:', 'err')} hotlayer failed in a way it should not (HL_ERR_BUG)\n${text}\n`,
    );
  }
}

/** The surroundings of an error that its message does not name already. */
function whereLines(error: HotlayerError): string[] {
  const { image, layer, entry, offset, file } = error.context;
  const parts: [string, string | undefined][] = [
    ['image', image],
    ['layer', layer],
    ['entry', entry === undefined ? undefined : showPath(entry)],
    ['offset', offset === undefined ? undefined : String(offset)],
    ['file', file],
  ];
  return parts
    .filter(([, value]) => value !== undefined && !error.message.includes(value))
    .map(([k, v]) => `${k}: ${v}`);
}
