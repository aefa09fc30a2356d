// Differences (1) and broken input (3): what is said, and that nothing is left behind.
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { Plan } from '../../src/analyze/types.js';
import type { Digest } from '../../src/image/digest.js';
import { type Descriptor, MEDIA } from '../../src/image/types.js';
import type { VerifyReport } from '../../src/rewrite/verify/findings.js';
import { makeTempDir } from '../../src/temp.js';
import { addToIndex, digestOf, HOST_ARCHITECTURE, putBlob, putJson } from '../support/layout.js';
import { file, tarOf } from '../support/tar.js';
import { type CliResult, documentOf, expectCli } from './cli.js';
import { noise, sampleImage, sampleLayers } from './sample.js';

const temp = makeTempDir(undefined, 'hl-e2e-broken');
const at = (name: string) => join(temp.path, name);
after(() => temp.remove());
const cwd = temp.path;

before(async () => {
  mkdirSync(at('tmp'));
  sampleImage(at('image'));
  await expectCli(0, ['optimize', 'oci:image', 'oci:plain:t', '--no-profile', '--save-plan', 'plan.json'], { cwd });
});

describe('1: verify finds differences', () => {
  test('all of them are listed, each with both sides', async () => {
    const [base, , top] = sampleLayers();
    const changed = tarOf(
      file('app/run.sh', 'other\n', { mode: 0o700 }),
      file('app/data.txt', 'x'),
      file('extra', 'e'),
    );
    sampleImage(at('changed'), { layers: [base!, changed, top!] });
    await expectCli(0, ['optimize', 'oci:changed', 'oci:changed-plain:t', '--no-profile'], { cwd });
    const { stdout } = await expectCli(1, ['verify', 'oci:image', 'oci:changed-plain:t', '--verbose'], { cwd });
    assert.match(stdout, /^FAIL {2}same files +\d+ mismatches/m);
    assert.match(stdout, /^FAIL {2}same content /m);
    assert.match(stdout, /^PASS {2}eStargz /m);
    for (const line of [
      /^ {2}layer 1 app\/run\.sh .*: before 0755, after 0700$/m,
      /^ {2}layer 1 app\/run\.sh .*: before sha256:\w{64}, after sha256:\w{64}$/m,
      /^ {2}layer 1 extra /m,
      /^ {2}layer 1 etc\/motd .*missing/m,
    ])
      assert.match(stdout, line);
    assert.match(stdout, /^NOT the same image$/m);
    const report = documentOf<VerifyReport>(
      await expectCli(1, ['verify', 'oci:image', 'oci:changed-plain:t', '--json'], { cwd }),
    );
    assert.equal(report.ok, false);
    assert.ok(report.checks.reduce((sum, check) => sum + check.mismatches.length, 0) > 8);
  });

  test('an image that was not optimized is not eStargz', async () => {
    const { stdout } = await expectCli(1, ['verify', 'oci:image', 'oci:image'], { cwd });
    assert.match(stdout, /^FAIL {2}eStargz +/m);
    assert.match(stdout, /^PASS {2}same content /m);
  });

  test('a plan that was not carried out', async () => {
    const plan: Plan = JSON.parse(readFileSync(at('plan.json'), 'utf8'));
    const hot = [
      { path: 'etc', because: 'x', size: 0 },
      { path: 'etc/motd', because: 'x', size: 9 },
    ];
    const layers = plan.layers.map((layer, i) =>
      i === 0 ? { ...layer, hot, hotBytes: 9, landmark: 'prefetch' } : layer,
    );
    writeFileSync(at('other-plan.json'), JSON.stringify({ ...plan, layers }));
    const { stdout } = await expectCli(1, ['verify', 'oci:image', 'oci:plain:t', '--plan', 'other-plan.json'], { cwd });
    assert.match(stdout, /^FAIL {2}order /m);
    assert.match(stdout, /^ {2}layer 0 etc\/motd .*behind the landmark/m);
  });
});

/** A layout with one layer whose stored bytes are given; returns its descriptor. */
function layoutOf(name: string, stored: Uint8Array, tar: Uint8Array): Descriptor {
  const dir = at(name);
  const layer = putBlob(dir, stored, MEDIA.layerGzip);
  putManifest(name, { layers: [layer], diffIds: [digestOf(tar)] });
  return layer;
}

function putManifest(name: string, { layers, diffIds }: { layers: unknown[]; diffIds: Digest[] }): void {
  const platform = { os: 'linux', architecture: HOST_ARCHITECTURE };
  const config = putJson(at(name), { ...platform, rootfs: { type: 'layers', diff_ids: diffIds } }, MEDIA.config);
  addToIndex(
    at(name),
    putJson(at(name), { schemaVersion: 2, mediaType: MEDIA.manifest, config, layers }, MEDIA.manifest),
  );
}

/** A layout with one good layer, and the path of that layer's blob. */
function goodLayout(name: string): { layer: Descriptor; blob: string; tar: Buffer } {
  const tar = tarOf(file('a', noise(50_000)), file('b', 'second'));
  const layer = layoutOf(name, gzipSync(tar), tar);
  return { layer, blob: join(at(name), 'blobs/sha256', layer.digest.slice(7)), tar };
}

