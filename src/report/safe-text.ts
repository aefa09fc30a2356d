// Text from outside (paths, command names, messages) in each format. `showPath` makes control characters, marks that
// change the direction of writing and bytes that are not UTF-8 visible; what is left is escaped as the format wants it.
import { showPath } from '../paths.js';

/** Printable everywhere: no controls, no line breaks, well-formed Unicode. */
export function plain(text: string): string {
  // A lone surrogate that stands for no byte can only come from a file written by somebody else.
  return showPath(text).replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, '\ufffd');
}

const MARKUP: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** For HTML and XML, in text and in quoted attributes. */
export function markup(text: string): string {
  return plain(text).replace(/[&<>"']/g, (c) => MARKUP[c]!);
}

/**
 * For GitHub's Markdown outside of code, also in a table's cell: every character that means something is escaped, so
 * that a path is neither markup nor a link, a mention or a reference to an issue.
 */
export function markdown(text: string): string {
  return (
    plain(text)
      .replace(/[&<>]/g, (c) => MARKUP[c]!)
      .replace(/[\\`*_{}[\]()#+\-!|~$]/g, '\\$&')
      // A mention or a bare address would become a link: an empty comment between breaks it and shows as nothing.
      .replace(/@/g, '@<!-- -->')
      .replace(/:\/\//g, ':<!-- -->//')
      .replace(/\b(www|https?|ftp)\b\./gi, '$1<!-- -->.')
  );
}

/** A label's value in OpenMetrics (spec: "ABNF", escaped-string). */
export function metricLabel(text: string): string {
  return plain(text).replace(/\\/g, '\\\\').replace(/"/g, '\\"');
}

/** The message of a GitHub workflow command; with `property` a parameter of one. */
export function annotation(text: string, property = false): string {
  const escaped = plain(text).replace(/%/g, '%25').replace(/\r/g, '%0D').replace(/\n/g, '%0A');
  return property ? escaped.replace(/:/g, '%3A').replace(/,/g, '%2C') : escaped;
}

/** A frame of a folded stack: `;` parts frames, and the last blank parts the weight. */
export function frame(text: string): string {
  return plain(text).replace(/;/g, '\\x3b').replace(/ /g, '\\x20') || '-';
}
