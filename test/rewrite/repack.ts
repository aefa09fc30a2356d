// Takes an optimized image apart and puts it together again with something changed in one place and everything that
// depends on it made right: offsets, digests, sizes, annotations. It knows the format by itself (estargz.md "Blob
// layout", "Footers"), so that what verify rejects is the change and not a side effect of making it.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { openImage } from '../../src/image/open.js';
import type { Descriptor } from '../../src/image/types.js';
import { scanTarFd } from '../../src/stargz/tar/scan.js';
import { addToIndex, putBlob, putJson } from '../support/layout.js';
import { END, file } from '../support/tar.js';

export type Json = Record<string, unknown>;

/** An entry of the tar with its records in the TOC. */
export interface Part {
  name: string;
  /** Everything before the payload; global headers before the entry included. */
  header: Buffer;
  payload: Buffer;
  /** The entry's record and those of its further chunks; empty for an entry that the TOC does not have. */
  toc: Json[];
  /** False: the payload does not get a member of its own. */
  ownMember?: boolean;
}

export interface LayerState {
  parts: Part[];
  annotations: Record<string, string>;
  mediaType: string;
  /** Changes the TOC when its offsets and digests are right. */
  toc?: (entries: Json[]) => Json[];
  /** Tar bytes after the TOC entry. Default: two zero blocks. */
  tail?: Buffer;
  /** Tar bytes between the last entry and the TOC. */
  beforeToc?: Buffer;
  /** False: chunk digests and file digests stay as they are. */
  digests?: boolean;
  footer?: (footer: Buffer) => Buffer;
  /** Changes the finished blob; the descriptor follows. */
  blob?: (blob: Buffer) => Buffer;
  /** Changes the blob's bytes without telling anybody. */
  damage?: (blob: Buffer) => void;
  /** Instead of the true one. */
  diffId?: string;
  /** Laid over the true annotations; undefined takes one away. */
  claims?: Record<string, string | undefined>;
}

export interface ImageState {
  layers: LayerState[];
  config: Json;
  manifest: Json;
}

const TOC = 'stargz.index.json';

export async function unpack(reference: string): Promise<ImageState> {
  await using image = await openImage(reference);
  return {
    config: structuredClone(image.config) as unknown as Json,
    manifest: structuredClone(image.manifest) as unknown as Json,
    layers: image.layers.map((layer) => ({
      parts: partsOf(readFileSync(layer.file!)),
      annotations: { ...layer.descriptor.annotations },
      mediaType: layer.descriptor.mediaType,
    })),
  };
}

function partsOf(blob: Buffer): Part[] {
  const tar = gunzipSync(blob);
  const work = mkdtempSync(join(tmpdir(), 'hl-repack-'));
  writeFileSync(join(work, 't'), tar);
  const fd = openSync(join(work, 't'), 'r');
  try {
    const { entries } = scanTarFd(fd, tar.length);
    const json = entries.at(-1)!;
    const records = (
      JSON.parse(tar.toString('utf8', json.payloadOffset, json.payloadOffset + json.payloadSize)) as { entries: Json[] }
    ).entries;
    let at = 0;
    let previousEnd = 0;
    const files = entries.slice(0, -1);
    const last = new Map(files.map((entry) => [entry.name, entry]));
    return files.map((entry) => {
      const toc: Json[] = [];
      // Of several entries of one name the TOC has the last.
      if (last.get(entry.name) === entry) {
        assert.equal(records[at]?.name, entry.name);
        toc.push(records[at++]!);
        while (records[at]?.type === 'chunk') toc.push(records[at++]!);
      }
      const header = Buffer.from(tar.subarray(previousEnd, entry.payloadOffset));
      previousEnd = entry.end;
      const payload = Buffer.from(tar.subarray(entry.payloadOffset, entry.payloadOffset + entry.payloadSize));
      return { name: entry.name, header, payload, toc };
    });
  } finally {
    closeSync(fd);
    rmSync(work, { recursive: true });
  }
}

