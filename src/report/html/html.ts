// The report as one HTML file that opens without a network: text and tables as they are, charts drawn by a script in it
// from data in it. A policy in the page forbids everything else, so that nothing in a path could ever run or load.
import { createHash } from 'node:crypto';
import { packBytes } from '../../stargz/pack.js';
import { MIB } from '../../units.js';
import { markup } from '../safe-text.js';
import type { Report } from '../types.js';
import { pageScripts } from './bundle.js';
import { pageData } from './page-data.js';
import { pageBody } from './sections.js';
import { STYLE } from './style.js';

/** Of the whole file. */
export const MAX_HTML = 3 * MIB;

/** @returns the page, of at most MAX_HTML bytes: of the files, those of which most is read come first */
export function renderHtml(report: Report): string {
  const { library, own } = pageScripts();
  const rest = page(report, '', library, own);
  const room = MAX_HTML - Buffer.byteLength(rest);
  let most = report.profile.files.length;
  for (;;) {
    const packed = packBytes(Buffer.from(JSON.stringify(pageData(report, most)))).toString('base64');
    if (packed.length <= room || most === 0) return page(report, packed, library, own);
    // Data shrink in proportion to the files, or faster: a little less is enough.
    most = Math.floor(Math.min(0.9, (0.96 * room) / packed.length) * most);
  }
}

function page(report: Report, data: string, library: string, own: string): string {
  const policy = [
    `default-src 'none'`,
    `script-src ${hashOf(library)} ${hashOf(own)}`,
    `style-src ${hashOf(STYLE)}`,
    `base-uri 'none'`,
    `form-action 'none'`,
  ].join('; ');
  return [
    '<!DOCTYPE html>',
    '<html lang="en">',
    '<head>',
    '<meta charset="utf-8">',
    `<meta http-equiv="Content-Security-Policy" content="${policy}">`,
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    '<meta name="color-scheme" content="light dark">',
    `<meta name="generator" content="${markup(report.tool)}">`,
    '<meta name="referrer" content="no-referrer">',
    `<title>${markup(report.image.reference)}: startup</title>`,
    `<style>${STYLE}</style>`,
    '</head>',
    '<body>',
    pageBody(report),
    `<script type="application/octet-stream" id="data">${data}</script>`,
    `<script>${library}</script>`,
    `<script>${own}</script>`,
    '</body>',
    '</html>',
    '',
  ].join('\n');
}

/** As CSP Level 3 has it, section 2.3.1: of the element's text, UTF-8. */
function hashOf(text: string): string {
  return `'sha256-${createHash('sha256').update(text, 'utf8').digest('base64')}'`;
}
