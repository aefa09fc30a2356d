// `hotlayer mount` beneath others: the kernel's overlayfs, and podman's containers (`--rootfs DIR:O`), with a trace.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeTempDir } from '../../src/temp.js';
import { readTrace } from '../../src/trace/trace-file.js';
import { Capsule } from '../support/lab/capsule.js';
import { Podman } from '../support/lab/podman.js';
import { type NamespaceKind, namespaceCommand } from '../support/namespace.js';
import { lacking, notHere } from '../support/tools.js';
import { BIN, expectCli } from './cli.js';
import { lackingLazy, lazyImage, serve } from './lazy-image.js';
import { DATA, MOTD, SETTINGS } from './sample.js';

const skip = lackingLazy();
const isRoot = process.getuid!() === 0;

/** $1: an option of the overlay; then hotlayer's words. A tmpfs of its own and the mounts end with the namespace. */
const OVERLAY = `option=$1; shift; mount -t tmpfs tmpfs /mnt; cd /mnt; mkdir lower upper work merged
"$@" & pid=$!
n=0; until [ -e lower/etc ]; do sleep 0.05; n=$((n+1)); [ $n -lt 1200 ] || exit 99; kill -0 $pid || exit 98; done
mount -t overlay -o "lowerdir=lower,upperdir=upper,workdir=work$option" overlay merged || exit 97
echo changed >> merged/app/data.txt; cat merged/app/data.txt; rm merged/etc/motd; [ -e merged/etc/motd ] || echo gone
mv merged/app/run.sh merged/app/other.sh; cmp merged/app/other.sh lower/app/run.sh && ls upper/app
cat lower/app/data.txt lower/etc/motd; umount merged; umount lower; wait $pid; echo "ended with $?"`;

describe('mount as the lower directory of an overlay', { skip }, () => {
  for (const kind of ['mount', 'rootless'] as NamespaceKind[])
    test(kind === 'mount' ? 'of this user' : 'of an ordinary user', async (t) => {
      const image = await lazyImage(t);
      const { reference } = await serve(t, image.optimized);
      const option = kind === 'mount' && isRoot ? '' : ',userxattr';
      const through = [...namespaceCommand(kind, []), 'sh', '-c', OVERLAY, 'sh', option];
      const { stdout } = await expectCli(0, ['mount', '--plain-http', '--cache-dir', 'cache', reference, 'lower'], {
        through,
      });
      const text = `${DATA}changed\ngone\ndata.txt\nother.sh\nrun.sh\n${DATA}${MOTD}ended with 0\n`;
      assert.equal(stdout, text);
    });
});

/** podman keeps its state in a place of its own; runc, for Debian's crun refuses machines with both cgroup versions. */
const PODMAN = ['podman', '--root=store', '--runroot=/run/podman', '--runtime=runc', '--cgroup-manager=cgroupfs'];
const LOOK =
  'cat /app/data.txt /app/conf/settings; echo mine > /app/data.txt; cat /app/data.txt; [ -e /nowhere ] || exit 9';

