// The demo's image, made from what is on every machine that can run hotlayer: the running Node binary with the
// libraries it needs, npm if it is there, and this project's own node_modules as the application.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HotlayerError } from '../errors.js';
import { itemsUnder, type PackItem } from '../image/index.js';

export interface SampleLayer {
  /** As a Dockerfile's author would say it; becomes the history step. */
  readonly createdBy: string;
  readonly items: readonly PackItem[];
}

export interface Sample {
  readonly layers: readonly SampleLayer[];
  readonly args: readonly string[];
  /** What the workload does, for people. */
  readonly workload: string;
}

/** dist/src/cli → the package. */
const PACKAGE = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');

export function sampleImage(): Sample {
  const node = realpathSync(process.execPath);
  const modules = findModules();
  const tools = npmDirectory(node);
  const app = application(modules);
  return {
    layers: [
      { createdBy: 'the Node binary and the libraries it needs', items: runtime(node) },
      ...(tools ? [{ createdBy: 'npm', items: itemsUnder(tools, 'usr/local/lib/node_modules/npm') }] : []),
      { createdBy: 'npm ci', items: itemsUnder(modules, 'app/node_modules', (path) => path.startsWith('.')) },
      { createdBy: 'COPY . /app', items: app.items },
    ],
    args: app.args,
    workload: app.workload,
  };
}

function runtime(node: string): PackItem[] {
  return [
    { path: 'usr/local/bin/node', from: node },
    ...libraries(node).map((path) => ({ path: path.slice(1), from: realpathSync(path) })),
    { path: 'etc/passwd', content: 'root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\n' },
    { path: 'etc/group', content: 'root:x:0:\nnode:x:1000:\n' },
    { path: 'tmp', mode: 0o1777 },
    { path: 'root', mode: 0o700 },
    { path: 'home/node' },
  ];
}

/** Absolute paths of the shared libraries and the loader, as ldd(1) names them; none for a static binary. */
function libraries(program: string): string[] {
  let text: string;
  try {
    text = execFileSync('ldd', [program], {
      encoding: 'utf8',
      env: { ...process.env, LC_ALL: 'C' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  } catch (cause) {
    if (/not a dynamic executable|statically linked/i.test(String((cause as { stderr?: unknown }).stderr))) return [];
    throw new HotlayerError('HL_ERR_MACHINE', `ldd ${program} failed, so the sample image cannot be made`, {
      hint: 'try the commands on an image of your own',
      cause,
    });
  }
  const found = text.split('\n').flatMap((line) => /(?:=>\s*)?(\/\S+)\s+\(0x/.exec(line)?.[1] ?? []);
  return [...new Set(found)].filter((path) => existsSync(path));
}

function npmDirectory(node: string): string | undefined {
  const candidate = join(dirname(dirname(node)), 'lib/node_modules/npm');
  return existsSync(join(candidate, 'package.json')) ? candidate : undefined;
}

/** The node_modules that hold our own dependencies: in the clone, or the folder we are installed in. */
function findModules(): string {
  for (const candidate of [join(PACKAGE, 'node_modules'), dirname(PACKAGE)]) {
    if (existsSync(join(candidate, 'commander/package.json'))) return candidate;
  }
  throw new HotlayerError('HL_ERR_NOT_FOUND', `no node_modules beside or above ${PACKAGE}`, {
    hint: 'run npm install first',
  });
}

/** A small program for the TypeScript compiler where it is installed (a clone), else one that loads our packages. */
function application(modules: string): { items: PackItem[]; args: string[]; workload: string } {
  const packageJson = {
    path: 'app/package.json',
    content: '{ "name": "sample", "type": "module", "private": true }\n',
  };
  if (existsSync(join(modules, 'typescript/bin/tsc')) && nativeCompiler(modules)) {
    const config = {
      compilerOptions: { strict: true, noEmit: true, module: 'nodenext', types: ['node'], skipLibCheck: true },
      include: ['*.ts'],
    };
    const source =
      "import { readFileSync } from 'node:fs';\nimport { Command } from 'commander';\nexport const program: Command = new Command(readFileSync('/etc/hostname', 'utf8'));\n";
    return {
      items: [
        packageJson,
        { path: 'app/tsconfig.json', content: `${JSON.stringify(config)}\n` },
        { path: 'app/main.ts', content: source },
      ],
      args: ['node', 'node_modules/typescript/bin/tsc', '-p', '/app'],
      workload: 'the TypeScript compiler checks a small program',
    };
  }
  const source =
    "import { Command } from 'commander';\nimport { deflate } from 'pako';\nimport tar from 'tar-stream';\nconsole.log(typeof Command, typeof deflate, typeof tar.pack);\n";
  return {
    items: [packageJson, { path: 'app/main.js', content: source }],
    args: ['node', 'main.js'],
    workload: 'a Node program loads three packages',
  };
}

/** From TypeScript 7 on the compiler is a native program in a package per platform, which may not be installed. */
function nativeCompiler(modules: string): boolean {
  const scope = join(modules, '@typescript');
  return (
    !existsSync(scope) ||
    readdirSync(scope).some((name) => name.includes(process.arch) && statSync(join(scope, name)).isDirectory())
  );
}
