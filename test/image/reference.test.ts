import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatReference, type Probe, parseReference, type Reference } from '../../src/image/reference.js';
import { formatRegistryName, parseRegistryName } from '../../src/image/registry-name.js';
import { refused } from '../support/refused.js';

const D = `sha256:${'a'.repeat(64)}` as const;
const nothing: Probe = () => undefined;
const disk =
  (files: Record<string, ReturnType<Probe>>): Probe =>
  (path) =>
    files[path];

test('references with a scheme', () => {
  const rows: [string, Reference][] = [
    ['oci:dir', { kind: 'oci', path: 'dir' }],
    ['oci:/a/b:v1', { kind: 'oci', path: '/a/b', tag: 'v1' }],
    ['oci:d:docker.io/library/x:1', { kind: 'oci', path: 'd', tag: 'docker.io/library/x:1' }],
    [`oci:d@${D}`, { kind: 'oci', path: 'd', digest: D }],
    ['oci-archive:x.tar', { kind: 'oci-archive', path: 'x.tar' }],
    ['oci-archive:x.tar:t', { kind: 'oci-archive', path: 'x.tar', tag: 't' }],
    ['docker-archive:x.tar', { kind: 'docker-archive', path: 'x.tar' }],
    ['docker-archive:x.tar:me/app:1', { kind: 'docker-archive', path: 'x.tar', name: 'me/app:1' }],
    ['docker-archive:x.tar:@2', { kind: 'docker-archive', path: 'x.tar', position: 2 }],
    ['dir:a:b', { kind: 'dir', path: 'a:b' }],
  ];
  for (const [text, want] of rows) {
    assert.deepEqual(parseReference(text, nothing), want, text);
    assert.equal(formatReference(want), text);
  }
});

test('a path may hold colons when it exists', () => {
  const probe = disk({ 'a:b': 'layout', 'a:b.tar': 'file' });
  assert.deepEqual(parseReference('oci:a:b', probe), { kind: 'oci', path: 'a:b' });
  assert.deepEqual(parseReference('oci:a:b:t', probe), { kind: 'oci', path: 'a:b', tag: 't' });
  assert.deepEqual(parseReference('oci-archive:a:b.tar:t', probe), { kind: 'oci-archive', path: 'a:b.tar', tag: 't' });
  assert.deepEqual(parseReference('oci:c:b', probe), { kind: 'oci', path: 'c', tag: 'b' });
});

test('a bare path is looked at', () => {
  const probe = disk({ './l': 'layout', 'x.tar': 'file', '/root': 'directory' });
  assert.deepEqual(parseReference('./l:v', probe), { kind: 'oci', path: './l', tag: 'v' });
  assert.deepEqual(parseReference('x.tar', probe), { kind: 'archive', path: 'x.tar' });
  assert.throws(() => parseReference('/root', probe), refused('HL_ERR_USAGE', 'dir:/root'));
  assert.throws(() => parseReference('./gone', probe), refused('HL_ERR_NOT_FOUND', './gone'));
});

test('what names nothing is refused', () => {
  for (const text of [
    '',
    'oci:',
    'oci:d:-bad-',
    'oci:d:',
    'docker-archive:f:UPPER',
    'UPPER CASE',
    'a\0b',
    `docker-archive:f:a@${D}`,
  ]) {
    assert.throws(() => parseReference(text, nothing), refused('HL_ERR_USAGE'), text);
  }
});

test('names in registries', () => {
  const rows: [string, string][] = [
    ['app', 'docker.io/library/app:latest'],
    ['me/app:1', 'docker.io/me/app:1'],
    ['docker://quay.io/me/app', 'quay.io/me/app:latest'],
    ['localhost/app', 'localhost/app:latest'],
    ['localhost:5000/app:x', 'localhost:5000/app:x'],
    ['[::1]:5000/app', '[::1]:5000/app:latest'],
    [`app@${D}`, `docker.io/library/app@${D}`],
    [`h.example/app:1@${D}`, `h.example/app:1@${D}`],
  ];
  for (const [text, want] of rows) {
    const reference = parseReference(text, nothing);
    assert.equal(reference.kind, 'registry', text);
    assert.equal(formatReference(reference), want);
    assert.equal(formatRegistryName(parseRegistryName(want)), want);
  }
  for (const bad of ['a//b', 'a:', 'a@sha256:1', 'a:-x', '-a', 'a..b', `a:${'t'.repeat(129)}`, 'x'.repeat(256)]) {
    assert.throws(() => parseRegistryName(bad), refused('HL_ERR_USAGE'), bad);
  }
});

test('a password in a name is refused, and not repeated', () => {
  for (const text of [
    'user:hunter2@host.example/app:1',
    'https://user:hunter2@host.example/app',
    'docker://hunter2@host.example/app:1',
    `user:hun@ter2@host.example:5000/app@${D}`,
    'docker-archive:f:user:hunter2@host.example/app:1',
    'app:hunter2@latest',
  ]) {
    assert.throws(
      () => parseReference(text, nothing),
      (error: Error) =>
        refused('HL_ERR_USAGE', 'user or password', 'docker login')(error) && !/hun|ter2/.test(error.stack!),
      text,
    );
  }
  assert.throws(
    () => parseReference('app@latest', nothing),
    refused('HL_ERR_USAGE', '"latest" is not a sha256 digest'),
  );
  assert.throws(() => parseReference('host.example/app:1@sha256:12', nothing), refused('HL_ERR_USAGE', 'sha256:12'));
});
