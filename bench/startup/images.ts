// The images that are started, from Debian packages of different kinds, each with a workload and the rule by which it
// is ready. All rules are seen from outside: a line of output, a port, a page.
import { type ImageRecipe, NGINX, PYTHON } from '../../test/support/lab/images.js';
import type { ReadyRule } from '../support/watch.js';

export interface Workload {
  readonly recipe: ImageRecipe;
  readonly ready: ReadyRule;
  /** What it is, for the report. */
  readonly about: string;
  /**
   * Measured and shown, but not part of the means: an image made to show one thing, here a big file of which little is
   * read. Default false.
   */
  readonly extra?: boolean;
}

/** Below the range of ports that the kernel gives to clients; one for each image, on the machine's own loopback. */
const PORT = { nginx: 21080, redis: 21081, postgresql: 21082, ruby: 21083, node: 21084 };

const REDIS: ImageRecipe = {
  name: 'redis',
  packages: ['redis-server'],
  app: 'mkdir -p data',
  config: {
    Cmd: ['redis-server', '--bind', '127.0.0.1', '--port', String(PORT.redis), '--dir', '/data', '--save', ''],
  },
};

/** As the usual image does on its first start: an empty data directory is initialized, then the server starts. */
const POSTGRESQL: ImageRecipe = {
  name: 'postgresql',
  packages: ['postgresql-15'],
  app: `mkdir app; install -d -o 100 -g 100 -m 700 data; chroot . chown postgres:postgres /data
cat >app/start <<'END'
#!/bin/sh
set -e
PATH=/usr/lib/postgresql/15/bin:$PATH
[ -s /data/PG_VERSION ] || initdb -D /data --no-sync --auth=trust --locale=C >/dev/null
exec postgres -D /data -c listen_addresses=127.0.0.1 -c port=${PORT.postgresql} -c unix_socket_directories=/tmp
END
chmod +x app/start`,
  config: { Cmd: ['/app/start'], User: 'postgres' },
};

const RUBY: ImageRecipe = {
  name: 'ruby',
  packages: ['ruby', 'ruby-sinatra', 'puma'],
  app: `mkdir app; cat >app/app.rb <<'END'
require 'sinatra'
require 'json'
set :environment, :production
set :bind, '127.0.0.1'
set :port, ${PORT.ruby}
set :server, 'puma'
set :quiet, true
get('/') { content_type :json; JSON.generate(status: 'ready') }
END`,
  config: { Cmd: ['ruby', '/app/app.rb'], WorkingDir: '/app' },
};

/** Debian keeps what would be node_modules in /usr/share/nodejs: some 20 000 files, of which the server needs some hundred. */
const NODE: ImageRecipe = {
  name: 'node',
  packages: ['nodejs', 'node-express', 'webpack', 'eslint', 'node-typescript', 'node-js-yaml', 'node-ajv'],
  app: `mkdir app; ln -s /usr/share/nodejs app/node_modules; cat >app/server.js <<'END'
const express = require('express');
const _ = require('lodash');
const yaml = require('js-yaml');
const Ajv = require('ajv');
const semver = require('semver');
const chalk = require('chalk');
const settings = yaml.load(require('fs').readFileSync(__dirname + '/settings.yaml', 'utf8'));
const valid = new Ajv().compile({ type: 'object', required: ['port'], properties: { port: { type: 'integer' } } });
if (!valid(settings)) throw new Error(JSON.stringify(valid.errors));
const app = express();
app.use(express.json());
app.get('/', (_request, response) => response.json({ status: 'ready', node: semver.major(process.version) }));
app.listen(settings.port, '127.0.0.1', () => console.log(chalk.green(_.capitalize('listening'))));
END
echo 'port: ${PORT.node}' >app/settings.yaml`,
  config: { Cmd: ['node', '/app/server.js'], WorkingDir: '/app' },
};

/** The class library of Java is one file of more than 100 MB; starting a small program reads a few per cent of it. */
const JAVA: ImageRecipe = {
  name: 'java',
  packages: ['openjdk-17-jre-headless', 'ant'],
  app: `mkdir app; cat >app/build.xml <<'END'
<project default="start"><target name="start"><echo message="ready"/></target></project>
END`,
  config: {
    Cmd: [
      'java',
      ...['-cp', '/usr/share/ant/lib/ant-launcher.jar', '-Dant.home=/usr/share/ant'],
      ...['org.apache.tools.ant.launch.Launcher', '-q', '-f', '/app/build.xml'],
    ],
  },
};

/**
 * A Python application packed into one archive, as zipapp, PEX and Bazel do: 150 MB, 40 packages of 125 modules, stored.
 * A start imports 25 modules of each of four packages, two per cent of the archive.
 */
const ZIPAPP: ImageRecipe = {
  name: 'zipapp',
  packages: ['python3'],
  app: `mkdir app; chroot . python3 - <<'END'
import random, zipfile
random.seed(4)
words = [''.join(random.choices('abcdefghijklmnopqrstuvwxyz', k=random.randint(3, 9))) for _ in range(4000)]
def module(at):
    return f'TEXT = "{" ".join(random.choices(words, k=4400))}"\\nAT = {at}\\n'
with zipfile.ZipFile('/app/app.pyz', 'w', zipfile.ZIP_STORED) as archive:
    def add(name, text):
        archive.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), text)
    for package in range(40):
        add(f'part{package}/__init__.py', '')
        for at in range(125):
            add(f'part{package}/module{at}.py', module(at))
    wanted = [f'part{package}.module{at}' for package in (3, 11, 24, 36) for at in range(50, 75)]
    add('__main__.py', ''.join(f'import {name}\\n' for name in wanted) + 'print("ready", flush=True)\\n')
END`,
  config: { Cmd: ['python3', '/app/app.pyz'] },
};

/** The lab's own nginx, on a port that a machine's other servers do not have. */
const NGINX_HERE: ImageRecipe = { ...NGINX, app: NGINX.app.replace('127.0.0.1:8080', `127.0.0.1:${PORT.nginx}`) };

export const WORKLOADS: readonly Workload[] = [
  {
    recipe: PYTHON,
    ready: { kind: 'line', text: 'ready' },
    about: 'a script that imports json, ssl, sqlite3, asyncio',
  },
  { recipe: NGINX_HERE, ready: { kind: 'http', port: PORT.nginx }, about: 'nginx-light, one page' },
  { recipe: REDIS, ready: { kind: 'tcp', port: PORT.redis }, about: 'redis-server, empty' },
  {
    recipe: POSTGRESQL,
    ready: { kind: 'line', text: 'ready to accept connections' },
    about: 'PostgreSQL 15, first start: initdb, then the server',
  },
  { recipe: RUBY, ready: { kind: 'http', port: PORT.ruby }, about: 'Sinatra on puma' },
  { recipe: NODE, ready: { kind: 'http', port: PORT.node }, about: 'Express beside webpack, eslint and TypeScript' },
  {
    recipe: JAVA,
    ready: { kind: 'line', text: 'ready' },
    about: 'ant on OpenJDK 17: a class library of one big file',
    extra: true,
  },
  {
    recipe: ZIPAPP,
    ready: { kind: 'line', text: 'ready' },
    about: 'a Python application in one archive of 150 MB',
    extra: true,
  },
];

/** The rule as `hotlayer profile --until` wants it. */
export function untilFlag(rule: ReadyRule): string {
  if (rule.kind === 'line') return `line:${rule.text}`;
  return rule.kind === 'tcp' ? `tcp:${rule.port}` : `http:http://127.0.0.1:${rule.port}/`;
}
