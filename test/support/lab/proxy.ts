// A network in front of a server on loopback: a TCP proxy with a round-trip time and one downstream link that all
// connections share, counting what passes. Kernels without sch_netem have no other way.
//
// The model: half of the round trip each way, one whole round trip before the first bytes of a new connection
// (its handshake), and a downstream link of so many bits a second that carries the pieces in the order they come.
// Upstream is not limited; there is no slow start and no loss.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { type Exchange, ExchangeReader } from './exchanges.js';

export interface Network {
  /** ms; 0: none. */
  readonly rtt: number;
  /** Megabits (10^6) a second, downstream; 0: not limited. */
  readonly mbit: number;
}

export interface Traffic {
  /** Connections accepted. */
  readonly connections: number;
  /** Bytes from the server to clients, headers included; counted when the server sends them. */
  readonly down: number;
  /** Bytes from clients to the server. */
  readonly up: number;
  readonly requests: number;
}

/** The link carries pieces of at most this many bytes, so that connections take turns. */
const PIECE = 16 * 1024;
/** Bytes waiting for one client: above the first the server is paused, below the second it goes on. */
const HIGH_WATER = 1024 * 1024;
const LOW_WATER = HIGH_WATER / 2;

export class ThrottlingProxy implements AsyncDisposable {
  private readonly sockets = new Set<Socket>();
  private counted = { connections: 0, down: 0, up: 0, requests: 0 };
  private recorded: Exchange[] = [];
  private joined = 0;
  /** When the link will have carried all that it has taken so far, ms of performance.now(). */
  private linkFree = 0;

  private constructor(
    private readonly server: Server,
    private network: Network,
  ) {}

  /** Listens on a free port of 127.0.0.1. */
  static async start(toPort: number, network: Network = { rtt: 0, mbit: 0 }): Promise<ThrottlingProxy> {
    const server = createServer({ noDelay: true, allowHalfOpen: true });
    const proxy = new ThrottlingProxy(server, network);
    server.on('connection', (client) => proxy.join(client, toPort));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** For bytes that come from now on. */
  setNetwork(network: Network): void {
    this.network = network;
  }

  /** Since the start or the last `reset`. */
  traffic(): Traffic {
    return { ...this.counted };
  }

  /** The requests since the start or the last `reset`, in the order in which they came. */
  exchanges(): Exchange[] {
    return this.recorded.map((exchange) => ({ ...exchange }));
  }

  reset(): void {
    this.counted = { connections: 0, down: 0, up: 0, requests: 0 };
    this.recorded = [];
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    if (!this.server.listening) return;
    this.server.close();
    await once(this.server, 'close');
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private join(client: Socket, toPort: number): void {
    this.counted.connections += 1;
    this.joined += 1;
    const reader = new ExchangeReader(this.joined, (exchange) => this.recorded.push(exchange));
    const server = connect({ port: toPort, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
    const drop = () => {
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) {
      this.sockets.add(socket);
      socket.on('error', drop);
      socket.on('close', () => this.sockets.delete(socket));
    }
    // Not the other way round: what the server said before it closed may still be under way.
    client.on('close', () => server.destroy());
    const opened = performance.now() + this.network.rtt;
    const arrival = () => Math.max(performance.now(), opened) + this.network.rtt / 2;
    const up = new DelayLine((bytes) => pass(bytes, server));
    const down = new DelayLine((bytes) => {
      if (bytes) reader.toClient(bytes, performance.now());
      pass(bytes, client);
      if (down.waiting < LOW_WATER && server.isPaused()) server.resume();
    });
    client.on('data', (bytes) => {
      this.counted.up += bytes.length;
      if (reader.fromClient(bytes, performance.now())) this.counted.requests += 1;
      up.push(arrival(), bytes);
    });
    client.on('end', () => up.push(arrival(), null));
    server.on('data', (bytes) => {
      this.counted.down += bytes.length;
      for (let at = 0; at < bytes.length; at += PIECE) {
        const piece = bytes.subarray(at, at + PIECE);
        down.push(this.carry(piece.length) + this.network.rtt / 2, piece);
      }
      if (down.waiting > HIGH_WATER) server.pause();
    });
    server.on('end', () => down.push(this.carry(0) + this.network.rtt / 2, null));
  }

  /** Puts bytes on the shared link. @returns when it has carried them */
  private carry(bytes: number): number {
    const { mbit } = this.network;
    this.linkFree = Math.max(performance.now(), this.linkFree) + (mbit > 0 ? (bytes * 8) / (mbit * 1000) : 0);
    return this.linkFree;
  }
}

/** Null: the sender has finished. */
function pass(bytes: Buffer | null, to: Socket): void {
  if (to.destroyed) return;
  if (bytes) to.write(bytes);
  else to.end();
}

/** Hands things on in the order they came, none before its time. */
class DelayLine {
  /** Bytes in it. */
  waiting = 0;
  private readonly queue: { readonly at: number; readonly bytes: Buffer | null }[] = [];

  constructor(private readonly out: (bytes: Buffer | null) => void) {}

  push(at: number, bytes: Buffer | null): void {
    this.queue.push({ at, bytes });
    this.waiting += bytes?.length ?? 0;
    if (this.queue.length === 1) this.arm();
  }

  private arm(): void {
    const wait = this.queue[0]!.at - performance.now();
    // Timers are exact to a millisecond at best: what is due within half of one goes out at once.
    if (wait < 0.5) setImmediate(() => this.release());
    else setTimeout(() => this.release(), Math.floor(wait));
  }

  private release(): void {
    const due = performance.now() + 0.5;
    while (this.queue.length > 0 && this.queue[0]!.at <= due) {
      const { bytes } = this.queue[0]!;
      this.waiting -= bytes?.length ?? 0;
      this.out(bytes);
      this.queue.shift();
    }
    if (this.queue.length > 0) this.arm();
  }
}
