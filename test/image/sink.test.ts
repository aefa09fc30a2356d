// Targets: what is written, and what is there before, after, and when it went wrong.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Index, MEDIA, openImage, openSink } from '../../src/image/index.js';
import { withEntries } from '../../src/image/layout-sink.js';
import { buildLayout, digestOf } from '../support/layout.js';
import { refused } from '../support/refused.js';
import { file, tarOf } from '../support/tar.js';
import { testDir } from '../support/temp.js';
import { putImage } from './sink-image.js';

const quick = { fsync: false };

async function put(target: string, seed: string): Promise<string> {
  const sink = await openSink(target, quick);
  try {
    const manifest = await putImage(sink, seed);
    await sink.commit(manifest);
    return manifest.digest;
  } finally {
    await sink.abort();
  }
}

async function digestAt(reference: string): Promise<string> {
  await using image = await openImage(reference);
  for (const layer of image.layers) for await (const _ of layer.open());
  return image.descriptor.digest;
}

/** Every file beneath a directory with its content's digest. */
function snapshot(path: string): Record<string, string> {
  const names = readdirSync(path, { recursive: true, encoding: 'utf8' }).sort();
  return Object.fromEntries(
    names.map((name) => [
      name,
      statSync(join(path, name)).isDirectory() ? 'dir' : digestOf(readFileSync(join(path, name))),
    ]),
  );
}

const indexOf = (dir: string) => JSON.parse(readFileSync(join(dir, 'index.json'), 'utf8')) as Index;
const tagsIn = (dir: string) => indexOf(dir).manifests.map((d) => d.annotations?.['org.opencontainers.image.ref.name']);

test('a new layout appears with commit, not before, with ordinary permissions', async (t) => {
  const dir = testDir(t);
  const target = join(dir, 'out');
  const sink = await openSink(`oci:${target}:v1`);
  const manifest = await putImage(sink, 'x');
  assert.ok(!existsSync(target));
  await sink.commit(manifest);
  assert.deepEqual(readdirSync(dir), ['out']);
  assert.deepEqual(readdirSync(target).sort(), ['blobs', 'index.json', 'oci-layout']);
  assert.equal(await digestAt(`oci:${target}:v1`), manifest.digest);
  mkdirSync(join(dir, 'ordinary'));
  assert.equal(statSync(target).mode, statSync(join(dir, 'ordinary')).mode);
  assert.equal(readdirSync(join(target, 'blobs', 'sha256')).length, 4);
  await sink.abort();
  assert.equal(await digestAt(`oci:${target}:v1`), manifest.digest, 'abort after commit is harmless');
  await assert.rejects(sink.commit(manifest), refused('HL_ERR_BUG'));
  await assert.rejects(sink.createBlob(), refused('HL_ERR_BUG'));
});

test('a layout that exists keeps its tags, members and blobs; the same tag is replaced in its place', async (t) => {
  const dir = testDir(t);
  const built = ['a', 'b', 'c'].map((tag) => buildLayout(dir, { layers: [tarOf(file(tag, tag))], tag }));
  writeFileSync(join(dir, 'index.json'), JSON.stringify({ ...indexOf(dir), annotations: { mine: 'yes' } }));
  const before = snapshot(dir);
  const digest = await put(`oci:${dir}:b`, 'new');
  assert.deepEqual(tagsIn(dir), ['a', 'b', 'c']);
  assert.equal(await digestAt(`oci:${dir}:b`), digest);
  assert.equal(await digestAt(`oci:${dir}:a`), built[0]!.manifest.digest);
  assert.equal(indexOf(dir).annotations?.mine, 'yes');
  const after = snapshot(dir);
  for (const [name, content] of Object.entries(before))
    if (name !== 'index.json') assert.equal(after[name], content, name);
  await put(`oci:${dir}`, 'untagged');
  const again = await put(`oci:${dir}`, 'untagged again');
  assert.deepEqual(tagsIn(dir), ['a', 'b', 'c', undefined]);
  assert.equal(indexOf(dir).manifests[3]!.digest, again);
});

