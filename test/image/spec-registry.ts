// Uploads as the distribution-spec has them, in memory: what arrived before a break is kept, and GET says how much.
// (Docker's registry drops an upload whose state has moved on without the client knowing, so it cannot show this.)
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';

export interface SpecRegistry {
  readonly port: number;
  readonly blobs: ReadonlyMap<string, Buffer>;
  /** Bytes of upload bodies that have arrived. */
  received(): number;
}

export async function startSpecRegistry(t: TestContext): Promise<SpecRegistry> {
  const blobs = new Map<string, Buffer>();
  const uploads = new Map<string, Buffer>();
  let received = 0;
  let next = 0;

  const server = createServer((request, response) => {
    response.on('error', () => {});
    void handle(request, response).catch(() => response.destroy());
  });

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url!, 'http://registry');
    const upload = /^(\/v2\/.*\/blobs\/uploads\/)(\d*)$/.exec(url.pathname);
    const reply = (status: number, headers: Record<string, string> = {}) => response.writeHead(status, headers).end();
    if (!upload) {
      const blob = blobs.get(url.pathname.split('/').at(-1)!);
      return void (blob
        ? reply(200, { 'content-length': String(blob.length) })
        : reply(url.pathname === '/v2/' ? 200 : 404));
    }
    const [, path, id] = upload as unknown as [string, string, string];
    if (request.method === 'POST') {
      uploads.set(String(++next), Buffer.alloc(0));
      return void reply(202, { location: `${path}${next}` });
    }
    const has = uploads.get(id);
    if (!has) return void reply(404);
    const state = () => {
      const { length } = uploads.get(id)!;
      return { location: `${path}${id}`, ...(length > 0 ? { range: `0-${length - 1}` } : { range: '0-0' }) };
    };
    if (request.method === 'DELETE') {
      uploads.delete(id);
      return void reply(204);
    }
    if (request.method === 'GET') return void reply(204, state());
    const start = /^(\d+)-/.exec(request.headers['content-range'] ?? '')?.[1];
    if (start !== undefined && Number(start) !== has.length) return void reply(416, state());
    for await (const chunk of request as AsyncIterable<Buffer>) {
      received += chunk.length;
      uploads.set(id, Buffer.concat([uploads.get(id)!, chunk]));
    }
    if (request.method === 'PATCH') return void reply(202, state());
    const whole = uploads.get(id)!;
    const digest = url.searchParams.get('digest')!;
    if (digest !== `sha256:${createHash('sha256').update(whole).digest('hex')}`) {
      response.writeHead(400, { 'content-type': 'application/json' });
      return void response.end('{"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match"}]}');
    }
    blobs.set(digest, whole);
    uploads.delete(id);
    reply(201, { 'docker-content-digest': digest });
  }

  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, blobs, received: () => received };
}
