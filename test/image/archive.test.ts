// Archives: every form that tools write, and what a hostile one tries.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { HotlayerError } from '../../src/errors.js';
import { type Image, openImage } from '../../src/image/index.js';
import { MAX_ARCHIVE_RATIO, openTar } from '../../src/image/tar-files.js';
import { buildLayout, digestOf, HOST_ARCHITECTURE } from '../support/layout.js';
import { refused } from '../support/refused.js';
import { dir, entry, fifo, file, gnuLong, hardlink, padTo, symlink, tarOf } from '../support/tar.js';
import { testDir } from '../support/temp.js';

const LAYERS = [tarOf(file('a', 'alpha')), tarOf(file('b', 'b'.repeat(100_000)))];
const CONFIG = Buffer.from(
  JSON.stringify({
    os: 'linux',
    architecture: HOST_ARCHITECTURE,
    rootfs: { type: 'layers', diff_ids: LAYERS.map(digestOf) },
  }),
);
const CONFIG_NAME = `${digestOf(CONFIG).slice(7)}.json`;
const json = (value: unknown) => JSON.stringify(value);
const manifestJson = (...layers: string[]) =>
  json([{ Config: CONFIG_NAME, RepoTags: ['docker.io/me/app:1'], Layers: layers }]);

async function layersOf(image: Image): Promise<Buffer[]> {
  const all: Buffer[] = [];
  for (const layer of image.layers) {
    const parts: Buffer[] = [];
    for await (const chunk of layer.open()) parts.push(chunk as Buffer);
    const bytes = Buffer.concat(parts);
    all.push(layer.compression === 'gzip' ? gunzipSync(bytes) : bytes);
  }
  return all;
}

/** The archive's image, read whole and compared with LAYERS. */
async function readsWell(reference: string, tempParent?: string): Promise<string> {
  await using image = await openImage(reference, tempParent === undefined ? {} : { tempParent });
  assert.deepEqual(await layersOf(image), LAYERS);
  assert.deepEqual(
    image.layers.map((layer) => layer.diffId),
    LAYERS.map(digestOf),
  );
  return image.layers.map((layer) => layer.compression).join();
}

function write(t: Parameters<typeof testDir>[0], bytes: Uint8Array, name = 'image.tar'): string {
  const path = join(testDir(t), name);
  writeFileSync(path, bytes);
  return path;
}

const base = [file(CONFIG_NAME, CONFIG), file('manifest.json', manifestJson('1/layer.tar', '2/layer.tar'))];

test('docker-archive, legacy form, with links between layers', async (t) => {
  const rows: [string, Buffer][] = [
    ['plain', tarOf(dir('1/'), file('1/layer.tar', LAYERS[0]), file('2/layer.tar', LAYERS[1]), ...base)],
    [
      'symlink',
      tarOf(symlink('1/layer.tar', '../x.tar'), file('x.tar', LAYERS[0]), file('2/layer.tar', LAYERS[1]), ...base),
    ],
    [
      'symlink of a symlink',
      tarOf(
        symlink('1/layer.tar', '../y/./z'),
        symlink('y/z', '../x'),
        file('x', LAYERS[0]),
        file('2/layer.tar', LAYERS[1]),
        ...base,
      ),
    ],
    [
      'hardlink',
      tarOf(file('x.tar', LAYERS[0]), hardlink('1/layer.tar', 'x.tar'), file('2/layer.tar', LAYERS[1]), ...base),
    ],
    ['names from the root', tarOf(file('./1/layer.tar', LAYERS[0]), file('/2/layer.tar', LAYERS[1]), ...base)],
    [
      'later members count',
      tarOf(file('1/layer.tar', 'old'), file('1/layer.tar', LAYERS[0]), file('2/layer.tar', LAYERS[1]), ...base),
    ],
    [
      'compressed layers',
      tarOf(file('1/layer.tar', gzipSync(LAYERS[0]!)), file('2/layer.tar', gzipSync(LAYERS[1]!)), ...base),
    ],
    [
      'long name headers',
      tarOf(
        Buffer.concat([gnuLong('L', '1/layer.tar'), file('short', LAYERS[0])]),
        file('2/layer.tar', LAYERS[1]),
        ...base,
      ),
    ],
    ['no end blocks', Buffer.concat([file('1/layer.tar', LAYERS[0]), file('2/layer.tar', LAYERS[1]), ...base])],
  ];
  for (const [name, tar] of rows) {
    const path = write(t, tar);
    for (const reference of [
      path,
      `docker-archive:${path}`,
      `docker-archive:${path}:me/app:1`,
      `docker-archive:${path}:@0`,
    ]) {
      assert.equal(
        await readsWell(reference),
        name === 'compressed layers' ? 'gzip,gzip' : 'none,none',
        `${name}: ${reference}`,
      );
    }
  }
});

