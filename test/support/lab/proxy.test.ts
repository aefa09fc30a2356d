// The throttling proxy against clients and servers on loopback: what arrives, when, and what is counted.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type RequestListener, request } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { type Network, ThrottlingProxy } from './proxy.js';

async function serve(t: TestContext, listener: RequestListener, network?: Network): Promise<ThrottlingProxy> {
  const server = createServer(listener);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const proxy = await ThrottlingProxy.start((server.address() as AddressInfo).port, network);
  t.after(async () => {
    await proxy.close();
    server.closeAllConnections();
    server.close();
  });
  return proxy;
}

/** Over a connection of its own. */
function get(proxy: ThrottlingProxy): Promise<{ body: Buffer; ms: number }> {
  const began = performance.now();
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port: proxy.port, agent: false }, (answer) => {
      const pieces: Buffer[] = [];
      answer.on('data', (piece) => pieces.push(piece));
      answer.on('error', reject);
      answer.on('end', () => resolve({ body: Buffer.concat(pieces), ms: performance.now() - began }));
    });
    sent.on('error', reject);
    sent.end();
  });
}

test('bytes pass unchanged and are counted', async (t) => {
  const sent = randomBytes(3_000_000);
  const proxy = await serve(t, (_, answer) => answer.end(sent));
  const { body } = await get(proxy);
  assert.ok(body.equals(sent));
  const { connections, requests, down, up } = proxy.traffic();
  assert.deepEqual([connections, requests], [1, 1]);
  assert.ok(down > sent.length && down < sent.length + 1000, `${down} bytes down`);
  assert.ok(up > 0 && up < 1000, `${up} bytes up`);
  proxy.reset();
  assert.deepEqual(proxy.traffic(), { connections: 0, requests: 0, down: 0, up: 0 });
});

/** ms of an answer: a busy machine makes single ones late, so there are ten attempts at one below `limit`. */
async function timeBelow(proxy: ThrottlingProxy, limit: number): Promise<number> {
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 10 && best >= limit; i += 1) best = Math.min(best, (await get(proxy)).ms);
  assert.ok(best < limit, `answered after ${best} ms`);
  return best;
}

test('a new connection costs one round trip, its request another', async (t) => {
  const proxy = await serve(t, (_, answer) => answer.end('x'), { rtt: 100, mbit: 0 });
  const ms = await timeBelow(proxy, 299); // three
  assert.ok(ms >= 199, `answered after ${ms} ms`);
});

test('connections share one link', async (t) => {
  // 2 × 250 kB at 16 Mbit/s: 250 ms together, 125 ms if each had a link of its own.
  const sent = randomBytes(250_000);
  const proxy = await serve(t, (_, answer) => answer.end(sent), { rtt: 0, mbit: 16 });
  const answers = await Promise.all([get(proxy), get(proxy)]);
  for (const { body } of answers) assert.ok(body.equals(sent));
  const last = Math.max(...answers.map(({ ms }) => ms));
  assert.ok(last > 245, `both in ${last} ms: faster than the link`);
});

test('the network can change under way', async (t) => {
  const proxy = await serve(t, (_, answer) => answer.end('x'));
  await timeBelow(proxy, 100);
  proxy.setNetwork({ rtt: 100, mbit: 0 });
  assert.ok((await get(proxy)).ms >= 199);
});

test('what a server said before it closed still arrives, and its end', async (t) => {
  const server = createTcpServer((socket) => socket.end(Buffer.alloc(200_000, 'x')));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  await using proxy = await ThrottlingProxy.start((server.address() as AddressInfo).port, { rtt: 20, mbit: 50 });
  const client = connect(proxy.port, '127.0.0.1');
  let bytes = 0;
  client.on('data', (piece) => {
    bytes += piece.length;
  });
  await once(client, 'end');
  assert.equal(bytes, 200_000);
});

test('a server that is not there: the connection is broken off, the proxy goes on', async () => {
  const gone = createTcpServer().listen(0, '127.0.0.1');
  await once(gone, 'listening');
  const { port } = gone.address() as AddressInfo;
  gone.close();
  await using proxy = await ThrottlingProxy.start(port);
  for (let i = 0; i < 2; i += 1) await assert.rejects(get(proxy), /ECONNRESET|socket hang up/);
  assert.equal(proxy.traffic().connections, 2);
});
