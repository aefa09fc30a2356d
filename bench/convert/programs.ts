// What converts the layers, each as a process of its own, and what is the least that any of them has to do.
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseReference } from '../../src/image/reference.js';
import { fileSource, LEVELS, walkMembers } from '../../src/stargz/index.js';
import { MIB } from '../../src/units.js';
import { goProgram } from '../../test/support/go.js';
import { LazyClient } from '../../test/support/lab/client.js';
import { CpuMeter, descendantPids } from '../support/cpu.js';
import { type Cost, measure } from '../support/measure.js';
import { ROOT } from '../support/report.js';
import type { SampleLayer } from './layers.js';

/** In the order of the report. `peer` is what the ratios are to, `limit` what nobody can beat, `pieces` what nobody can who keeps to the format. */
export const PROGRAMS = ['peer', 'ctr-remote', 'writer', 'one-level', 'level-4', 'command', 'limit', 'pieces'] as const;
export type Program = (typeof PROGRAMS)[number];

export const ABOUT: Record<Program, string> = {
  peer: 'estargz.Build, level 9',
  'ctr-remote': 'ctr-remote image convert',
  writer: "hotlayer's writer",
  'one-level': 'the same, hot files at the level of the rest',
  'level-4': 'the same, everything at level 4',
  command: 'hotlayer optimize',
  limit: 'native limit',
  pieces: 'native limit, in the same pieces',
};

export interface Conversion extends Cost {
  /** Of the blob. */
  readonly size: number;
}

/** The native program has libdeflate's own levels: the next lower one of ours does less. */
export const NATIVE_LEVEL = Math.floor(LEVELS.libdeflate.default);

/** Two processes, as many as there are cores on the machine this is meant for; each has half of the bytes. */
const LIMIT = `for half in "$1".0 "$1".1; do
  { libdeflate-gzip -${NATIVE_LEVEL} -k -c "$half" >"$half.gz"; openssl dgst -sha256 "$half" "$half" "$half.gz"; } &
done; wait`;

/**
 * The same with each half divided as the blob's members are, a file for each. One call compresses them all, and allocates its
 * compressor once; opening the files is part of it.
 */
const LIMIT_IN_PIECES = `for half in "$1".0 "$1".1; do
  { find "$half.pieces" -type f | xargs -s 2000000 libdeflate-gzip -${NATIVE_LEVEL} -k -c >"$half.gz"; openssl dgst -sha256 "$half" "$half" "$half.gz"; } &
done; wait`;

export class Workshop implements AsyncDisposable {
  private client: LazyClient | undefined;

  private constructor(
    private readonly layer: SampleLayer,
    private readonly directory: string,
    private readonly go: string,
  ) {}

  /** @param directory exists; for what the programs write */
  static async open(layer: SampleLayer, directory: string): Promise<Workshop> {
    const shop = new Workshop(layer, directory, await goProgram('esgz-check', 'esgz-check.go'));
    halve(layer.tar, shop.at('part'));
    shop.writePlan();
    writeFileSync(shop.at('record'), layer.hot.map((path) => `${JSON.stringify({ path })}\n`).join(''));
    return shop;
  }

  convert(program: Program): Promise<Conversion> {
    // What was written before is on the disk before the clock starts.
    execFileSync('sync');
    const { layer } = this;
    const blob = this.at('blob');
    switch (program) {
      case 'peer':
        return this.toFile([this.go, 'build', layer.tar, blob, ...layer.hot], blob);
      case 'writer':
        return this.toFile([...BUILD, layer.tar, blob, ...layer.hot], blob);
      case 'one-level':
        return this.toFile(
          [...BUILD, '--hot-level', `${LEVELS.libdeflate.default}`, layer.tar, blob, ...layer.hot],
          blob,
        );
      case 'level-4':
        return this.toFile([...BUILD, '--level', '4', '--hot-level', '4', layer.tar, blob, ...layer.hot], blob);
      case 'limit':
        return this.limit(LIMIT);
      case 'pieces':
        return this.limit(LIMIT_IN_PIECES);
      case 'command':
        return this.command();
      case 'ctr-remote':
        return this.ctrRemote();
    }
  }

  /** The peer's own reader opens what our writer made, and reads all of it. @throws when it does not */
  async check(): Promise<void> {
    const { layer } = this;
    const said = execFileSync(BUILD[0]!, [...BUILD.slice(1), layer.tar, this.at('blob'), ...layer.hot]).toString();
    const { tocDigest } = JSON.parse(said) as { tocDigest: string };
    execFileSync(this.go, ['open', this.at('blob'), tocDigest], { stdio: ['ignore', 'ignore', 'inherit'] });
    await this.cutPieces();
  }

