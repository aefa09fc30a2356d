// The behaviour suite on fuse-native as it is meant: an ordinary user, no user namespaces, a setuid fusermount.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, lstatSync, mkdtempSync, readFileSync, rmdirSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { nativeTransport, probeFuse, rawTransport } from '../../src/fuse/index.js';
import { userMayAllowOthers } from '../../src/fuse/native-support.js';
import { mountLines, withMount } from '../support/mount.js';
import { enterNamespace } from '../support/namespace.js';
import { behaviourSuite } from './behaviour.js';
import { NATIVE_LACKS } from './native.js';

const FILE = { path: 'shadow', type: 'reg', mode: 0o600, uid: 33, gid: 42, content: { text: 'hidden' } } as const;

const reason = enterNamespace(import.meta.url, 'denied');
if (reason !== undefined) test('fuse-native through fusermount', { skip: reason }, () => {});
else {
  behaviourSuite({ transport: nativeTransport, realRoot: false, private: !userMayAllowOthers(), lacks: NATIVE_LACKS });

  test('we are who we claim to be: an ordinary user who gets no namespace', () => {
    assert.notEqual(process.getuid!(), 0);
    const { status, stderr } = spawnSync('unshare', ['--user', 'true'], { encoding: 'utf8' });
    assert.notEqual(status, 0, stderr);
    assert.equal(probeFuse().ok, false);
  });

  test('the other transport cannot, and says what to do', () =>
    assert.rejects(
      withMount(rawTransport, { nodes: [] }, () => {}),
      { code: 'HL_ERR_MACHINE' },
    ));

  test(
    'owners and modes are shown as they are, and nothing is closed to the user',
    { skip: userMayAllowOthers() },
    () =>
      withMount(nativeTransport, { nodes: [FILE] }, ({ path }) => {
        const { uid, gid, mode } = lstatSync(join(path, 'shadow'));
        assert.deepEqual([uid, gid, mode & 0o7777], [33, 42, 0o600]);
        assert.equal(readFileSync(join(path, 'shadow'), 'utf8'), 'hidden');
      }),
  );

  test('no mount outlives its server', () =>
    withMount(nativeTransport, { nodes: [FILE] }, async ({ path, mounted }) => {
      assert.equal(mountLines(path).length, 1);
      process.kill(serversOf(process.pid)[0]!, 'SIGKILL');
      await assert.rejects(mounted.closed, { code: 'HL_ERR_MACHINE', message: /was ended by SIGKILL/ });
      await mounted.unmount();
      assert.deepEqual(mountLines(path), []);
      assert.ok(statSync(path).isDirectory());
    }));

  for (const victims of ['who mounted', 'who serves', 'both'] as const) {
    test(`SIGKILL of ${victims}: neither mount nor process is left`, () => killed(victims));
  }
}

async function killed(victims: 'who mounted' | 'who serves' | 'both'): Promise<void> {
  const path = mkdtempSync(join(tmpdir(), 'hotlayer-serve-'));
  const script = fileURLToPath(new URL('../support/serve-child.js', import.meta.url));
  const args = [script, path, 'stay', JSON.stringify({ nodes: [FILE] }), 'fuse-native'];
  const mounter = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(mounter, 'close');
  await once(mounter.stdout, 'data');
  const [server] = serversOf(mounter.pid!);
  assert.ok(server !== undefined && existsSync(`/proc/${server}`));
  assert.equal(mountLines(path).length, 1);
  if (victims !== 'who mounted') process.kill(server, 'SIGKILL');
  if (victims !== 'who serves') mounter.kill('SIGKILL');
  await ended;
  // fusermount does it, in its own time: the minute is for a machine that is stuck.
  for (let tries = 0; mountLines(path).length > 0 || existsSync(`/proc/${server}`); tries++) {
    assert.ok(tries < 3000, `after a minute: ${mountLines(path)}, process ${server}`);
    await pause(20);
  }
  rmdirSync(path);
}

/** Processes that serve for `parent`. */
function serversOf(parent: number): number[] {
  const children = readFileSync(`/proc/${parent}/task/${parent}/children`, 'latin1').split(' ').filter(Boolean);
  return children
    .map(Number)
    .filter((pid) => readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('native-main.js'));
}
