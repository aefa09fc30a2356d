// The cache directory: documents, names, which layers are kept and which go.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Digest } from '../../src/image/digest.js';
import { Cache, defaultCacheDirectory } from '../../src/lazy/cache.js';
import { isAlive, ownMark } from '../../src/lazy/process-mark.js';
import { testDir } from '../support/temp.js';

const digest = (text: string): Digest => `sha256:${createHash('sha256').update(text).digest('hex')}`;

/** A layer with so many bytes of content, last used so long ago. */
function layer(cache: Cache, name: string, bytes: number, hoursAgo: number): string {
  const path = cache.use('layers', digest(name));
  writeFileSync(join(path, 'data'), Buffer.alloc(bytes, 1));
  const then = Date.now() / 1000 - hoursAgo * 3600;
  utimesSync(join(path, 'used'), then, then);
  return path;
}

test('where it is by default', () => {
  assert.equal(defaultCacheDirectory({ XDG_CACHE_HOME: '/x', HOME: '/home/me' }), '/x/hotlayer');
  assert.equal(defaultCacheDirectory({ XDG_CACHE_HOME: 'relative', HOME: '/home/me' }), '/home/me/.cache/hotlayer');
  assert.equal(defaultCacheDirectory({ HOME: '/home/me' }), '/home/me/.cache/hotlayer');
});

test('documents come back by digest; one that was changed does not', (t) => {
  const cache = new Cache({ directory: testDir(t) });
  const bytes = Buffer.from('{"schemaVersion":2}');
  cache.keepDocument(bytes);
  assert.deepEqual(cache.document(digest(bytes.toString())), bytes);
  assert.equal(cache.document(digest('other')), undefined);
  const file = join(cache.directory, 'v1/documents', digest(bytes.toString()).slice(7));
  writeFileSync(file, '{"schemaVersion":3}');
  assert.equal(cache.document(digest(bytes.toString())), undefined);
});

test('names by platform', (t) => {
  const cache = new Cache({ directory: testDir(t) });
  const descriptor = { mediaType: 'a/b', digest: digest('m'), size: 3 };
  cache.keepName('host/app:1', 'linux/amd64', descriptor);
  assert.deepEqual(cache.name('host/app:1', 'linux/amd64'), descriptor);
  assert.equal(cache.name('host/app:1', 'linux/arm64'), undefined);
  assert.equal(cache.name('host/app:2', 'linux/amd64'), undefined);
});

test('what was not used for longest goes first, until the rest fits; what is in use stays', (t) => {
  const directory = testDir(t);
  const cache = new Cache({ directory, limit: 250_000 });
  const old = layer(cache, 'old', 100_000, 5);
  const middle = layer(cache, 'middle', 100_000, 3);
  const fresh = layer(cache, 'fresh', 100_000, 1);
  assert.equal(cache.evict(), 0, 'all three are in use by this process');
  cache.close();
  const user = new Cache({ directory });
  user.use('layers', digest('old'));
  const then = Date.now() / 1000 - 5 * 3600;
  utimesSync(join(old, 'used'), then, then);
  assert.ok(cache.evict() >= 100_000);
  assert.deepEqual([old, middle, fresh].map(existsSync), [true, false, true]);
  assert.deepEqual(readdirSync(join(directory, 'v1/trash')), []);
  user.close();
  assert.ok(new Cache({ directory, limit: 0 }).evict() >= 200_000);
  assert.deepEqual(readdirSync(join(directory, 'v1/layers')), []);
  assert.equal(cache.size(), 0);
});

test('the mark of a process that was killed does not count; neither does its pid, used again', async (t) => {
  const directory = testDir(t);
  const cache = new Cache({ directory, limit: 0 });
  const path = layer(cache, 'a', 10_000, 1);
  cache.close();
  const child = spawn('sleep', ['60']);
  t.after(() => child.kill('SIGKILL'));
  const [pid, start] = ownMark().split('-');
  assert.ok(isAlive(`${pid}-${start}`));
  assert.ok(!isAlive(`${child.pid}-${start}`));
  writeFileSync(join(path, 'users', `${child.pid}-1`), '');
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
  assert.ok(cache.evict() >= 10_000);
  assert.ok(!existsSync(path));
});

test('what a crash left behind goes: trash, and staged files after an hour', (t) => {
  const directory = testDir(t);
  const cache = new Cache({ directory });
  mkdirSync(join(directory, 'v1/trash/x/users'), { recursive: true });
  const path = layer(cache, 'a', 10, 0);
  for (const [name, hours] of [['toc.1-ab.tmp', 2] as const, ['toc.2-cd.tmp', 0] as const]) {
    writeFileSync(join(path, name), 'x');
    const then = Date.now() / 1000 - hours * 3600;
    utimesSync(join(path, name), then, then);
  }
  cache.evict();
  assert.deepEqual(readdirSync(join(directory, 'v1/trash')), []);
  assert.deepEqual(
    readdirSync(path).filter((name) => name.endsWith('.tmp')),
    ['toc.2-cd.tmp'],
  );
});

test('nobody else may read it; a place that cannot be written is said', { skip: process.getuid!() === 0 }, (t) => {
  const directory = testDir(t);
  chmodSync(directory, 0o500);
  assert.throws(() => new Cache({ directory: join(directory, 'cache') }), { code: 'HL_ERR_IO' });
});

test('modes', (t) => {
  const cache = new Cache({ directory: join(testDir(t), 'cache') });
  assert.equal(statSync(join(cache.directory, 'v1')).mode & 0o777, 0o700);
  const file = join(testDir(t), 'file');
  writeFileSync(file, '');
  assert.throws(() => new Cache({ directory: file }), { code: 'HL_ERR_IO' });
});
