// Every rule of --until through the command.
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { basename, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Profile } from '../../src/analyze/types.js';
import { makeTempDir } from '../../src/temp.js';
import { type CliOptions, documentOf, expectCli, noFuse } from './cli.js';
import { sampleImage, writeRoot } from './sample.js';

const temp = makeTempDir(undefined, 'hl-e2e-until');
const at = (name: string) => join(temp.path, name);
after(() => temp.remove());
const cwd = temp.path;

before(() => {
  sampleImage(at('image'));
});

/** What a shell command in the image says and what its profile is; one run unless the flags say otherwise. */
async function run(script: string, flags: readonly string[] = [], options: CliOptions = {}) {
  const fixed = ['profile', 'oci:image', '-r', '1', '-o', 'p.json', '--json', '--entrypoint', '/bin/sh'];
  const result = await expectCli(0, [...fixed, ...flags, '--', '-c', script], { cwd, ...options });
  return {
    profile: documentOf<Profile>(result),
    said: result.stderr.split('\n').filter((l) => !/^(oci:| {2}run |$|Wrote|Next)/.test(l)),
  };
}

const pathsOf = (profile: Profile) => profile.files.map((f) => f.path);

describe('--until', { skip: noFuse() }, () => {
  /** Reads settings before it is ready, and again/later afterwards. */
  const AFTERWARDS = 'sleep 0.4; cat /srv/old/fresh; exec sleep 30';
  const byRule: [rule: string, script: string][] = [
    ['line:listening', `cat /etc/motd; echo now listening on; ${AFTERWARDS}`],
    ['line:/ready in \\d+ ms/', `cat /etc/motd; echo ready in 12 ms >&2; ${AFTERWARDS}`],
    ['idle:300ms', `cat /etc/motd; ${AFTERWARDS.replace('0.4', '1.5')}`],
    ['period:300ms', `cat /etc/motd; ${AFTERWARDS.replace('0.4', '1.5')}`],
  ];
  for (const [rule, script] of byRule) {
    test(rule, async () => {
      const { profile } = await run(script, ['--until', rule]);
      assert.deepEqual(profile.until, [rule]);
      assert.equal(profile.runs[0]!.ready?.by, rule);
      assert.ok(pathsOf(profile).includes('/etc/motd'));
      assert.ok(!pathsOf(profile).includes('/srv/old/fresh'), 'what is read after readiness is not hot');
    });
  }

  test('exit, and the default', async () => {
    const { profile } = await run('cat /etc/motd', ['--until', 'exit']);
    assert.equal(profile.runs[0]!.ready?.by, 'exit');
    assert.equal((await run('cat /etc/motd')).profile.runs[0]!.ready?.by, 'exit');
  });

  test('the first of several', async () => {
    const flags = ['--until', 'tcp:1', '--until', 'line:here', '--until', 'exit'];
    const { profile } = await run('echo here; exec sleep 30', flags);
    assert.equal(profile.runs[0]!.ready?.by, 'line:here');
    assert.equal(profile.until.length, 3);
  });

  /** A port that nobody has. */
  const freePort = () =>
    new Promise<number>((resolve) => {
      const server = createServer().listen(0, '127.0.0.1', () => {
        const { port } = server.address() as { port: number };
        server.close(() => resolve(port));
      });
    });
  // The running Node as the workload: the shell cannot listen.
  const server = (port: number) =>
    `require("http").createServer((q,s)=>{s.statusCode=q.url==="/up"?200:500;s.end()}).listen(${port},"127.0.0.1")`;

  before(() => writeRoot(at('node-root'), [process.execPath]));

  for (const [kind, net] of [
    ['tcp', 'none'],
    ['http', 'host'],
  ] as const) {
    test(`${kind} with --net ${net}`, async () => {
      const port = await freePort();
      const rule = kind === 'tcp' ? `tcp:${port}` : `http:http://127.0.0.1:${port}/up`;
      // Node maps a hundred megabytes: page by page that would take seconds.
      const args = ['profile', 'dir:node-root', '-r', '1', '-o', 'p.json', '--json', '--precision', 'fast'];
      const workload = [basename(process.execPath), '-e', server(port)];
      const result = await expectCli(0, [...args, '--until', rule, '--net', net, '--', ...workload], { cwd });
      assert.equal(documentOf<Profile>(result).runs[0]!.ready?.by, rule);
    });
  }
});