test('names of where the image came from do not follow it', () => {
  const digest = digestOf(Buffer.from('x'));
  const entry = (tag: string, size: number) => ({
    mediaType: MEDIA.manifest,
    digest,
    size,
    annotations: { 'org.opencontainers.image.ref.name': tag },
  });
  const old: Index = { schemaVersion: 2, manifests: [entry('a', 1), entry('b', 2), entry('a', 3)] };
  assert.deepEqual(withEntries(old, [entry('a', 9)]).manifests, [entry('a', 9), entry('b', 2)]);
  assert.deepEqual(withEntries(old, [entry('c', 9)]).manifests.length, 4);
  assert.equal(old.manifests.length, 3);
});

test('blobs are kept once, and a damaged one of the same name is mended', async (t) => {
  const dir = testDir(t);
  const target = join(dir, 'out');
  await put(`oci:${target}:a`, 'one');
  const blobs = join(target, 'blobs', 'sha256');
  const count = readdirSync(blobs).length;
  await put(`oci:${target}:b`, 'two');
  assert.equal(readdirSync(blobs).length, count + 3, 'the shared layer is there once');

  await using image = await openImage(`oci:${target}:a`);
  const { descriptor } = image.layers[0]!;
  const good = readFileSync(image.layers[0]!.file!);
  const source = () => Readable.from([good], { objectMode: false });
  const copy = async (tag: string) => {
    const sink = await openSink(`oci:${target}:${tag}`, quick);
    await sink.copyBlob(descriptor, source);
    await sink.copyBlob(descriptor, () => assert.fail('a blob that is there was read again'));
    await sink.commit(await putImage(sink, 'one'));
  };
  const twice = await openSink(`oci:${join(dir, 'fresh')}`, quick);
  assert.deepEqual(await twice.putBytes(good), await twice.putBytes(good));
  await twice.copyBlob(descriptor, () => assert.fail('a blob that is there was read again'));
  await twice.abort();
  await copy('c');
  writeFileSync(image.layers[0]!.file!, Buffer.alloc(good.length));
  await copy('d');
  assert.ok(readFileSync(image.layers[0]!.file!).equals(good));
});

test('copyBlob checks what it copies', async (t) => {
  const dir = testDir(t);
  const sink = await openSink(`oci:${join(dir, 'out')}`, quick);
  const bytes = Buffer.from('these bytes');
  const descriptor = { mediaType: MEDIA.layerTar, digest: digestOf(bytes), size: bytes.length };
  const from =
    (...chunks: string[]) =>
    () =>
      Readable.from(
        chunks.map((chunk) => Buffer.from(chunk)),
        { objectMode: false },
      );
  await assert.rejects(sink.copyBlob(descriptor, from('those bytes')), refused('HL_ERR_DIGEST', descriptor.digest));
  await assert.rejects(sink.copyBlob(descriptor, from('these')), refused('HL_ERR_DIGEST', 'found 5'));
  await assert.rejects(sink.copyBlob(descriptor, from('these bytes', '!')), refused('HL_ERR_DIGEST', 'more than'));
  await sink.copyBlob(descriptor, from('these', ' bytes'));
  const { digest, size } = await sink.putBytes(Buffer.from('{}'));
  await assert.rejects(sink.commit({ mediaType: MEDIA.manifest, digest, size }), refused('HL_ERR_IMAGE'));
  await assert.rejects(
    sink.commit({ ...descriptor, digest: digestOf(Buffer.from('never put')) }),
    refused('HL_ERR_BUG', 'manifest'),
  );
  await sink.abort();
  await sink.abort();
  assert.deepEqual(readdirSync(dir), []);
});

test('abort leaves what was there', async (t) => {
  const dir = testDir(t);
  buildLayout(join(dir, 'layout'), { layers: [tarOf()] });
  writeFileSync(join(dir, 'old.tar'), tarOf(file('x', 'y')));
  const before = snapshot(dir);
  for (const target of [
    'oci:layout:x',
    'oci:new',
    'oci-archive:old.tar',
    'oci-archive:new.tar',
    'docker-archive:new.tar:a:b',
  ]) {
    const [, scheme, rest] = /^([a-z-]+:)(.*)$/.exec(target)!;
    const sink = await openSink(`${scheme}${join(dir, rest!)}`, quick);
    await putImage(sink, 'x');
    const writer = await sink.createBlob();
    await writer.write(Buffer.from('half'));
    await sink.abort();
    await assert.rejects(writer.write(Buffer.from('more')), refused('HL_ERR_BUG'));
    assert.deepEqual(snapshot(dir), before, target);
  }
});

