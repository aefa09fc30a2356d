// Who may read and write: Basic against the real registry, tokens from a server of our own before it, credentials from
// where docker and podman keep them. And that no credential goes where it should not: another host, a message.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { openImage, openRepository, openSink, type RegistryOptions, sha256 } from '../../src/image/index.js';
import { findCredentials } from '../../src/image/registry/credential-files.js';
import { refused } from '../support/refused.js';
import { startProxy } from '../support/registry-proxy.js';
import { testDir } from '../support/temp.js';
import { lacking } from '../support/tools.js';
import { PASSWORD, startRegistry, USER } from './registry-server.js';
import { putImage } from './sink-image.js';
import { startTokenRegistry } from './token-server.js';

const skip = lacking('docker-registry');
const AUTH = Buffer.from(`${USER}:${PASSWORD}`).toString('base64');
const FAST = { baseMs: 2, maxMs: 10 };

/** An environment whose home has these files; values are written as JSON. */
function home(t: TestContext, files: Record<string, unknown> = {}, more: Record<string, string> = {}) {
  const dir = testDir(t);
  for (const [name, content] of Object.entries(files)) {
    const path = join(dir, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
    if (typeof content === 'string') chmodSync(path, 0o755);
  }
  const env: Record<string, string> = { PATH: `${dir}/bin:${process.env.PATH}`, HOME: dir };
  for (const [name, value] of Object.entries(more)) env[name] = value.replace('~', dir);
  return env;
}

/** The options of a user who has logged in as docker does it. */
function loggedIn(t: TestContext, host: string, entry: object = { auth: AUTH }): RegistryOptions {
  return { env: home(t, { '.docker/config.json': { auths: { [host]: entry } } }), retry: FAST };
}

async function pushImage(reference: string, registry: RegistryOptions): Promise<string> {
  const sink = await openSink(reference, { registry });
  try {
    const manifest = await putImage(sink, randomBytes(8).toString('hex'));
    await sink.commit(manifest);
    return manifest.digest;
  } finally {
    await sink.abort();
  }
}

async function pullImage(reference: string, registry: RegistryOptions): Promise<string> {
  await using image = await openImage(reference, { registry });
  for (const layer of image.layers) for await (const _ of layer.open());
  return image.descriptor.digest;
}

/** The error with all that a user may come to see of it, its causes and stack included, names no secret. */
async function failsQuietly(work: Promise<unknown>, want: Parameters<typeof refused>, ...secrets: string[]) {
  const error = await work.then(
    () => assert.fail('expected a failure'),
    (e: unknown) => e,
  );
  refused(...want)(error);
  let text = '';
  for (let e = error as Error & { hint?: string }; e; e = e.cause as typeof e)
    text += `${e.stack} ${e.hint} ${JSON.stringify(e)}`;
  for (const secret of secrets) assert.ok(!text.includes(secret), `${secret} is in ${text}`);
}

test('Basic: with credentials, without, and with wrong ones', { skip }, async (t) => {
  const registry = await startRegistry(t, { basic: true });
  const name = `${registry.host}/team/app:1`;
  const good = loggedIn(t, registry.host);
  const digest = await pushImage(name, good);
  assert.equal(await pullImage(name, good), digest);
  const none = { env: home(t), retry: FAST };
  await failsQuietly(pullImage(name, none), ['HL_ERR_AUTH', '401', `docker login ${registry.host}`]);
  await failsQuietly(pushImage(name, none), ['HL_ERR_AUTH', '401']);
  const wrong = loggedIn(t, registry.host, { username: USER, password: 'wrong-password' });
  await failsQuietly(
    pullImage(name, wrong),
    ['HL_ERR_AUTH', '401'],
    'wrong-password',
    Buffer.from(`${USER}:wrong-password`).toString('base64'),
  );
});

test('skopeo logs in, hotlayer uses its file', { skip: lacking('docker-registry', 'skopeo') }, async (t) => {
  const registry = await startRegistry(t, { basic: true });
  const file = join(testDir(t), 'auth.json');
  execFileSync(
    'skopeo',
    ['login', '--tls-verify=false', '--authfile', file, '-u', USER, '-p', PASSWORD, registry.host],
    { stdio: 'pipe' },
  );
  const digest = await pushImage(`${registry.host}/a:1`, { authFile: file, retry: FAST });
  assert.equal(
    await pullImage(`${registry.host}/a:1`, { env: home(t, {}, { REGISTRY_AUTH_FILE: file }), retry: FAST }),
    digest,
  );
});

const HELPER = (name: string, body: string) => ({
  [`bin/docker-credential-${name}`]: `#!/bin/sh\nread server\n${body}\n`,
});

test('where credentials are found', async (t) => {
  const host = 'reg.example:5000';
  const auth = (user: string) => ({ auth: Buffer.from(`${user}:secret-${user}`).toString('base64') });
  const auths = (key: string, user: string) => ({ auths: { [key]: auth(user) } });
  const helper = HELPER(
    'test',
    'case $server in reg.example:5000) echo \'{"ServerURL":"x","Username":"helped","Secret":"s"}\';; *) echo "credentials not found in native keychain"; exit 1;; esac',
  );
  const token = HELPER('token', 'echo \'{"Username":"<token>","Secret":"refresh"}\'');
  const rows: [string, Record<string, unknown>, Record<string, string>, string | undefined][] = [
    ['nothing', {}, {}, undefined],
    ['docker', { '.docker/config.json': auths(host, 'd') }, {}, 'd'],
    ['a URL as key', { '.docker/config.json': auths(`https://${host}/v1/`, 'd') }, {}, 'd'],
    ['another host', { '.docker/config.json': auths('reg.example', 'd') }, {}, undefined],
    ['user and password', { '.docker/config.json': { auths: { [host]: { username: 'u', password: 'p' } } } }, {}, 'u'],
    [
      'podman before docker',
      { '.docker/config.json': auths(host, 'd'), '.config/containers/auth.json': auths(host, 'p') },
      {},
      'p',
    ],
    [
      'podman, run time',
      { 'run/containers/auth.json': auths(host, 'r'), '.config/containers/auth.json': auths(host, 'p') },
      { XDG_RUNTIME_DIR: '~/run' },
      'r',
    ],
    [
      'DOCKER_CONFIG',
      { 'dc/config.json': auths(host, 'c'), '.config/containers/auth.json': auths(host, 'p') },
      { DOCKER_CONFIG: '~/dc' },
      'c',
    ],
    [
      'REGISTRY_AUTH_FILE',
      { f: auths(host, 'f'), 'dc/config.json': auths(host, 'c') },
      { REGISTRY_AUTH_FILE: '~/f', DOCKER_CONFIG: '~/dc' },
      'f',
    ],
    [
      'the next file when the first knows nothing',
      { f: auths('other', 'f'), '.docker/config.json': auths(host, 'd') },
      { REGISTRY_AUTH_FILE: '~/f' },
      'd',
    ],
    [
      'the repository',
      {
        f: {
          auths: {
            [host]: auth('h'),
            [`${host}/team`]: auth('t'),
            [`${host}/team/app`]: auth('a'),
            [`${host}/team/app2`]: auth('no'),
          },
        },
      },
      { REGISTRY_AUTH_FILE: '~/f' },
      'a',
    ],
    [
      'its parent',
      { f: { auths: { [host]: auth('h'), [`${host}/team`]: auth('t'), [`${host}/te`]: auth('no') } } },
      { REGISTRY_AUTH_FILE: '~/f' },
      't',
    ],
    [
      'credHelpers',
      { '.docker/config.json': { credHelpers: { [host]: 'test' }, ...auths(host, 'd') }, ...helper },
      {},
      'helped',
    ],
    ['credsStore', { '.docker/config.json': { credsStore: 'test', auths: { [host]: {} } }, ...helper }, {}, 'helped'],
    [
      'credsStore that does not know',
      {
        '.docker/config.json': { credsStore: 'none' },
        ...HELPER('none', 'echo credentials not found in native keychain; exit 1'),
      },
      {},
      undefined,
    ],
    [
      'identity token',
      { '.docker/config.json': { auths: { [host]: { identitytoken: 'refresh', ...auth('00000000') } } } },
      {},
      'identity:refresh',
    ],
    [
      'identity token of a helper',
      { '.docker/config.json': { credsStore: 'token' }, ...token },
      {},
      'identity:refresh',
    ],
    ['registry token', { '.docker/config.json': { auths: { [host]: { registrytoken: 'bear' } } } }, {}, 'bearer:bear'],
    ['an empty file', { f: '' }, { REGISTRY_AUTH_FILE: '~/f' }, undefined],
  ];
  for (const [name, files, more, want] of rows) {
    const found = await findCredentials(host, 'team/app', { env: home(t, files, more) });
    const shown = found && (found.kind === 'password' ? found.username : `${found.kind}:${found.token}`);
    assert.equal(shown, want, name);
  }
  const hub = { '.docker/config.json': auths('https://index.docker.io/v1/', 'hub') };
  assert.equal((await findCredentials('docker.io', 'library/x', { env: home(t, hub) }))?.kind, 'password');
  const colon = { '.docker/config.json': { auths: { [host]: { auth: AUTH } } } };
  assert.deepEqual(await findCredentials(host, 'x', { env: home(t, colon) }), {
    kind: 'password',
    username: USER,
    password: PASSWORD,
  });
});

test('credentials that cannot be read', async (t) => {
  const find = (files: Record<string, unknown>) => findCredentials('h.example', 'x', { env: home(t, files) });
  const store = (name: string, helper: object = {}) => ({ '.docker/config.json': { credsStore: name }, ...helper });
  const rows: [Record<string, unknown>, Parameters<typeof refused>][] = [
    [
      { '.docker/config.json': '{"auths": {"h.example": {"auth": "c2VjcmV0"}}' },
      ['HL_ERR_DATA', 'config.json', 'not JSON'],
    ],
    [{ '.docker/config.json': { auths: { 'h.example': { auth: 'c2VjcmV0' } } } }, ['HL_ERR_DATA', 'user:password']],
    [store('gone'), ['HL_ERR_AUTH', 'docker-credential-gone', 'ENOENT']],
    [store('../../bin/sh'), ['HL_ERR_AUTH', 'not a name']],
    [store('bad', HELPER('bad', 'echo locked keychain; exit 3')), ['HL_ERR_AUTH', 'status 3: locked keychain']],
    [
      store('leak', HELPER('leak', 'echo \'{"Username":"u","Secret":"c2VjcmV0"}\'; exit 3')),
      ['HL_ERR_AUTH', 'status 3'],
    ],
    [store('odd', HELPER('odd', 'echo c2VjcmV0')), ['HL_ERR_AUTH', 'JSON']],
  ];
  for (const [files, want] of rows) await failsQuietly(find(files), want, 'c2VjcmV0');
});

test('tokens: anonymous, by scope, shared by parallel requests', { skip }, async (t) => {
  const server = await startTokenRegistry(t, { anonymousPull: true });
  const name = `${server.host}/team/app:1`;
  const user = loggedIn(t, server.host);
  const digest = await pushImage(name, user);
  assert.ok(server.grants.every((g) => g.scopes.join() === 'repository:team/app:pull,push' && g.user === USER));
  assert.equal(server.grants.length, 1, 'one token for all of it');
  server.grants.length = 0;
  assert.equal(await pullImage(name, { env: home(t), retry: FAST }), digest);
  assert.deepEqual(server.grants, [{ user: undefined, scopes: ['repository:team/app:pull'], via: 'GET' }]);
  await failsQuietly(pushImage(name, { env: home(t), retry: FAST }), ['HL_ERR_AUTH', 'token']);
  await failsQuietly(
    pullImage(name, loggedIn(t, server.host, { username: USER, password: 'wrong-password' })),
    ['HL_ERR_AUTH', 'token', 'log in again'],
    'wrong-password',
  );
});

test('tokens: expired, revoked and refused ones are replaced; a mount asks for both repositories', {
  skip,
}, async (t) => {
  const server = await startTokenRegistry(t, { lifetimeSeconds: 1 });
  const user = loggedIn(t, server.host);
  const digest = await pushImage(`${server.host}/a:1`, user);
  assert.ok(server.grants.length > 1, 'one that lives for a second is not used again');
  server.lifetimeSeconds = 300;
  await using image = await openImage(`${server.host}/a:1`, { registry: user });
  server.revokeAll();
  for (const layer of image.layers) for await (const _ of layer.open());
  assert.equal(image.descriptor.digest, digest);

  server.grants.length = 0;
  const sink = await openSink(`${server.host}/b:1`, { registry: user, mountFrom: [`${server.host}/a:1`] });
  server.revokeAll();
  for (const layer of image.layers) await sink.copyBlob(layer.descriptor, () => assert.fail('mounted'));
  await sink.abort();
  assert.ok(server.grants.some((g) => g.scopes.join(' ') === 'repository:a:pull repository:b:pull,push'));

  // Revoked while a large blob is on its way, chunk by chunk.
  const bytes = randomBytes(900_000);
  const repository = await openRepository({ host: server.host, repository: 'c' }, 'pull,push', {
    ...user,
    chunkSize: 200_000,
  });
  const begun = new Set<number>();
  const open = (start: number, end: number) => {
    if (!begun.has(start)) server.revokeAll();
    begun.add(start);
    return Readable.from([bytes.subarray(start, end)], { objectMode: false });
  };
  assert.equal(await repository.pushBlob({ digest: sha256(bytes), size: bytes.length, open }), 'uploaded');
  await repository.close();
});

test('tokens: one that is refused while a download is being resumed is replaced', { skip }, async (t) => {
  const server = await startTokenRegistry(t);
  const user = loggedIn(t, server.host);
  const bytes = randomBytes(700_000);
  const digest = sha256(bytes);
  const open = (start: number, end: number) => Readable.from([bytes.subarray(start, end)], { objectMode: false });
  const repository = await openRepository({ host: server.host, repository: 'a' }, 'pull,push', user);
  await repository.pushBlob({ digest, size: bytes.length, open });
  const parts: Buffer[] = [];
  server.breaks.push(200_000, 400_000);
  for await (const chunk of repository.openBlob({ mediaType: '', digest, size: bytes.length })) {
    // Whatever was given out so far is worth nothing when the connection breaks.
    server.revokeAll();
    parts.push(chunk as Buffer);
  }
  await repository.close();
  assert.equal(server.breaks.length, 0);
  assert.ok(Buffer.concat(parts).equals(bytes));
  assert.equal(server.grants.length, 3, 'the first, and one after each break');
});

test('tokens: an identity token is exchanged, a registry token is used as it is', { skip }, async (t) => {
  const server = await startTokenRegistry(t);
  const identity = loggedIn(t, server.host, { identitytoken: server.identityToken });
  const digest = await pushImage(`${server.host}/a:1`, identity);
  assert.ok(server.grants.every((g) => g.via === 'POST'));
  const bearer = server.issue(['repository:a:pull']);
  assert.equal(await pullImage(`${server.host}/a:1`, loggedIn(t, server.host, { registrytoken: bearer })), digest);
  await failsQuietly(
    pullImage(`${server.host}/a:1`, loggedIn(t, server.host, { identitytoken: 'stale-identity' })),
    ['HL_ERR_AUTH', 'log in again'],
    'stale-identity',
  );
});

test('a server of tokens in trouble is asked again; what it says is not believed blindly', { skip }, async (t) => {
  const server = await startTokenRegistry(t, { anonymousPull: true });
  const name = `${server.host}/a:1`;
  const digest = await pushImage(name, loggedIn(t, server.host));
  server.faults.push({ status: 503 }, { status: 429, headers: { 'retry-after': '0' } });
  assert.equal(await pullImage(name, { env: home(t), retry: FAST }), digest);
  const rows: [{ status: number; body?: string }, Parameters<typeof refused>][] = [
    [{ status: 200, body: '<html>' }, ['HL_ERR_NETWORK', 'JSON']],
    [{ status: 200, body: '{}' }, ['HL_ERR_NETWORK', 'without a token']],
    [{ status: 200, body: '{"token":"a\\r\\nb"}' }, ['HL_ERR_NETWORK', 'without a token']],
    [{ status: 200, body: '{"token":"of-no-use"}' }, ['HL_ERR_AUTH', '401']],
  ];
  for (const [fault, want] of rows) {
    server.faults.push(fault, fault, fault, fault);
    await failsQuietly(pullImage(name, { env: home(t), retry: FAST }), want, 'of-no-use');
    server.faults.length = 0;
  }
});

test('credentials stay with the host they are for', { skip }, async (t) => {
  const registry = await startRegistry(t, { basic: true });
  const name = `${registry.host}/a:1`;
  const digest = await pushImage(name, loggedIn(t, registry.host));
  // Storage elsewhere, as registries in clouds have it: it serves blobs without asking who wants them.
  const inside = await startProxy(t, registry.port);
  const basic = `Basic ${AUTH}`;
  const storage = await startProxy(t, 0, () => ({ kind: 'answer', status: 500 }));
  const front = await startProxy(t, registry.port, (r) =>
    r.url.includes('/blobs/sha256:') && r.headers.authorization === basic
      ? { kind: 'answer', status: 307, headers: { location: `http://${storage.host}${r.url}?signature=signed-secret` } }
      : undefined,
  );
  const user = loggedIn(t, front.host);
  await failsQuietly(
    pullImage(`${front.host}/a:1`, user),
    ['HL_ERR_NETWORK', storage.host, '500'],
    'signed-secret',
    PASSWORD,
    AUTH,
  );
  assert.ok(storage.seen.length > 0);
  for (const request of storage.seen) assert.equal(request.headers.authorization, undefined);

  // The same for where uploads go.
  front.rule = (r) =>
    r.method === 'POST' && r.headers.authorization
      ? { kind: 'answer', status: 202, headers: { location: `http://${storage.host}/upload?signature=signed-secret` } }
      : undefined;
  storage.seen.length = 0;
  storage.rule = () => ({ kind: 'answer', status: 401, headers: { 'www-authenticate': 'Basic realm="give me more"' } });
  const repository = await openRepository({ host: front.host, repository: 'a' }, 'pull,push', user);
  const source = {
    digest: sha256(Buffer.from('x')),
    size: 1,
    open: () => Readable.from([Buffer.from('x')], { objectMode: false }),
  };
  await failsQuietly(
    repository.pushBlob(source),
    ['HL_ERR_AUTH', storage.host, '401'],
    'signed-secret',
    PASSWORD,
    AUTH,
  );
  await repository.close();
  assert.deepEqual([...new Set(storage.seen.map((r) => r.headers.authorization))], [undefined]);

  // A redirect within the host keeps them; one that never ends is ended.
  front.rule = (r) =>
    r.url.includes('/manifests/1') && !r.url.includes('again')
      ? { kind: 'answer', status: 302, headers: { location: `${r.url}?again` } }
      : undefined;
  assert.equal(await pullImage(`${front.host}/a:1`, user), digest);
  front.rule = (r) =>
    r.url.includes('/manifests/') ? { kind: 'answer', status: 302, headers: { location: r.url } } : undefined;
  await failsQuietly(pullImage(`${front.host}/a:1`, user), ['HL_ERR_NETWORK', 'redirects']);
  front.rule = () => ({ kind: 'answer', status: 302, headers: { location: 'file:///etc/passwd' } });
  await failsQuietly(pullImage(`${front.host}/a:1`, user), ['HL_ERR_NETWORK', 'file:']);
  assert.equal(inside.seen.length, 0);
});

test('an error text that repeats credentials is cleaned, and cut to size', { skip }, async (t) => {
  const registry = await startRegistry(t, { basic: true });
  const front = await startProxy(t, registry.port, (r) =>
    r.headers.authorization
      ? {
          kind: 'answer',
          status: 400,
          body: JSON.stringify({
            errors: [
              { code: 'ODD', message: `you sent ${r.headers.authorization} ${PASSWORD} \u001b[31m${'x'.repeat(5000)}` },
            ],
          }),
        }
      : undefined,
  );
  const work = pullImage(`${front.host}/a:1`, loggedIn(t, front.host));
  await failsQuietly(
    work,
    ['HL_ERR_NETWORK', 'ODD: you sent Basic *** *** [31mxxx'],
    PASSWORD,
    AUTH,
    '\u001b',
    'x'.repeat(1000),
  );
});