test('an archive compressed as a whole is spooled, and the spool goes away', async (t) => {
  const work = testDir(t);
  const path = write(
    t,
    gzipSync(tarOf(file('1/layer.tar', LAYERS[0]), file('2/layer.tar', LAYERS[1]), ...base)),
    'image.tgz',
  );
  await readsWell(path, work);
  assert.deepEqual(readdirSync(work), []);
  truncateSync(path, 300);
  await assert.rejects(openImage(path, { tempParent: work }), refused('HL_ERR_IMAGE', 'broken gzip'));
  assert.deepEqual(readdirSync(work), []);
});

test('oci-archive as GNU tar makes it from a layout', async (t) => {
  const layout = testDir(t);
  const built = buildLayout(layout, { layers: LAYERS, tag: 'v1' });
  for (const format of ['gnu', 'posix', 'ustar']) {
    const path = write(t, execFileSync('tar', ['--format', format, '-C', layout, '-cf', '-', '.']));
    for (const reference of [
      path,
      `${path}:v1`,
      `oci-archive:${path}`,
      `oci-archive:${path}@${built.manifest.digest}`,
    ]) {
      assert.equal(await readsWell(reference), 'gzip,gzip');
    }
    await assert.rejects(openImage(`oci-archive:${path}:v2`), refused('HL_ERR_NOT_FOUND', 'v1'));
    await assert.rejects(openImage(`docker-archive:${path}`), refused('HL_ERR_IMAGE', `oci-archive:${path}`));
  }
});

test('a docker-archive that is a layout too keeps its descriptors', async (t) => {
  const layout = testDir(t);
  const built = buildLayout(layout, { layers: LAYERS, tag: '1', layerAnnotations: [{ note: 'kept' }] });
  const paths = [built.config, ...built.layers].map(({ digest }) => `blobs/sha256/${digest.slice(7)}`);
  const [config, ...layers] = paths;
  writeFileSync(join(layout, 'manifest.json'), json([{ Config: config, RepoTags: ['app:1'], Layers: layers }]));
  const path = write(
    t,
    execFileSync('tar', ['-C', layout, '-cf', '-', 'blobs', 'index.json', 'manifest.json', 'oci-layout']),
  );
  await using image = await openImage(`docker-archive:${path}:app:1`);
  assert.equal(image.descriptor.digest, built.manifest.digest);
  assert.equal(image.manifest.layers[0]!.annotations?.note, 'kept');
  assert.deepEqual(await layersOf(image), LAYERS);
  const bare = write(t, execFileSync('tar', ['-C', layout, '-cf', '-', 'blobs', 'manifest.json']));
  await using made = await openImage(bare);
  assert.deepEqual(
    made.layers.map((layer) => layer.descriptor.digest),
    built.layers.map((layer) => layer.digest),
  );
  assert.deepEqual(await layersOf(made), LAYERS);
});

test('several images: one must be named', async (t) => {
  const both = json([
    { Config: CONFIG_NAME, RepoTags: ['one:1', 'uno:1'], Layers: ['1/layer.tar', '2/layer.tar'] },
    { Config: CONFIG_NAME, RepoTags: null, Layers: ['1/layer.tar', '2/layer.tar'] },
  ]);
  const path = write(
    t,
    tarOf(
      file('1/layer.tar', LAYERS[0]),
      file('2/layer.tar', LAYERS[1]),
      file(CONFIG_NAME, CONFIG),
      file('manifest.json', both),
    ),
  );
  await assert.rejects(openImage(path), refused('HL_ERR_USAGE', 'one:1, uno:1'));
  await assert.rejects(openImage(`docker-archive:${path}:two`), refused('HL_ERR_NOT_FOUND', 'one:1, uno:1'));
  await assert.rejects(openImage(`docker-archive:${path}:@2`), refused('HL_ERR_NOT_FOUND', '@2'));
  await readsWell(`docker-archive:${path}:docker.io/library/uno:1`);
  await readsWell(`docker-archive:${path}:@1`);
  await assert.rejects(
    openImage(`docker-archive:${path}:@0`, { platform: 'linux/s390x' }),
    refused('HL_ERR_NOT_FOUND', HOST_ARCHITECTURE),
  );
});

test('nothing leads out of an archive, and no link goes on for ever', async (t) => {
  const second = file('2/layer.tar', LAYERS[1]);
  const rows: [string, Buffer[], Parameters<typeof refused>][] = [
    ['symlink up', [symlink('1/layer.tar', '../../../../etc/passwd')], ['HL_ERR_IMAGE', 'leads out']],
    ['absolute symlink', [symlink('1/layer.tar', '/etc/passwd')], ['HL_ERR_NOT_FOUND', '1/layer.tar']],
    ['hardlink up', [hardlink('1/layer.tar', '../../etc/passwd')], ['HL_ERR_IMAGE', 'leads out']],
    ['loop', [symlink('1/layer.tar', 'b'), symlink('1/b', 'layer.tar')], ['HL_ERR_IMAGE', 'links']],
    ['itself', [symlink('1/layer.tar', 'layer.tar')], ['HL_ERR_IMAGE', 'links']],
    ['fifo', [fifo('1/layer.tar')], ['HL_ERR_NOT_FOUND', '1/layer.tar']],
    ['dangling', [symlink('1/layer.tar', 'gone')], ['HL_ERR_NOT_FOUND', '1/layer.tar']],
    ['a name that leads up', [file('../1/layer.tar', LAYERS[0])], ['HL_ERR_NOT_FOUND', '1/layer.tar']],
  ];
  for (const [name, members, want] of rows) {
    const path = write(t, tarOf(...members, second, ...base));
    const error = await openImage(path).then(
      () => assert.fail(`${name} was opened`),
      (caught: unknown) => caught,
    );
    refused(...want)(error);
  }
  const escaping = json([{ Config: '../../../../etc/passwd', RepoTags: [], Layers: [] }]);
  await assert.rejects(
    openImage(write(t, tarOf(file('manifest.json', escaping)))),
    refused('HL_ERR_NOT_FOUND', 'etc/passwd'),
  );
});

