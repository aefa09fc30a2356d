// What a workload prints: cut into lines for the ready rules, and its last lines kept for the messages.
import { StringDecoder } from 'node:string_decoder';
import { stripVTControlCharacters } from 'node:util';

/** Characters of one line that are looked at; the rest of a longer line is passed on, but not matched. */
const MAX_LINE = 64 * 1024;
/** Lines, and characters of each, that `tail` keeps. */
const TAIL_LINES = 20;
const TAIL_CHARS = 1000;

export type Stream = 'stdout' | 'stderr';

/** Called with each line, without its end; `complete` is false while the line may still go on. */
export type LineListener = (line: string, complete: boolean) => void;

export class Output {
  readonly #streams: Record<Stream, { decoder: StringDecoder; open: string }> = {
    stdout: { decoder: new StringDecoder('utf8'), open: '' },
    stderr: { decoder: new StringDecoder('utf8'), open: '' },
  };
  readonly #tail: string[] = [];
  readonly #listeners = new Set<LineListener>();

  /** @returns a function that ends it */
  onLine(listener: LineListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  push(chunk: Buffer, stream: Stream): void {
    const state = this.#streams[stream];
    const lines = (state.open + state.decoder.write(chunk)).split(/\r?\n/);
    state.open = lines.pop()!.slice(0, MAX_LINE);
    for (const line of lines) this.#line(line);
    // A prompt has no line end: text rules must see it as soon as it is there.
    if (state.open !== '') for (const listener of this.#listeners) listener(state.open, false);
  }

  /** The stream has ended: what is left is a line. */
  end(stream: Stream): void {
    const state = this.#streams[stream];
    const rest = state.open + state.decoder.end();
    state.open = '';
    if (rest !== '') this.#line(rest);
  }

  /** The last lines of both streams in the order in which they came, oldest first. */
  tail(): string[] {
    const open = Object.values(this.#streams).map((s) => s.open);
    return [...this.#tail, ...open.filter((line) => line !== '').map(shorten)].slice(-TAIL_LINES);
  }

  #line(line: string): void {
    this.#tail.push(shorten(line));
    if (this.#tail.length > TAIL_LINES) this.#tail.shift();
    const matched = line.slice(0, MAX_LINE);
    for (const listener of this.#listeners) listener(matched, true);
  }
}

/**
 * Whether a `line` rule holds. Colours are not part of the text. A pattern only sees whole lines, because `$` or a
 * greedy match could otherwise be true of half of one.
 */
export function lineMatcher(rule: { readonly text?: string; readonly pattern?: string }): LineMatcher {
  if (rule.pattern !== undefined) {
    const pattern = new RegExp(rule.pattern, 'u');
    return (line, complete) => complete && (pattern.test(line) || pattern.test(stripVTControlCharacters(line)));
  }
  const text = rule.text ?? '';
  return (line) => line.includes(text) || stripVTControlCharacters(line).includes(text);
}
export type LineMatcher = (line: string, complete: boolean) => boolean;

function shorten(line: string): string {
  const text = stripVTControlCharacters(line);
  return text.length <= TAIL_CHARS ? text : `${text.slice(0, TAIL_CHARS)}…`;
}