test('archives: same image, same bytes; read back; an old archive is replaced through a link to it', async (t) => {
  const dir = testDir(t);
  const at = (name: string) => join(dir, name);
  for (const [scheme, suffix] of [
    ['oci-archive', ':v1'],
    ['docker-archive', ':me/app:1'],
    ['docker-archive', ''],
  ] as const) {
    const digest = await put(`${scheme}:${at('a.tar')}${suffix}`, 'x');
    await put(`${scheme}:${at('b.tar')}${suffix}`, 'x');
    assert.ok(readFileSync(at('a.tar')).equals(readFileSync(at('b.tar'))));
    assert.equal(await digestAt(`${scheme}:${at('a.tar')}${suffix}`), digest);
    assert.equal(await digestAt(at('a.tar')), digest);
  }
  symlinkSync('a.tar', at('link.tar'));
  const other = await put(`oci-archive:${at('link.tar')}:v2`, 'y');
  assert.ok(lstatSync(at('link.tar')).isSymbolicLink());
  assert.equal(await digestAt(`oci-archive:${at('a.tar')}:v2`), other);
  assert.deepEqual(readdirSync(dir).sort(), ['a.tar', 'b.tar', 'link.tar']);
});

test('a sink says whether readers of its form lose annotations', async (t) => {
  const dir = testDir(t);
  for (const [reference, loses] of [
    [`oci:${dir}/o`, undefined],
    [`oci-archive:${dir}/o.tar`, undefined],
    [`docker-archive:${dir}/d.tar`, true],
  ] as const) {
    const sink = await openSink(reference, quick);
    await sink.abort();
    assert.equal(sink.losesAnnotations, loses, reference);
  }
});

test('what cannot be written to is refused, and stays as it is', async (t) => {
  const dir = testDir(t);
  const at = (name: string) => join(dir, name);
  mkdirSync(at('rootfs/etc'), { recursive: true });
  writeFileSync(at('text'), 'not an archive');
  symlinkSync('nowhere', at('dangling'));
  mkdirSync(at('broken'));
  writeFileSync(at('broken/index.json'), '{}');
  const before = snapshot(at('rootfs'));
  const rows: [string, Parameters<typeof refused>][] = [
    [`oci:${at('rootfs')}`, ['HL_ERR_USAGE', 'not an OCI layout', 'nothing was written']],
    [`oci:${at('text')}`, ['HL_ERR_USAGE', 'not a directory']],
    [`oci:${at('text')}/sub`, ['HL_ERR_USAGE', 'not a directory']],
    [`oci:${at('dangling')}`, ['HL_ERR_USAGE', 'not a directory']],
    [`oci:${at('broken')}:x`, ['HL_ERR_IMAGE', 'index.json']],
    [`oci:${at('no/such/parent')}`, ['HL_ERR_NOT_FOUND', 'mkdir -p']],
    [`oci:${at('x')}@${digestOf(Buffer.of())}`, ['HL_ERR_USAGE', 'by tag']],
    [`oci-archive:${at('text')}`, ['HL_ERR_USAGE', 'not an image archive']],
    [`docker-archive:${at('rootfs')}:a:b`, ['HL_ERR_USAGE', 'not a regular file']],
    [`docker-archive:${at('x.tar')}:@1`, ['HL_ERR_USAGE', 'by name']],
    [`oci-archive:${at('no/parent.tar')}`, ['HL_ERR_NOT_FOUND', 'mkdir -p']],
    [`dir:${at('x')}`, ['HL_ERR_USAGE', 'root file system']],
    ['127.0.0.1:1/app:1', ['HL_ERR_NETWORK', '127.0.0.1:1', 'ECONNREFUSED']],
    [at('text'), ['HL_ERR_USAGE', 'which kind']],
  ];
  for (const [reference, want] of rows) {
    await assert.rejects(openSink(reference), (error) => refused(...want)(error), reference);
  }
  assert.deepEqual(snapshot(at('rootfs')), before);
  assert.equal(readFileSync(at('text'), 'utf8'), 'not an archive');
  assert.deepEqual(readdirSync(dir).sort(), ['broken', 'dangling', 'rootfs', 'text']);
});

