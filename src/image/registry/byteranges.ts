// `multipart/byteranges`, the answer to a request for several ranges at once (RFC 9110 §14.6, RFC 2046 §5.1). Pure.

export interface ContentRange {
  /** As it stands in the header, for messages. */
  readonly text: string;
  /** Offset of the first byte; undefined: none of what was asked for is there. */
  readonly start: number | undefined;
  /** One past the last byte. */
  readonly end: number | undefined;
  /** Bytes of the whole; undefined: the server does not say. */
  readonly total: number | undefined;
}

export interface RangePart {
  readonly start: number;
  readonly bytes: Buffer;
  readonly total: number | undefined;
}

/** RFC 9110 §14.4: `bytes 0-9/100`, with `*` for what is not known or not there; undefined when it is not of that form. */
export function parseContentRange(text: string | undefined): ContentRange | undefined {
  const match = /^bytes (?:(\d+)-(\d+)|\*)\/(\d+|\*)$/.exec(text ?? '');
  if (!match || text === undefined) return undefined;
  const [, first, last, total] = match;
  return {
    text,
    start: first === undefined ? undefined : Number(first),
    end: last === undefined ? undefined : Number(last) + 1,
    total: total === '*' ? undefined : Number(total),
  };
}

/** The boundary of such an answer; undefined when the Content-Type is another one. */
export function boundaryOf(contentType: string | undefined): string | undefined {
  const match = /^multipart\/(?:x-)?byteranges\s*;(?:.*;)?\s*boundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))/i.exec(
    contentType ?? '',
  );
  return match?.[1] ?? match?.[2];
}

/** RFC 2046 allows any text before the headers of a part end; no server needs so much of it. */
const MAX_HEAD_BYTES = 8192;

/**
 * The parts in the order of the answer. Their length comes from their Content-Range: the bytes may hold anything.
 * @returns complete: false when the body ends before its closing boundary; the part that is cut is left out
 * @throws Error saying what is wrong with it
 */
export function parseByteranges(body: Buffer, boundary: string): { parts: RangePart[]; complete: boolean } {
  const parts: RangePart[] = [];
  const delimiter = Buffer.from(`--${boundary}`, 'latin1');
  let at = body.indexOf(delimiter);
  for (;;) {
    if (at < 0 || at + delimiter.length + 2 > body.length) return { parts, complete: false };
    at += delimiter.length;
    if (body.toString('latin1', at, at + 2) === '--') return { parts, complete: true };
    const head = body.indexOf('\r\n\r\n', at, 'latin1');
    if (head < 0 && body.length - at < MAX_HEAD_BYTES) return { parts, complete: false };
    if (head < 0 || head - at > MAX_HEAD_BYTES) throw new Error('a part whose headers do not end');
    const header = /^content-range:[ \t]*(.*?)[ \t]*$/im.exec(body.toString('latin1', at, head))?.[1];
    const range = parseContentRange(header);
    if (range?.start === undefined || range.end === undefined || range.end <= range.start)
      throw new Error('a part without a Content-Range');
    const start = head + 4;
    const end = start + range.end - range.start;
    if (end > body.length) return { parts, complete: false };
    parts.push({ start: range.start, bytes: body.subarray(start, end), total: range.total });
    const next = body.indexOf(delimiter, end);
    if (next < 0 && body.length - end >= delimiter.length + 2) throw new Error('a part longer than its Content-Range');
    if (next > end + 2) throw new Error('a part longer than its Content-Range');
    at = next;
  }
}
