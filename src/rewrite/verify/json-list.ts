// Finds the list of entries in a TOC's text, and where each of them ends, without making objects of them. Only as much of
// JSON is understood as that takes (RFC 8259): strings, and how deep in brackets a byte is. What is in between is checked
// by JSON.parse, which gets every byte in the end: each entry by itself, and the document with an empty list.

const [QUOTE, BACKSLASH, COMMA, COLON] = [0x22, 0x5c, 0x2c, 0x3a];
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];
const KEY = Buffer.from('"entries"');

/**
 * @returns `outline`: the document with nothing in its list of entries; `list`: first byte of that list's text and the one
 * after it, equal where there is none or nothing in it. Of several lists of that name the last, as JSON.parse has it.
 */
export function splitToc(json: Buffer): { outline: string; list: readonly [number, number] } {
  let list: readonly [number, number] = [0, 0];
  let outline = '';
  let kept = 0;
  let depth = 0;
  let at = 0;
  while (at < json.length) {
    const byte = json[at]!;
    if (byte === QUOTE) {
      const end = endOfString(json, at, json.length);
      const value = depth === 1 && json.subarray(at, end).equals(KEY) ? afterColon(json, end) : -1;
      at = end;
      if (json[value] !== OPEN_LIST) continue;
      outline += json.toString('utf8', kept, value + 1);
      at = kept = endOfList(json, value + 1);
      depth += 1;
      list = [Math.min(skipBlanks(json, value + 1), at), at];
      continue;
    }
    if (byte === OPEN_OBJECT || byte === OPEN_LIST) depth += 1;
    else if (byte === CLOSE_OBJECT || byte === CLOSE_LIST) depth -= 1;
    at += 1;
  }
  return { outline: outline + json.toString('utf8', kept), list };
}

/** @returns the first byte after the value that begins at or after `at`: a comma's, or the bracket's around it, or `end` */
export function endOfValue(json: Buffer, at: number, end: number): number {
  let depth = 0;
  while (at < end) {
    const byte = json[at]!;
    if (byte === QUOTE) {
      at = endOfString(json, at, end);
      continue;
    }
    const closes = byte === CLOSE_OBJECT || byte === CLOSE_LIST;
    if (depth === 0 && (closes || byte === COMMA)) return at;
    if (closes) depth -= 1;
    else if (byte === OPEN_OBJECT || byte === OPEN_LIST) depth += 1;
    at += 1;
  }
  return end;
}

/** @returns where the bracket is that closes the list, or the end of the text */
function endOfList(json: Buffer, at: number): number {
  at = endOfValue(json, at, json.length);
  while (json[at] === COMMA) at = endOfValue(json, at + 1, json.length);
  return at;
}

/** @param at of the opening quote @returns the byte after the closing one, `end` when there is none */
function endOfString(json: Buffer, at: number, end: number): number {
  for (let quote = json.indexOf(QUOTE, at + 1); quote !== -1 && quote < end; quote = json.indexOf(QUOTE, quote + 1)) {
    let slashes = 0;
    while (json[quote - 1 - slashes] === BACKSLASH) slashes += 1;
    if (slashes % 2 === 0) return quote + 1;
  }
  return end;
}

/** @returns where the value is, -1 when no colon follows */
function afterColon(json: Buffer, at: number): number {
  at = skipBlanks(json, at);
  return json[at] === COLON ? skipBlanks(json, at + 1) : -1;
}

/** Space, tab, line feed, carriage return. */
function skipBlanks(json: Buffer, at: number): number {
  while (json[at] === 0x20 || json[at] === 0x09 || json[at] === 0x0a || json[at] === 0x0d) at += 1;
  return at;
}