const sha = (bytes: Uint8Array) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const pad = (size: number) => Buffer.alloc((512 - (size % 512)) % 512);

function pack(layer: LayerState): { blob: Buffer; tocDigest: string; diffId: string; size: number } {
  const members: Buffer[] = [];
  const tar: Buffer[] = [];
  let open: Buffer[] = [];
  let offset = 0;
  const cut = () => {
    if (open.length === 0) return;
    const bytes = Buffer.concat(open);
    open = [];
    tar.push(bytes);
    const member = gzipSync(bytes, { level: 1 });
    members.push(member);
    offset += member.length;
  };
  let records: Json[] = [];
  for (const part of layer.parts) {
    open.push(part.header);
    const digests = layer.digests ?? true;
    const [first] = part.toc;
    if (part.payload.length > 0 && first?.type === 'reg') {
      if (digests) first.digest = sha(part.payload);
      for (const [k, record] of part.toc.entries()) {
        const from = (record.chunkOffset as number | undefined) ?? 0;
        const to = (part.toc[k + 1]?.chunkOffset as number | undefined) ?? part.payload.length;
        if (part.ownMember ?? true) cut();
        record.offset = offset;
        const bytes = part.payload.subarray(from, to);
        if (digests) record.chunkDigest = sha(bytes);
        open.push(bytes);
      }
    } else {
      if (part.payload.length > 0) cut();
      open.push(part.payload);
    }
    open.push(pad(part.payload.length));
    records.push(...part.toc);
  }
  if (layer.beforeToc) open.push(layer.beforeToc);
  if (layer.toc) records = layer.toc(records);
  cut();
  const tocOffset = offset;
  const json = Buffer.from(JSON.stringify({ version: 1, entries: records }));
  open.push(file(TOC, json, { mode: 0 }), layer.tail ?? END);
  cut();
  const digits = tocOffset.toString(16).padStart(16, '0');
  const footer = Buffer.from(
    `1f8b08040000000000ff1a0053471600${Buffer.from(`${digits}STARGZ`).toString('hex')}010000ffff0000000000000000`,
    'hex',
  );
  members.push(layer.footer ? layer.footer(footer) : footer);
  const whole = Buffer.concat(members);
  const out = Buffer.concat(tar);
  return { blob: layer.blob ? layer.blob(whole) : whole, tocDigest: sha(json), diffId: sha(out), size: out.length };
}

/** Writes the image as a layout. @returns its reference */
export function repack(state: ImageState, dir: string): string {
  const diffIds: string[] = [];
  const layers = state.layers.map((layer): Descriptor => {
    const { blob, tocDigest, diffId, size } = pack(layer);
    diffIds.push(layer.diffId ?? diffId);
    const descriptor = putBlob(dir, blob, layer.mediaType);
    const annotations: Record<string, string | undefined> = {
      ...layer.annotations,
      'containerd.io/snapshot/stargz/toc.digest': tocDigest,
      'io.containers.estargz.uncompressed-size': String(size),
      ...layer.claims,
    };
    if (layer.damage) {
      layer.damage(blob);
      writeFileSync(join(dir, 'blobs', 'sha256', descriptor.digest.slice(7)), blob);
    }
    return { ...descriptor, annotations: JSON.parse(JSON.stringify(annotations)) as Record<string, string> };
  });
  const config = putJson(
    dir,
    { ...state.config, rootfs: { type: 'layers', diff_ids: diffIds } },
    'application/vnd.oci.image.config.v1+json',
  );
  const manifest = putJson(
    dir,
    {
      ...state.manifest,
      config: { ...(state.manifest.config as Json), digest: config.digest, size: config.size },
      layers,
    },
    'application/vnd.oci.image.manifest.v1+json',
  );
  addToIndex(dir, { ...manifest, annotations: { 'org.opencontainers.image.ref.name': 't' } });
  return `oci:${dir}:t`;
}
