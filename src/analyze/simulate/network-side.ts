// Requests: connections, round trips, the line that all of them share, and the work of taking in what comes.
import type { Bytes, Nanos } from '../../units.js';
import type { ClientModel } from '../model/client.js';
import type { Network } from '../model/network.js';
import { afterAll, type Engine, Shared } from './engine.js';

/** Heads of an answer; a part of an answer of several ranges has one of its own. */
const HEAD = 460;
const PART = 200;
const PART_OF_ANSWER = 500_000;

/** Connections that are kept open, to one host by one client. */
export interface Pool {
  idle: number;
}

/** Told of each answer when it has come: since when it came, and its bytes. */
export type OnFetch = (since: Nanos, bytes: Bytes) => void;

export class NetworkSide {
  readonly cpu: Shared;
  private readonly line: Shared;
  requests = 0;
  bytes: Bytes = 0;

  /** @param partOfAnswer how finely it is told what has come of a long answer */
  constructor(
    private readonly engine: Engine,
    private readonly network: Network,
    private readonly client: Pick<ClientModel, 'cores' | 'perRequest' | 'receivePerByte'>,
    private readonly onFetch?: OnFetch,
    private readonly partOfAnswer: Bytes = PART_OF_ANSWER,
  ) {
    this.line = new Shared(engine, network.bytesPerSecond / 1e9);
    this.cpu = new Shared(engine, client.cores, 1);
  }

  /**
   * One request and its answer.
   * @param ranges that it asks for
   * @param came called now and then with the part of it that is there, at last with 1
   */
  request(pool: Pool, payload: Bytes, done: () => void, ranges = 1, came: (share: number) => void = () => {}): void {
    const { engine, network, client } = this;
    this.requests += 1;
    const bytes = payload + HEAD + (ranges > 1 ? ranges * PART : 0);
    const connect = pool.idle > 0 ? 0 : network.rtt;
    if (pool.idle > 0) pool.idle -= 1;
    const received = afterAll(2, () => {
      pool.idle += 1;
      done();
    });
    engine.after(connect + network.rtt / 2 + client.perRequest, () => {
      const parts = Math.ceil(bytes / this.partOfAnswer);
      const since = engine.now;
      const part = (i: number): void =>
        this.line.use(bytes / parts, () => {
          // What is on its way at the moment of readiness counts as far as it has come.
          this.bytes += bytes / parts;
          engine.after(network.rtt / 2, () => came((i + 1) / parts));
          if (i + 1 < parts) {
            part(i + 1);
            return;
          }
          this.onFetch?.(since, bytes);
          engine.after(network.rtt / 2, received);
        });
      part(0);
      this.cpu.use(client.receivePerByte * bytes, received);
    });
  }

  /** Small requests, one after the other. @param sizes of the answers */
  sequence(pool: Pool, sizes: readonly Bytes[], done: () => void): void {
    const [first, ...rest] = sizes;
    if (first === undefined) done();
    else this.request(pool, first, () => this.sequence(pool, rest, done));
  }

  /** Work that is divided over all cores. */
  work(nanos: Nanos, done: () => void): void {
    const { cores } = this.client;
    const each = afterAll(cores, done);
    for (let i = 0; i < cores; i++) this.cpu.use(nanos / cores, each);
  }
}
