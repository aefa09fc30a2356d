// The page's script: the compiled modules of page/ as one, with the chart library before it. A report is one file that
// loads nothing, so there are no modules in it; each becomes a function that gives its exports.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HotlayerError } from '../../errors.js';

/** d3's modules as they are published for browsers, each after those that it needs. All put their exports in `d3`. */
const LIBRARY = [
  'd3-array',
  'd3-path',
  'd3-shape',
  'd3-color',
  'd3-interpolate',
  'd3-format',
  'd3-time',
  'd3-time-format',
  'd3-scale',
  'd3-selection',
  'd3-axis',
  'd3-hierarchy',
  'd3-contour',
];
/** Those that this package depends on itself; the others are found from d3-scale. */
const DIRECT = new Set(['d3-shape', 'd3-scale', 'd3-selection', 'd3-axis', 'd3-hierarchy', 'd3-contour']);

const MAIN = fileURLToPath(new URL('../page/main.js', import.meta.url));

/** Text of the library with its licence line, and of the page's own code. */
export function pageScripts(): { readonly library: string; readonly own: string } {
  return { library: libraryText(), own: ownText() };
}

function libraryText(): string {
  const from = createRequire(import.meta.url);
  const scale = createRequire(from.resolve('d3-scale'));
  const parts = LIBRARY.map((name) => {
    const main = (DIRECT.has(name) ? from : scale).resolve(name);
    const text = readFileSync(join(dirname(main), '..', 'dist', `${name}.min.js`), 'utf8');
    return scriptSafe(text.trim());
  });
  return `${parts.join('\n')}\n`;
}

function ownText(): string {
  const order: string[] = [];
  const texts = new Map<string, string>();
  const visit = (file: string): void => {
    if (texts.has(file)) return;
    const text = read(file);
    texts.set(file, '');
    for (const [, to] of text.matchAll(IMPORT)) visit(resolve(dirname(file), to!));
    order.push(file);
    texts.set(file, text);
  };
  visit(MAIN);
  const names = new Map(order.map((file, i) => [file, `m${i}`]));
  const modules = order.map((file) => moduleText(file, texts.get(file)!, names));
  return scriptSafe(`'use strict';\n(() => {\n${modules.join('\n')}\n})();\n`);
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new HotlayerError('HL_ERR_BUG', `the page's script is not built: ${file}`, { cause, hint: 'npm run build' });
  }
}

/** As the compiler writes them: one statement a line. */
const IMPORT = /^import \{[^}]*\} from '(\.[^']+)';$/gm;
const EXPORT = /^export (?:async )?(?:function\*?|const|class) ([A-Za-z_$][\w$]*)/gm;

function moduleText(file: string, text: string, names: ReadonlyMap<string, string>): string {
  const exported = [...text.matchAll(EXPORT)].map(([, name]) => name!);
  const body = text
    .replace(IMPORT, (statement, to: string) =>
      statement
        .replace(/^import/, 'const')
        .replace(/ as /g, ': ')
        .replace(/ from '.*$/, ` = ${names.get(resolve(dirname(file), to))};`),
    )
    .replace(/^export \{\};$/gm, '')
    .replace(/^export (?=async |function|const|class)/gm, '')
    .replace(/^\/\/# sourceMappingURL=.*$/gm, '');
  if (/^(import|export)\b/m.test(body)) {
    throw new HotlayerError('HL_ERR_BUG', `${file} has an import or export that the bundler does not know`);
  }
  return `const ${names.get(file)} = (() => {\n${body}\nreturn { ${exported.join(', ')} };\n})();`;
}

/** A script in a page ends at the first `</script`, and is another thing after `<!--`, whatever the string it stands in. */
function scriptSafe(text: string): string {
  if (/<\/script|<!--/i.test(text)) throw new HotlayerError('HL_ERR_BUG', 'a script of the page would end too early');
  return text;
}
