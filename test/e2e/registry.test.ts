// The commands with images in a registry that wants TLS and a password: nothing is on disk before or after.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { PASSWORD, startRegistry, storedTag, USER } from '../image/registry-server.js';
import { makeCertificate } from '../image/tls.js';
import { testDir } from '../support/temp.js';
import { lacking } from '../support/tools.js';
import { expectCli, noFuse } from './cli.js';
import { sampleImage } from './sample.js';

const tools = lacking('docker-registry', 'skopeo', 'openssl');

test('optimize, verify and inspect from a registry to the same', { skip: tools || noFuse() }, async (t) => {
  const dir = testDir(t);
  const tls = makeCertificate(dir, 'IP:127.0.0.1');
  const registry = await startRegistry(t, { tls, basic: true });
  const built = sampleImage(join(dir, 'image'));
  const certificates = join(dir, 'certificates');
  mkdirSync(certificates);
  execFileSync('cp', [tls.certificate, join(certificates, 'ca.crt')]);
  const skopeo = (...args: string[]) => execFileSync('skopeo', ['--insecure-policy', ...args], { stdio: 'pipe' });
  const [app, hot] = [`${registry.host}/team/app:1`, `${registry.host}/team/app:1-hot`];
  const creds = `${USER}:${PASSWORD}`;
  skopeo('copy', '--dest-cert-dir', certificates, '--dest-creds', creds, built.reference, `docker://${app}`);

  mkdirSync(join(dir, 'docker'));
  const auths = { [registry.host]: { auth: Buffer.from(creds).toString('base64') } };
  writeFileSync(join(dir, 'docker', 'config.json'), JSON.stringify({ auths }));
  mkdirSync(join(dir, 'tmp'));
  const env = {
    DOCKER_CONFIG: join(dir, 'docker'),
    HOTLAYER_CA_FILE: tls.certificate,
    HOTLAYER_TMPDIR: join(dir, 'tmp'),
  };
  const cwd = dir;

  const optimized = await expectCli(0, ['optimize', '--json', '--runs', '1', app, hot], { env, cwd });
  const { result } = JSON.parse(optimized.stdout);
  assert.equal(storedTag(registry, 'team/app', '1-hot'), result.manifest.digest);
  assert.equal(storedTag(registry, 'team/app', '1'), built.manifest.digest, 'the source is what it was');
  await expectCli(0, ['verify', app, hot], { env, cwd });
  const inspected = await expectCli(0, ['inspect', '--json', hot], { env, cwd });
  assert.ok(JSON.parse(inspected.stdout).layers.length > 0);
  skopeo('copy', '--src-cert-dir', certificates, '--src-creds', creds, `docker://${hot}`, `oci:${join(dir, 'out')}:x`);
  await expectCli(0, ['verify', built.reference, `oci:${join(dir, 'out')}:x`], { env, cwd });
  assert.deepEqual(readdirSync(join(dir, 'tmp')), []);

  // By digest, and without TLS where that is asked for.
  const [tagged, digested] = [app, `${registry.host}/team/app@${built.manifest.digest}`];
  await expectCli(0, ['profile', '--runs', '1', '-o', 'by-digest.json', `docker://${digested}`], { env, cwd });
  const dry = await expectCli(0, ['optimize', '--json', '-p', 'by-digest.json', '--dry-run', tagged, hot], {
    env,
    cwd,
  });
  assert.doesNotMatch(dry.stderr, /the profile was made of/, 'the digest of the profile is that of the image');
  const plain = await expectCli(4, ['inspect', '--plain-http', app], { env, cwd });
  assert.match(plain.stderr, /answered 400/);

  const stranger = { ...env, DOCKER_CONFIG: dir };
  const denied = await expectCli(3, ['optimize', '--no-profile', app, hot], { env: stranger, cwd });
  assert.match(denied.stderr, /HL_ERR_AUTH/);
  assert.match(denied.stderr, /docker login/);
  const untrusted = await expectCli(4, ['inspect', app], { env: { DOCKER_CONFIG: env.DOCKER_CONFIG }, cwd });
  assert.match(untrusted.stderr, /--ca-file/);
  assert.doesNotMatch(optimized.stderr + denied.stderr + untrusted.stderr, new RegExp(PASSWORD));
});