test('wrong content is refused', async (t) => {
  const rows: [string, Buffer, Parameters<typeof refused>][] = [
    ['not a tar', Buffer.from('x'.repeat(2000)), ['HL_ERR_IMAGE', 'tar header']],
    ['empty', Buffer.alloc(0), ['HL_ERR_IMAGE', 'no tar header']],
    ['only zeros', Buffer.alloc(10240), ['HL_ERR_IMAGE', 'no tar header']],
    ['some other tar', tarOf(file('x', 'y')), ['HL_ERR_IMAGE', 'manifest.json']],
    ['xz', Buffer.from('fd377a585a0000', 'hex'), ['HL_ERR_IMAGE', 'xz -d']],
    [
      'cut in a payload',
      tarOf(file('1/layer.tar', LAYERS[0]), ...base).subarray(0, 1024),
      ['HL_ERR_IMAGE', 'cut off', '1/layer.tar'],
    ],
    ['cut in a header', Buffer.concat([file('a', ''), file('b', '').subarray(0, 100)]), ['HL_ERR_IMAGE', 'offset 512']],
    ['absurd size', entry({ name: 'x', typeflag: '0', size: 2 ** 40, format: 'gnu' }), ['HL_ERR_IMAGE', 'cut off']],
    [
      'config name is not its digest',
      tarOf(file(CONFIG_NAME, `${CONFIG} `), file('manifest.json', manifestJson('a', 'b'))),
      ['HL_ERR_DIGEST', CONFIG_NAME],
    ],
    [
      'too few layers',
      tarOf(file(CONFIG_NAME, CONFIG), file('manifest.json', manifestJson('1'))),
      ['HL_ERR_IMAGE', '2 entries'],
    ],
    ['manifest.json odd', tarOf(file('manifest.json', '{}')), ['HL_ERR_IMAGE', 'expected an array']],
    ['manifest.json no JSON', tarOf(file('manifest.json', '[')), ['HL_ERR_IMAGE', 'not JSON']],
  ];
  for (const [name, bytes, want] of rows) {
    const path = write(t, bytes);
    await assert.rejects(openImage(path), (error) => refused(...want)(error), name);
  }
  const path = write(t, tarOf(file('1/layer.tar', LAYERS[0]), file('2/layer.tar', LAYERS[0]), ...base));
  await using image = await openImage(path);
  await assert.rejects(layersOf(image), refused('HL_ERR_DIGEST', 'layer 1'));
});

test('a gzip bomb stops at a named limit and leaves nothing', async (t) => {
  const work = testDir(t);
  const bomb = gzipSync(padTo(tarOf(file('x', Buffer.alloc(4 << 20)))));
  assert.ok((4 << 20) / bomb.length > MAX_ARCHIVE_RATIO);
  const path = write(t, bomb);
  await assert.rejects(
    openTar(path, work, { ratioFloor: 1 << 20 }),
    refused('HL_ERR_LIMIT', 'MAX_ARCHIVE_RATIO', 'gzip -d'),
  );
  assert.deepEqual(readdirSync(work), []);
  const files = await openTar(path, work);
  assert.equal(await files.size('x'), 4 << 20);
  await files.close();
  assert.deepEqual(readdirSync(work), []);
  assert.ok(readFileSync(path).equals(bomb));
});

test('whatever is cut off or changed, the failure is one that people can read', async (t) => {
  const whole = tarOf(file('1/layer.tar', LAYERS[0]), symlink('2/layer.tar', '../x'), file('x', LAYERS[1]), ...base);
  const path = write(t, whole);
  const seed = Number(process.env.HOTLAYER_TEST_SEED ?? Date.now() % 2 ** 31);
  t.diagnostic(`HOTLAYER_TEST_SEED=${seed}`);
  let state = seed;
  const random = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  let failures = 0;
  for (let round = 0; round < 150; round++) {
    const bytes = Buffer.from(whole);
    for (let i = random(4); i >= 0; i--) bytes[random(bytes.length)] = random(256);
    writeFileSync(path, round % 3 === 0 ? bytes.subarray(0, random(bytes.length)) : bytes);
    try {
      await readsWell(path);
    } catch (error) {
      failures += 1;
      assert.ok(
        error instanceof HotlayerError && error.exitCode === 3,
        `seed ${seed} round ${round}: ${(error as Error).stack}`,
      );
    }
  }
  assert.ok(failures > 30, `only ${failures} rounds failed`);
});
