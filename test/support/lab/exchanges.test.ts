// What the proxy tells of the requests that pass through it.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, createServer, type RequestListener, request } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { ExchangeReader } from './exchanges.js';
import { type Network, ThrottlingProxy } from './proxy.js';

const DIGEST = `sha256:${'ab'.repeat(32)}`;

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

async function ask(proxy: ThrottlingProxy, path: string, agent: Agent, headers = {}): Promise<number> {
  const sent = request({ host: '127.0.0.1', port: proxy.port, path, agent, headers });
  sent.end();
  const [answer] = await once(sent, 'response');
  let bytes = 0;
  for await (const piece of answer) bytes += piece.length;
  return bytes;
}

test('each request of a connection with what was asked for and what came back', async (t) => {
  const proxy = await serve(
    t,
    (asked, answer) => {
      answer.statusCode = asked.headers.range === undefined ? 404 : 206;
      answer.end(Buffer.alloc(asked.headers.range === undefined ? 10 : 100_000));
    },
    { rtt: 40, mbit: 8 },
  );
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  await ask(proxy, `/v2/app/blobs/${DIGEST}`, agent, { range: 'bytes=0-49999,100000-149999,-51' });
  await ask(proxy, '/v2/app/manifests/latest', agent);
  const [blob, manifest, ...more] = proxy.exchanges();
  assert.deepEqual(more, []);
  assert.deepEqual(
    { ...blob!, start: 0, end: 0, bytes: 0 },
    {
      connection: 1,
      method: 'GET',
      path: `/v2/app/blobs/${DIGEST}`,
      blob: DIGEST,
      ranges: [
        [0, 50_000],
        [100_000, 50_000],
        [-51, -1],
      ],
      status: 206,
      start: 0,
      end: 0,
      bytes: 0,
    },
  );
  assert.ok(blob!.bytes > 100_000 && blob!.bytes < 101_000, `${blob!.bytes} bytes`);
  // 100 kB at 8 Mbit/s are 100 ms; the handshake and the way there and back another 80.
  assert.ok(blob!.end - blob!.start >= 179, `${blob!.end - blob!.start} ms`);
  assert.deepEqual(
    [manifest!.connection, manifest!.status, manifest!.ranges, 'blob' in manifest!],
    [1, 404, [], false],
  );
  assert.ok(manifest!.start >= blob!.end);
  const { requests, down } = proxy.traffic();
  assert.equal(requests, 2);
  assert.equal(blob!.bytes + manifest!.bytes, down);
  proxy.reset();
  assert.deepEqual(proxy.exchanges(), []);
});

test('connections are told apart', async (t) => {
  const proxy = await serve(t, (_, answer) => answer.end('x'));
  const agents = [new Agent(), new Agent()];
  t.after(() => agents.forEach((agent) => void agent.destroy()));
  await Promise.all(agents.map((agent) => ask(proxy, '/v2/', agent)));
  assert.deepEqual(
    proxy
      .exchanges()
      .map(({ connection }) => connection)
      .sort(),
    [1, 2],
  );
});

test('a head that comes in pieces, and bodies that look like nothing', () => {
  const begun: unknown[] = [];
  const reader = new ExchangeReader(7, (exchange) => begun.push(exchange));
  const say = (text: string, now: number) => reader.fromClient(Buffer.from(text), now);
  assert.equal(say('not a request', 0), false);
  reader.toClient(Buffer.from('HTTP/1.1 400 Bad Request\r\n'), 0);
  assert.equal(say(`GET /v2/app/blobs/${DIGEST}?x=1 HTTP/1.1\r\nHost: a\r\nRan`, 1), true);
  assert.equal(say('ge: bytes=200-\r\n\r\n', 2), false);
  assert.equal(say('Range: bytes=1-2\r\n\r\n', 3), false, 'the head is over');
  reader.toClient(Buffer.from('HTTP/1.1 206 Partial Content\r\n'), 5);
  reader.toClient(Buffer.from('more'), 9);
  assert.deepEqual(begun, [
    {
      connection: 7,
      method: 'GET',
      path: `/v2/app/blobs/${DIGEST}?x=1`,
      blob: DIGEST,
      ranges: [[200, -1]],
      status: 206,
      start: 1,
      end: 9,
      bytes: 34,
    },
  ]);
});

test('the end of a client is told too', async (t) => {
  const proxy = await serve(t, (_, answer) => void answer.write('part'));
  const socket = connect(proxy.port, '127.0.0.1');
  socket.write('GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n');
  await once(socket, 'data');
  socket.destroy();
  const [one] = proxy.exchanges();
  assert.deepEqual([one!.path, one!.status], ['/v2/', 200]);
});