test('a directory that cannot be written to', async () => {
  // Nobody, root included, makes directories in /proc.
  await assert.rejects(openSink('oci:/proc/hotlayer-out'), refused('HL_ERR_IO', '/proc'));
});

test('a file system that takes no more leaves nothing behind', async (t) => {
  const dir = testDir(t);
  const script = fileURLToPath(new URL('./sink-child.js', import.meta.url));
  // Files over 4 KiB cannot be written: the layer fits, the archive does not.
  for (const target of [`oci-archive:${dir}/o.tar`, `docker-archive:${dir}/d.tar`]) {
    const { status, stderr } = spawnSync(
      'sh',
      ['-c', 'trap "" XFSZ; ulimit -f 8; echo go | exec "$0" "$@"', process.execPath, script, target, 'x'],
      { encoding: 'utf8' },
    );
    assert.notEqual(status, 0);
    assert.match(stderr, /HotlayerError: cannot write .*EFBIG/);
    assert.deepEqual(readdirSync(dir), []);
  }
});

/** sink-child.ts, once everything is staged. */
async function child(t: Parameters<typeof testDir>[0], target: string, seed: string): Promise<ChildProcess> {
  const path = fileURLToPath(new URL('./sink-child.js', import.meta.url));
  const process_ = spawn(process.execPath, [path, target, seed], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => process_.kill('SIGKILL'));
  await new Promise<void>((resolve, reject) => {
    process_.stdout!.once('data', () => resolve());
    process_.once('exit', (code) => reject(new Error(`the child ended with ${code}`)));
  });
  return process_;
}

const ended = (process_: ChildProcess) => new Promise<number | null>((resolve) => process_.once('exit', resolve));

test('SIGKILL in the middle of writing leaves the target as it was, and no temporary file', async (t) => {
  const dir = testDir(t);
  await put(`oci:${join(dir, 'layout')}:keep`, 'keep');
  await put(`oci-archive:${join(dir, 'old.tar')}`, 'keep');
  const before = snapshot(dir);
  const targets = [
    `oci:${dir}/layout:keep`,
    `oci:${dir}/new:a`,
    `oci-archive:${dir}/old.tar`,
    `docker-archive:${dir}/new.tar`,
  ];
  const children = await Promise.all(targets.map((target) => child(t, target, 'other')));
  assert.notDeepEqual(snapshot(dir), before, 'something was staged');
  for (const process_ of children) {
    const end = ended(process_);
    process_.kill('SIGKILL');
    await end;
  }
  const deadline = Date.now() + 5000;
  // The reaper works meanwhile; what it takes away while we look must not fail the test.
  while (Date.now() < deadline && readdirSync(dir).some((name) => name.startsWith('.'))) await sleep(20);
  while (Date.now() < deadline && readdirSync(join(dir, 'layout')).some((name) => name.startsWith('.')))
    await sleep(20);
  assert.deepEqual(snapshot(dir), before);
});

test('processes that write different tags at the same moment all succeed', async (t) => {
  const dir = testDir(t);
  const target = join(dir, 'out');
  const tags = ['a', 'b', 'c', 'd'];
  const children = await Promise.all(tags.map((tag) => child(t, `oci:${target}:${tag}`, tag)));
  const ends = children.map(ended);
  for (const process_ of children) process_.stdin!.write('go\n');
  assert.deepEqual(await Promise.all(ends), [0, 0, 0, 0]);
  assert.deepEqual(tagsIn(target).sort(), tags);
  for (const tag of tags) await digestAt(`oci:${target}:${tag}`);
  assert.deepEqual(readdirSync(target).sort(), ['blobs', 'index.json', 'oci-layout']);
  assert.deepEqual(readdirSync(dir), ['out']);
});