  /** Writes what each of the blob's members has into a file, to be compressed by others. */
  private async cutPieces(): Promise<void> {
    const halves = [0, 1].map((i) => `${this.at('part')}.${i}.pieces`);
    for (const half of halves) mkdirSync(half);
    const blob = openSync(this.at('blob'), 'r');
    try {
      let parts: Buffer[] = [];
      let index = 0;
      let bytes = 0;
      const onData = (data: Buffer) => void parts.push(Buffer.from(data));
      for await (const member of walkMembers(fileSource(blob, statSync(this.at('blob')).size), { onData })) {
        const half = halves[bytes * 2 < this.layer.bytes ? 0 : 1]!;
        writeFileSync(join(half, `${index}`), Buffer.concat(parts));
        parts = [];
        index += 1;
        bytes += member.uncompressedSize;
      }
    } finally {
      closeSync(blob);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client?.close();
  }

  private at(name: string): string {
    return join(this.directory, name);
  }

  private async toFile(argv: readonly string[], blob: string): Promise<Conversion> {
    rmSync(blob, { force: true });
    const cost = await measure(argv);
    return { ...cost, size: statSync(blob).size };
  }

  private async limit(script: string): Promise<Conversion> {
    const meter = new CpuMeter();
    const cost = await measure(['sh', '-c', script, 'sh', this.at('part')]);
    const size = [0, 1].reduce((sum, i) => sum + statSync(`${this.at('part')}.${i}.gz`).size, 0);
    return { ...cost, cpuMs: meter.read(), size };
  }

  private async command(): Promise<Conversion> {
    const target = this.at('image');
    rmSync(target, { recursive: true, force: true });
    const args = ['optimize', this.layer.tarImage, `oci:${target}:new`, '--plan', this.at('plan.json'), '--quiet'];
    const cost = await measure([...HOTLAYER, ...args]);
    return { ...cost, size: layerOf(target).size };
  }

  /** CPU is that of the whole client: the converter has containerd read and write for it. Memory is the converter's. */
  private async ctrRemote(): Promise<Conversion> {
    this.client ??= await this.startClient();
    const { client } = this;
    const record = this.layer.hot.length > 0 ? ['--estargz-record-in', this.at('record')] : [];
    const meter = new CpuMeter();
    const before = descendantPids();
    const began = performance.now();
    const child = client.begin(['ctr-remote', 'image', 'convert', '--estargz', '--oci', ...record, SOURCE, TARGET]);
    let peakBytes = 0;
    const timer = setInterval(() => {
      for (const pid of descendantPids()) if (!before.has(pid)) peakBytes = Math.max(peakBytes, converterPeak(pid));
    }, 250);
    const [status] = (await once(child, 'exit')) as [number | null];
    clearInterval(timer);
    const wallMs = performance.now() - began;
    const cpuMs = meter.read();
    if (status !== 0) throw new Error(`ctr-remote image convert: status ${status}`);
    const manifest = await client.tool(['ctr', 'content', 'get', await digestOf(client, TARGET)]);
    const { layers } = JSON.parse(manifest) as { layers: { size: number }[] };
    await client.tool(['ctr', 'image', 'rm', '--sync', TARGET]);
    return { wallMs, cpuMs, peakBytes, size: layers[0]!.size };
  }

  private async startClient(): Promise<LazyClient> {
    const client = await LazyClient.start(this.at('client'));
    const archive = this.at('image.tar');
    execFileSync('tar', ['-C', layoutOf(this.layer.tarImage), '-cf', archive, '.']);
    await client.tool(['ctr', 'image', 'import', '--base-name', SOURCE.replace(/:.*/, ''), archive]);
    rmSync(archive);
    return client;
  }

  /** The plan that the command carries out: the layer's hot files, in order. */
  private writePlan(): void {
    const { tarImage, hot } = this.layer;
    const path = this.at('plan.json');
    const args = ['optimize', tarImage, 'oci:unused', '--no-profile', '--dry-run', '--quiet', '--save-plan', path];
    execFileSync(HOTLAYER[0]!, [...HOTLAYER.slice(1), ...args], { stdio: 'ignore' });
    const plan = JSON.parse(readFileSync(path, 'utf8')) as { layers: object[] };
    const files = hot.map((name) => ({ path: name, because: 'bench', size: 0 }));
    if (hot.length > 0) Object.assign(plan.layers[0]!, { hot: files, landmark: 'prefetch' });
    writeFileSync(path, JSON.stringify(plan));
  }
}

const BUILD = [process.execPath, fileURLToPath(new URL('./build.js', import.meta.url))];
const HOTLAYER = [process.execPath, join(ROOT, 'bin/hotlayer.js')];
const SOURCE = 'bench.local/layer:latest';
const TARGET = 'bench.local/converted:latest';

function halve(tar: string, name: string): void {
  const size = statSync(tar).size;
  const from = openSync(tar, 'r');
  const buffer = Buffer.allocUnsafe(4 * MIB);
  for (const i of [0, 1]) {
    const to = openSync(`${name}.${i}`, 'w');
    const end = i === 0 ? size >> 1 : size;
    for (let at = i === 0 ? 0 : size >> 1; at < end; ) {
      const got = readSync(from, buffer, 0, Math.min(buffer.length, end - at), at);
      writeSync(to, buffer, 0, got);
      at += got;
    }
    closeSync(to);
  }
  closeSync(from);
}

function layoutOf(reference: string): string {
  const parsed = parseReference(reference);
  if (parsed.kind !== 'oci') throw new Error(`${reference} is not a layout`);
  return parsed.path;
}

function layerOf(layout: string): { size: number } {
  const blob = (digest: string) => readFileSync(join(layout, 'blobs/sha256', digest.slice(7)), 'utf8');
  const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as { manifests: { digest: string }[] };
  return (JSON.parse(blob(index.manifests[0]!.digest)) as { layers: { size: number }[] }).layers[0]!;
}

async function digestOf(client: LazyClient, image: string): Promise<string> {
  const lines = (await client.tool(['ctr', 'image', 'ls', `name==${image}`])).split('\n');
  const digest = /sha256:[0-9a-f]{64}/.exec(lines.find((line) => line.startsWith(image)) ?? '')?.[0];
  if (!digest) throw new Error(`no image ${image}`);
  const text = await client.tool(['ctr', 'content', 'get', digest]);
  const { manifests } = JSON.parse(text) as { manifests?: { digest: string }[] };
  return manifests?.[0]?.digest ?? digest;
}

/** 0 for another process, or one that has ended. */
function converterPeak(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    if (!/^Name:\s+ctr-remote$/m.test(status)) return 0;
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}