describe('mount under podman run --rootfs DIR:O', {
  skip: skip || (isRoot ? lacking('podman', 'runc') : notHere(['root, for podman with overlayfs'])),
}, () => {
  const temp = makeTempDir(undefined, 'hl-under-podman');
  let capsule: Capsule;
  before(async () => {
    capsule = await Capsule.open(temp.path);
  });
  after(async () => {
    await capsule.close();
    temp.remove();
  });

  test('the container is the image’s, its writes are podman’s, and the trace is whole', async (t) => {
    const image = await lazyImage(t);
    const { reference, proxy } = await serve(t, image.optimized);
    const at = (name: string) => join(temp.path, name);
    mkdirSync(at('root'));
    const hotlayer = [process.execPath, BIN];
    const common = ['--plain-http', '--precision', 'exact'];
    const mount = capsule.daemon('mount', [
      ...[...hotlayer, 'mount', ...common, '--cache-dir', at('cache'), '--trace', at('podman.trace'), reference],
      at('root'),
    ]);
    await mount.until(async () => (await capsule.run(['test', '-e', at('root/etc')])).status === 0);
    const container = ['--rm', `--cgroup-parent=${capsule.name}`, '--network=none', '--rootfs', `${at('root')}:O`];
    const ran = await capsule.run([...PODMAN, '--events-backend=file', 'run', ...container, '/bin/sh', '-c', LOOK]);
    assert.deepEqual([ran.status, ran.stdout], [9, `${DATA}${SETTINGS}mine\n`], ran.stderr);
    assert.equal(await capsule.output(['cat', at('root/app/data.txt')]), DATA, 'the image is as it was');
    assert.ok(
      proxy.seen.filter(({ url }) => url.includes('/blobs/')).every(({ headers }) => headers.range !== undefined),
    );
    await capsule.output(['umount', at('root')]);
    for (let n = 0; n < 600 && !readFileSync(mount.log, 'utf8').includes('Wrote '); n++) await sleep(50);

    // The same by our own hand, and what is in the image of it.
    const args = [
      'run',
      ...common,
      '--cache-dir',
      at('cache'),
      '--trace',
      at('own.trace'),
      '--user',
      '0',
      '--net',
      'none',
    ];
    await expectCli(9, [...args, '--entrypoint', '/bin/sh', reference, '--', '-c', LOOK]);
    const [podmans, own] = [await readTrace(at('podman.trace')), await readTrace(at('own.trace'))];
    assert.equal(podmans.end.complete, true);
    const touched = ({ events }: typeof own, op: string) =>
      new Set(events.filter((event) => event.op === op && event.t >= 0).map(({ path }) => path));
    for (const op of ['open', 'read']) {
      const wanted = [...touched(own, op)].filter((path) => !/^\/etc\/(passwd|group)$/.test(path)).sort();
      assert.ok(wanted.includes('/app/data.txt') && wanted.length >= 4, `${op}: ${wanted}`);
      const found = touched(podmans, op);
      assert.deepEqual(
        wanted.filter((path) => !found.has(path)),
        [],
        op,
      );
    }
    const failed = podmans.events.filter(({ path, errno }) => path === '/nowhere' && errno === 2);
    assert.ok(failed.length > 0, 'look-ups of what is not there, too');
  });
});

/** $1: where it mounts; $2: what runs in the container; $3: the flags of podman that its caller had; then hotlayer's words. */
const UNSHARED = `root=$1 look=$2 global=$3; shift 3
"$@" "$root" & pid=$!
n=0; until [ -e "$root/etc" ]; do sleep 0.05; n=$((n+1)); [ $n -lt 1200 ] || exit 99; kill -0 $pid || exit 98; done
stat -c %u:%g "$root/app/data.txt"
podman $global run --rm --network=none --rootfs "$root:O" /bin/sh -c "$look"; echo "podman: $?"
cat "$root/app/data.txt"; umount "$root"; wait $pid; echo "hotlayer: $?"`;

describe('mount under rootless podman run --rootfs DIR:O', {
  skip: skip || (isRoot ? lacking('podman', 'runc', 'newuidmap') : notHere(['root, to make the user'])),
}, () => {
  test('in podman unshare, owners as the image has them', async (t) => {
    const image = await lazyImage(t);
    const { reference } = await serve(t, image.optimized);
    await using podman = await Podman.start();
    const [root, cache] = [podman.directory('root'), podman.directory('cache')];
    const words = [process.execPath, BIN, 'mount', '--plain-http', '--cache-dir', cache, reference];
    const ran = await podman.run(['unshare', 'sh', '-c', UNSHARED, 'sh', root, LOOK, Podman.global, ...words]);
    assert.equal(ran.stdout, `1000:1001\n${DATA}${SETTINGS}mine\npodman: 9\n${DATA}hotlayer: 0\n`, ran.stderr);
  });
});
