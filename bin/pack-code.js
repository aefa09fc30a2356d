// Puts the bundled modules into one file, each with the code that the engine made of it: a start then neither looks for
// files nor parses them. Such code is only good for the engine that made it, so the file is named by Node's version and
// the processor; where there is none of that name the modules are loaded as they are.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { Script } from 'node:vm';

/** What load.js is to be asked for in place of a module of this name. */
export const CODE_SUFFIX = '.code.js';

/** The loader, CommonJS, in the directory of the modules. */
const LOADER = `'use strict';
const { openSync, readSync } = require('node:fs');
const { Script } = require('node:vm');
const WRAP = ['(function (exports, require, module, __filename, __dirname) {', '\\n})'];
const loaded = new Map();
let pack;
try {
  const fd = openSync(\`\${__dirname}/code-\${process.version}-\${process.arch}.pack\`, 'r');
  const read = (at, length) => {
    const bytes = Buffer.allocUnsafeSlow(length);
    if (readSync(fd, bytes, 0, length, at) !== length) throw new Error('the pack of code is cut off');
    return bytes;
  };
  const size = read(0, 4).readUInt32LE(0);
  pack = { read, modules: JSON.parse(read(4, size).toString('utf8')), start: 4 + size };
} catch {
  // there is none for this Node
}
const requireFrom = (id) => (id.startsWith('./') ? load(id.slice(2)) : require(id));
function load(name) {
  const place = pack?.modules[name];
  if (!place) return require(\`./\${name}\`);
  const known = loaded.get(name);
  if (known) return known.exports;
  const [at, length, codeLength] = place;
  let bytes;
  try {
    bytes = pack.read(pack.start + at, length + codeLength);
  } catch {
    return require(\`./\${name}\`);
  }
  const filename = \`\${__dirname}/\${name}\`;
  const script = new Script(WRAP[0] + bytes.utf8Slice(0, length) + WRAP[1], {
    filename,
    cachedData: bytes.subarray(length),
  });
  const module = { exports: {} };
  loaded.set(name, module);
  script.runInThisContext()(module.exports, requireFrom, module, filename, __dirname);
  return module.exports;
}
exports.load = load;
exports.bring = (id) => import(id);
`;
const WRAP = ['(function (exports, require, module, __filename, __dirname) {', '\n})'];

/** @param entries names of the modules that are started by name; each is `NAME.code.js` in the directory */
export function packCode(directory, entries) {
  const modules = {};
  const parts = [];
  let end = 0;
  for (const name of readdirSync(directory).filter((file) => file.endsWith('.js'))) {
    const source = readFileSync(join(directory, name));
    const code = codeOf(WRAP[0] + source.toString('utf8') + WRAP[1], join(directory, name));
    modules[name] = [end, source.length, code.length];
    parts.push(source, code);
    end += source.length + code.length;
  }
  const index = Buffer.from(JSON.stringify(modules));
  const size = Buffer.alloc(4);
  size.writeUInt32LE(index.length);
  writeFileSync(
    join(directory, `code-${process.version}-${process.arch}.pack`),
    Buffer.concat([size, index, ...parts]),
  );
  writeFileSync(join(directory, 'load.js'), LOADER);
  for (const name of entries)
    writeFileSync(
      join(directory, `${name}.js`),
      `module.exports = require('./load.js').load('${name}${CODE_SUFFIX}');\n`,
    );
}

/** With all functions compiled, also those inside others. The flags are those of a start again when it is written. */
function codeOf(source, filename) {
  setFlagsFromString('--no-lazy');
  const script = new Script(source, { filename });
  setFlagsFromString('--lazy');
  return script.createCachedData();
}