describe('3: input that is not what it claims', () => {
  const targets = ['oci:target:t', 'oci-archive:target.tar'];
  let count = 0;

  /** optimize must refuse; what it says; and that neither target nor temporary files are left. */
  async function refuses(source: string, code: string, ...says: (string | RegExp)[]): Promise<CliResult> {
    const target = targets[count++ % 2]!;
    const args = ['optimize', source, target, '--no-profile', '--tmpdir', 'tmp'];
    const result = await expectCli(3, args, { cwd });
    assert.equal(result.stdout, '');
    for (const text of [`(${code})`, source, ...says]) {
      const found = typeof text === 'string' ? result.stderr.includes(text) : text.test(result.stderr);
      assert.ok(found, `should say ${text}:\n${result.stderr}`);
    }
    assert.ok(!existsSync(at('target')) && !existsSync(at('target.tar')), 'no target');
    assert.deepEqual(readdirSync(at('tmp')), [], 'no temporary files');
    assert.deepEqual(
      readdirSync(cwd).filter((name) => name.startsWith('.')),
      [],
      'no staging directory',
    );
    return expectCli(3, ['profile', source, '--tmpdir', 'tmp'], { cwd });
  }

  test('there is no such image, tag or archive', async () => {
    await refuses('oci:nowhere', 'HL_ERR_NOT_FOUND', 'nowhere');
    await refuses('oci:image:none', 'HL_ERR_NOT_FOUND', 'none', 'latest');
    await refuses('oci-archive:none.tar', 'HL_ERR_NOT_FOUND', 'none.tar');
  });

  test('a blob is missing', async () => {
    const { layer } = goodLayout('missing');
    putManifest('missing', { layers: [{ ...layer, digest: digestOf(Buffer.from('else')) }], diffIds: [layer.digest] });
    await refuses('oci:missing', 'HL_ERR_NOT_FOUND', digestOf(Buffer.from('else')), 'layer 0');
  });

  test('a blob is truncated', async () => {
    const { layer, blob } = goodLayout('truncated');
    truncateSync(blob, layer.size - 1000);
    await refuses('oci:truncated', 'HL_ERR_DIGEST', layer.digest, `${layer.size}`, `${layer.size - 1000}`);
  });

  test('a blob has other bytes: the digest is the news, not what follows from it', async () => {
    const { layer, blob } = goodLayout('flipped');
    const bytes = readFileSync(blob);
    bytes[bytes.length >> 1]! ^= 1;
    writeFileSync(blob, bytes);
    await refuses('oci:flipped', 'HL_ERR_DIGEST', layer.digest, digestOf(bytes));
  });

  test('the config has another diff_id', async () => {
    const { layer } = goodLayout('diffid');
    const wrong = digestOf(Buffer.from('wrong'));
    putManifest('diffid', { layers: [layer], diffIds: [wrong] });
    await refuses('oci:diffid', 'HL_ERR_DIGEST', layer.digest, wrong, 'diff_ids[0]');
  });

  test('the manifest is not one', async () => {
    addToIndex(at('manifests'), {
      ...putBlob(at('manifests'), Buffer.from('{"schemaVersion": 2, "layers": 5}'), MEDIA.manifest),
      annotations: { 'org.opencontainers.image.ref.name': 'bad' },
    });
    await refuses('oci:manifests:bad', 'HL_ERR_IMAGE', /manifest/, /config|layers/);
    addToIndex(at('manifests'), {
      ...putBlob(at('manifests'), Buffer.from('{"schemaVersion": 2, "la'), MEDIA.manifest),
      annotations: { 'org.opencontainers.image.ref.name': 'cut' },
    });
    await refuses('oci:manifests:cut', 'HL_ERR_IMAGE', /JSON/);
  });

  test('the gzip stream is corrupted, with digests that fit', async () => {
    const tar = tarOf(file('a', noise(50_000)));
    const stored = gzipSync(tar);
    stored.fill(0xff, 20_000, 20_100);
    const layer = layoutOf('gzip', stored, tar);
    await refuses('oci:gzip', 'HL_ERR_LAYER', layer.digest, /at byte \d+ of the blob, in gzip member 1/);
  });

  test('the gzip stream is cut off, with digests that fit', async () => {
    const tar = tarOf(file('a', noise(50_000)));
    const layer = layoutOf('gzip-cut', gzipSync(tar).subarray(0, 30_000), tar);
    await refuses('oci:gzip-cut', 'HL_ERR_LAYER', layer.digest, 'cut off', /at byte 30000/);
  });

  test('the tar is truncated in the middle of a file', async () => {
    const tar = tarOf(file('a', 'x'), file('dir/b', noise(50_000))).subarray(0, 20_000);
    const layer = layoutOf('tar-cut', gzipSync(tar), tar);
    await refuses('oci:tar-cut', 'HL_ERR_LAYER', layer.digest, 'dir/b', /at byte \d+/);
  });

  test('a tar header is damaged', async () => {
    const tar = tarOf(file('a', 'x'), file('b', 'y'));
    tar.write('9', 1024 + 100);
    const layer = layoutOf('tar-header', gzipSync(tar), tar);
    await refuses('oci:tar-header', 'HL_ERR_LAYER', layer.digest, /checksum/, /at byte 1024/);
  });

  test('an absurd size', async () => {
    const tar = tarOf(file('huge', '', { raw: { size: Buffer.from('80000000ffffffffffffffff', 'hex') } }));
    const layer = layoutOf('huge', gzipSync(tar), tar);
    await refuses('oci:huge', 'HL_ERR_LAYER', layer.digest, 'size', /at byte 0/);
  });

  test('a gzip bomb of an archive meets a named limit', async () => {
    writeFileSync(at('bomb.tar.gz'), gzipSync(Buffer.alloc(300 << 20), { level: 9 }));
    await refuses('oci-archive:bomb.tar.gz', 'HL_ERR_LIMIT', 'bomb.tar.gz', 'MAX_ARCHIVE_RATIO');
  });

  test('an index that claims to be endless', async () => {
    const { layer } = goodLayout('limit');
    addToIndex(at('limit'), { mediaType: MEDIA.manifest, digest: layer.digest, size: 1 << 30 });
    await refuses('oci:limit', 'HL_ERR_LIMIT', /MAX_[A-Z_]+/);
  });

  test('an archive that is cut off, or none at all', async () => {
    writeFileSync(at('cut.tar'), tarOf(file('index.json', noise(5000))).subarray(0, 3000));
    await refuses('oci-archive:cut.tar', 'HL_ERR_IMAGE', 'cut.tar', /offset 512/);
    writeFileSync(at('text.tar'), 'this is no tar at all\n'.repeat(50));
    await refuses('docker-archive:text.tar', 'HL_ERR_IMAGE', 'text.tar', /offset 0/);
  });

  test('the optimized image of a verification cannot be opened, or its blob is damaged', async () => {
    await expectCli(3, ['verify', 'oci:image', 'oci:nowhere'], { cwd });
    const run = await expectCli(0, ['optimize', 'oci:image', 'oci:damaged:t', '--no-profile', '--json'], { cwd });
    const { result } = documentOf<{ result: { layers: { digest: string }[] } }>(run);
    const blob = join(at('damaged'), 'blobs/sha256', result.layers[0]!.digest.slice(7));
    const bytes = readFileSync(blob);
    bytes[bytes.length >> 1]! ^= 1;
    writeFileSync(blob, bytes);
    const { stdout } = await expectCli(1, ['verify', 'oci:image', 'oci:damaged:t'], { cwd });
    assert.match(stdout, /^ {2}layer 0 digest of the blob/m);
    const original = await expectCli(3, ['verify', 'oci:gzip', 'oci:plain'], { cwd });
    assert.match(original.stderr, /gzip stream is corrupt .*\n(.*\n)*.*oci:gzip/);
  });

  test('a profile or a plan that is none, or of another image', async () => {
    const optimize = ['optimize', 'oci:image', 'oci:target', '--tmpdir', 'tmp'];
    const missing = await expectCli(3, [...optimize, '-p', 'none.json'], { cwd });
    assert.match(missing.stderr, /none\.json: no such file/);
    writeFileSync(at('not-a-profile.json'), '{"schemaVersion": 1, "runs": "three"}');
    const profile = await expectCli(3, [...optimize, '-p', 'not-a-profile.json'], { cwd });
    assert.match(profile.stderr, /not-a-profile\.json: .*\(HL_ERR_DATA\)/);
    goodLayout('unplanned');
    const other = await expectCli(3, ['optimize', 'oci:unplanned', 'oci:target', '--plan', 'plan.json'], { cwd });
    assert.match(other.stderr, /plan .*\n?.*\(HL_ERR_DATA\)/);
    assert.ok(!existsSync(at('target')));
  });

  test('a blob by itself that is none', async () => {
    copyFileSync(at('plan.json'), at('some-file'));
    const { stderr } = await expectCli(3, ['inspect', 'some-file'], { cwd });
    assert.match(stderr, /some-file/);
  });

  test('an existing target stays as it was when the source is broken', async () => {
    const before = readFileSync(at('plain/index.json'));
    const blobs = readdirSync(at('plain/blobs/sha256'));
    const source = 'oci:gzip-cut';
    await expectCli(3, ['optimize', source, 'oci:plain:t', '--no-profile'], { cwd });
    assert.deepEqual(readFileSync(at('plain/index.json')), before);
    assert.deepEqual(readdirSync(at('plain/blobs/sha256')), blobs);
    assert.deepEqual(readdirSync(at('plain')).sort(), ['blobs', 'index.json', 'oci-layout']);
    assert.ok(
      gunzipSync(
        readFileSync(
          join(
            at('plain/blobs/sha256'),
            blobs.find((b) => readFileSync(join(at('plain/blobs/sha256'), b))[0] === 0x1f)!,
          ),
        ),
      ).length > 0,
    );
  });
});
