// TLS with an authority of our own, and when http is spoken.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openImage, openSink, type RegistryOptions } from '../../src/image/index.js';
import { isLoopback } from '../../src/image/registry/endpoint.js';
import { refused } from '../support/refused.js';
import { startProxy } from '../support/registry-proxy.js';
import { testDir } from '../support/temp.js';
import { lacking } from '../support/tools.js';
import { startRegistry } from './registry-server.js';
import { putImage } from './sink-image.js';
import { makeCertificate } from './tls.js';

const skip = lacking('docker-registry', 'openssl');

const env = (t: TestContext, more: Record<string, string> = {}) => ({
  PATH: process.env.PATH!,
  HOME: testDir(t),
  ...more,
});

async function push(name: string, registry: RegistryOptions): Promise<string> {
  const sink = await openSink(name, { registry });
  try {
    const manifest = await putImage(sink, randomBytes(8).toString('hex'));
    await sink.commit(manifest);
    return manifest.digest;
  } finally {
    await sink.abort();
  }
}

async function pull(name: string, registry: RegistryOptions): Promise<string> {
  await using image = await openImage(name, { registry });
  for (const layer of image.layers) for await (const _ of layer.open());
  return image.descriptor.digest;
}

test('TLS: an authority of our own is trusted when it is named, and only then', { skip }, async (t) => {
  const dir = testDir(t);
  const tls = makeCertificate(dir, 'IP:127.0.0.1');
  const registry = await startRegistry(t, { tls });
  const name = `${registry.host}/a:1`;
  const trusting = { caFile: tls.certificate, env: env(t) };
  const digest = await push(name, trusting);
  assert.equal(await pull(name, trusting), digest);
  assert.equal(await pull(name, { env: env(t, { HOTLAYER_CA_FILE: tls.certificate }) }), digest);
  assert.equal(await pull(name, { ...trusting, plainHttp: false }), digest);
  await assert.rejects(pull(name, { env: env(t) }), refused('HL_ERR_NETWORK', 'no trusted connection', '--ca-file'));
  await assert.rejects(
    pull(name.replace('127.0.0.1', 'localhost'), trusting),
    refused('HL_ERR_NETWORK', 'no trusted connection', 'localhost'),
  );
  await assert.rejects(pull(name, { ...trusting, plainHttp: true }), refused('HL_ERR_NETWORK', '400'));
  await assert.rejects(pull(name, { caFile: join(dir, 'gone.pem') }), refused('HL_ERR_NOT_FOUND', 'gone.pem'));
  writeFileSync(join(dir, 'text'), 'no certificate');
  await assert.rejects(pull(name, { caFile: join(dir, 'text') }), refused('HL_ERR_USAGE', 'PEM'));
});

test("NODE_EXTRA_CA_CERTS counts as in any program of Node's, beside --ca-file too", { skip }, async (t) => {
  const [one, two] = [makeCertificate(testDir(t), 'IP:127.0.0.1'), makeCertificate(testDir(t), 'IP:127.0.0.1')];
  const registry = await startRegistry(t, { tls: one });
  const digest = await push(`${registry.host}/a:1`, { caFile: one.certificate, env: env(t) });
  const file = join(testDir(t), 'pull.mjs');
  const room = new URL('../../src/image/index.js', import.meta.url).href;
  writeFileSync(
    file,
    `import { openImage } from ${JSON.stringify(room)};
     const image = await openImage('${registry.host}/a:1');
     console.log(image.descriptor.digest);
     await image.close();`,
  );
  for (const more of [{}, { HOTLAYER_CA_FILE: two.certificate }]) {
    const output = execFileSync(process.execPath, [file], {
      env: env(t, { NODE_EXTRA_CA_CERTS: one.certificate, ...more }),
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    assert.equal(output.trim(), digest);
  }
});

test('http only on the loopback interface, or when it is asked for', { skip }, async (t) => {
  const registry = await startRegistry(t);
  const digest = await push(`localhost:${registry.port}/a:1`, { env: env(t) });
  assert.equal(await pull(`${registry.host}/a:1`, { env: env(t), plainHttp: true }), digest);
  await assert.rejects(
    pull(`${registry.host}/a:1`, { env: env(t), plainHttp: false }),
    refused('HL_ERR_NETWORK', '--plain-http'),
  );
  for (const host of ['127.0.0.1', '127.8.9.1', '[::1]', 'localhost', 'a.localhost']) assert.ok(isLoopback(host), host);
  for (const host of ['10.0.0.1', '127.0.0.1.example', 'localhost.example', '[::2]', '0.0.0.0', 'docker.io'])
    assert.ok(!isLoopback(host), host);
});

test('from TLS nothing leads to http: no redirect, no upload, no token', { skip }, async (t) => {
  const tls = makeCertificate(testDir(t), 'IP:127.0.0.1');
  const plain = await startProxy(t, 0, () => ({ kind: 'answer', status: 200, body: '{"token":"t"}' }));
  const answers: Record<string, { status: number; headers: Record<string, string> }> = {};
  const front = await startProxy(t, 0, (r) => ({ kind: 'answer', ...answers[r.method]! }), tls);
  const options: RegistryOptions = { caFile: tls.certificate, plainHttp: false, env: env(t) };
  answers.GET = { status: 307, headers: { location: `http://${plain.host}/` } };
  await assert.rejects(pull(`${front.host}/a:1`, options), refused('HL_ERR_NETWORK', 'from https to http:'));
  answers.POST = { status: 202, headers: { location: `http://${plain.host}/upload` } };
  await assert.rejects(push(`${front.host}/a:1`, options), refused('HL_ERR_NETWORK', 'expected https'));
  answers.GET = { status: 401, headers: { 'www-authenticate': `Bearer realm="http://${plain.host}/token"` } };
  await assert.rejects(pull(`${front.host}/a:1`, options), refused('HL_ERR_NETWORK', 'token server', 'expected https'));
  assert.equal(plain.seen.length, 0);
});
