// Puts the modules that `hotlayer run` and `hotlayer mount` load into a few files, as CommonJS: Node takes a millisecond
// or more to find, read and link each module, in the command, in the session's process and in its serving thread, which is
// more than a small container needs to start. All other commands are loaded as they were compiled.
// `dist/src/start` is as deep as the rooms, so that a module finds from there what it finds from its room.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CODE_SUFFIX, packCode } from './pack-code.js';

/** Modules that are started by name: commands, processes, threads, file systems. Their names are unlike each other. */
const ENTRIES = [
  'cli/start.js',
  'container/session/session-main.js',
  'container/ready/http-probe-main.js',
  'fuse/raw-worker.js',
  'fuse/native-main.js',
  'lazy/fs-module.js',
  'rootfs/dir-fs-module.js',
  'trace/trace-fs-module.js',
  'stargz/codec/compression-worker.js',
];
const COMMANDS = ['run', 'mount'];

/** In the place of fuse/load-module.ts. */
const LOAD_MODULE = `import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
const here = new URL('.', import.meta.url).href;
const require = createRequire(import.meta.url);
export async function loadModule(url) {
  return url.startsWith(here) ? require(fileURLToPath(url)) : import(url);
}
`;

const nameOf = (file) => file.replace(/.*\/|\.js$/g, '');

/** @param root the package's directory, compiled */
export async function bundle(root) {
  const { rolldown } = await import('rolldown');
  const from = join(root, 'dist', 'src');
  const to = join(from, 'start');
  rmSync(to, { recursive: true, force: true });
  mkdirSync(to);
  // First: without it Node would take the files for ES modules.
  writeFileSync(join(to, 'package.json'), '{ "type": "commonjs" }\n');
  const { dependencies, optionalDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const otherCommand = (id, importer) =>
    importer === join(from, 'cli', 'main.js') && /^\.\/[\w-]+\.js$/.test(id) && !COMMANDS.includes(id.slice(2, -3));
  const build = await rolldown({
    input: Object.fromEntries(ENTRIES.map((file) => [nameOf(file), join(from, file)])),
    platform: 'node',
    external: [/^node:/, ...Object.keys({ ...dependencies, ...optionalDependencies })],
    logLevel: 'warn',
    checks: { ineffectiveDynamicImport: false },
    treeshake: { moduleSideEffects: 'no-external' },
    plugins: [
      {
        name: 'hotlayer',
        resolveId(id, importer, { kind }) {
          if (kind === 'dynamic-import' && otherCommand(id, importer))
            return { id: `../cli/${id.slice(2)}`, external: 'absolute' };
          return null;
        },
        load: (id) => (id === join(from, 'fuse', 'load-module.js') ? LOAD_MODULE : null),
        // Node's own modules cost more as ES modules: every export is looked at, and what makes it is loaded.
        // Code that was made before cannot import by itself (ERR_VM_DYNAMIC_IMPORT_CALLBACK_MISSING): its loader does.
        renderChunk: (code) =>
          code
            .replaceAll(/\bimport\(("node:[\w/]+")\)/g, 'Promise.resolve(require($1))')
            .replaceAll(/(?<=await |: )import\(/g, 'require("./load.js").bring('),
      },
    ],
  });
  await build.write({ dir: to, format: 'cjs', exports: 'named', entryFileNames: `[name]${CODE_SUFFIX}` });
  await build.close();
  packCode(to, ENTRIES.map(nameOf));
}
