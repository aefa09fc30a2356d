// Blobs into a registry (distribution-spec, "Push"): not at all when it has them, from a repository beside, in one
// request, or in chunks. After a break the registry is asked how far it got.
import type { Readable } from 'node:stream';
import { KIB, MIB } from '../../units.js';
import type { Digest } from '../digest.js';
import { streamOf } from '../files.js';
import type { BlobPlace } from './download.js';
import { type Answer, discard } from './exchange.js';
import { malformed, one, RegistryError } from './registry-error.js';
import { type Patience, patience } from './retry.js';
import type { Transport } from './transport.js';

export interface BlobSource {
  readonly digest: Digest;
  readonly size: number;
  /** Bytes [start, end) as a new stream, any number of times. */
  open(start: number, end: number): Readable;
  /** True: to open it in the middle means to read all that lies before, so it is sent in one piece if it can be. */
  readonly fromStart?: true;
}

export type Pushed = 'present' | 'mounted' | 'uploaded';

const DEFAULT_CHUNK = 64 * MIB;
/** distribution-spec: the registry may ask for larger chunks; what is held open for one has to stay sensible. */
const MAX_CHUNK = 512 * MIB;
/** Chunks are not made smaller than this. */
const MIN_CHUNK = 1 * MIB;
/** Fewer bytes than this between two breaks are no progress. */
const PROGRESS_BYTES = 64 * KIB;

/** @param from repositories of the same registry that may have the blob */
export async function uploadBlob(place: BlobPlace, source: BlobSource, from: readonly string[]): Promise<Pushed> {
  const { transport } = place;
  const { digest, size } = source;
  const done = (skipped?: 'present' | 'mounted'): Pushed => {
    transport.options.onProgress?.({
      digest,
      direction: 'upload',
      bytes: size,
      total: size,
      ...(skipped ? { skipped } : {}),
    });
    return skipped ?? 'uploaded';
  };
  if (await hasBlob(place, digest, size)) return done('present');
  for (const repository of from) if (await mountBlob(place, digest, repository)) return done('mounted');
  await new Upload(place, source).run();
  return done();
}

/** Whether the registry has a blob of that digest and size. */
export async function hasBlob(place: BlobPlace, digest: Digest, size: number): Promise<boolean> {
  const answer = await place.transport.call({
    method: 'HEAD',
    url: `${place.path}${digest}`,
    scopes: place.scopes,
    expect: [200, 404],
    doing: `ask ${place.where} for ${digest}`,
  });
  await discard(answer);
  if (answer.status === 404) return false;
  const length = one(answer.headers['content-length']);
  return length === undefined || Number(length) === size;
}

/** distribution-spec, "Mounting a blob from another repository". A refusal is no error: the blob is then uploaded. */
async function mountBlob(place: BlobPlace, digest: Digest, repository: string): Promise<boolean> {
  const query = new URLSearchParams({ mount: digest, from: repository });
  try {
    const answer = await place.transport.call({
      method: 'POST',
      url: `${place.path}uploads/?${query}`,
      headers: { 'content-length': '0' },
      scopes: [...place.scopes, `repository:${repository}:pull`].sort(),
      expect: [201, 202],
      doing: `mount ${digest} from ${repository} into ${place.where}`,
    });
    await discard(answer);
    if (answer.status === 201) return true;
    const location = one(answer.headers.location);
    if (location !== undefined) await cancel(place, new URL(location, answer.url));
    return false;
  } catch (error) {
    if (error instanceof RegistryError && error.status !== undefined && error.status < 500) return false;
    throw error;
  }
}

/** Whether this client may push here, found out by beginning an upload and taking it back. */
export async function probePush(place: BlobPlace): Promise<void> {
  const { location } = await begin(place, `push to ${place.where}`);
  await cancel(place, location);
}

async function begin(place: BlobPlace, doing: string): Promise<{ location: URL; minimum: number }> {
  const answer = await place.transport.call({
    method: 'POST',
    url: `${place.path}uploads/`,
    headers: { 'content-length': '0' },
    scopes: place.scopes,
    expect: [202],
    doing,
  });
  await discard(answer);
  const minimum = Number(one(answer.headers['oci-chunk-min-length']) ?? 0);
  return { location: locationOf(answer, place.transport, doing), minimum: Number.isSafeInteger(minimum) ? minimum : 0 };
}

async function cancel(place: BlobPlace, location: URL): Promise<void> {
  try {
    await discard(
      await place.transport.call({
        method: 'DELETE',
        url: location,
        scopes: place.scopes,
        expect: [200, 202, 204, 404, 405],
        doing: `cancel an upload to ${place.where}`,
        once: true,
      }),
    );
  } catch {
    // Registries drop abandoned uploads by themselves.
  }
}

/** Where the upload goes on. Behind a proxy that ends TLS, registries name themselves http: our own scheme stays. */
function locationOf(answer: Answer, { base }: Transport, doing: string): URL {
  const text = one(answer.headers.location);
  if (text === undefined) throw malformed(answer, doing, 'answered without a Location');
  let url: URL;
  try {
    url = new URL(text, answer.url);
  } catch {
    throw malformed(answer, doing, 'answered with a Location that is not a URL');
  }
  if (url.host === base.host) url.protocol = base.protocol;
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && base.protocol === 'http:'))
    throw malformed(answer, doing, `answered with a Location at ${url.protocol}//${url.host}, expected https`);
  return url;
}

/** One blob's way in; starts over when the registry has lost or mixed up what it got. */
class Upload {
  private readonly patient: Patience;
  private readonly doing: string;
  private location: URL | undefined;
  private chunk: number;
  /** Bytes that the registry has. */
  private at = 0;
  private best = 0;
  /** The registry was asked how far it got: what it then said may be wrong. */
  private resumed = false;
  /** The request that closes the upload was sent. */
  private closing = false;
  /** The registry does not take chunks. */
  private inOne = false;

  constructor(
    private readonly place: BlobPlace,
    private readonly source: BlobSource,
  ) {
    this.patient = patience(place.transport.options);
    this.doing = `push ${source.digest} to ${place.where}`;
    this.chunk = source.fromStart ? Number.POSITIVE_INFINITY : (place.transport.options.chunkSize ?? DEFAULT_CHUNK);
  }

  async run(): Promise<void> {
    try {
      for (;;) {
        try {
          return await this.attempt();
        } catch (failure) {
          if (await this.recover(failure)) return;
        }
      }
    } finally {
      // Still set when the upload failed, or was found to be needless.
      if (this.location) await cancel(this.place, this.location);
    }
  }

  private async attempt(): Promise<void> {
    const { size } = this.source;
    if (!this.location) {
      const { location, minimum } = await begin(this.place, this.doing);
      this.location = location;
      this.chunk = Math.max(this.chunk, Math.min(minimum, MAX_CHUNK));
      this.at = 0;
      this.resumed = false;
      this.closing = false;
    }
    if (this.at === 0 && (size <= this.chunk || this.inOne)) return this.finish(0);
    while (this.at < size) await this.patch(Math.min(this.at + this.chunk, size));
    return this.finish(size);
  }

  private async patch(end: number): Promise<void> {
    const start = this.at;
    const answer = await this.place.transport.call({
      method: 'PATCH',
      url: this.location!,
      headers: {
        'content-type': 'application/octet-stream',
        'content-length': String(end - start),
        'content-range': `${start}-${end - 1}`,
      },
      body: () => this.counted(start, end),
      scopes: this.place.scopes,
      expect: [202],
      doing: this.doing,
      once: true,
    });
    await discard(answer);
    this.location = locationOf(answer, this.place.transport, this.doing);
    const has = endOfRange(answer) ?? end;
    if (has > end) throw malformed(answer, this.doing, `says it has ${has} bytes after ${end} were sent`);
    this.at = has;
    this.progressed();
  }

  /** The PUT that closes the upload; with all bytes in it when none have been sent. */
  private async finish(from: number): Promise<void> {
    const { digest, size } = this.source;
    const url = new URL(this.location!);
    url.searchParams.set('digest', digest);
    this.closing = true;
    const answer = await this.place.transport.call({
      method: 'PUT',
      url,
      headers: { 'content-type': 'application/octet-stream', 'content-length': String(size - from) },
      body: from < size ? () => this.counted(from, size) : new Uint8Array(),
      scopes: this.place.scopes,
      expect: [201, 204],
      doing: this.doing,
      once: true,
    });
    await discard(answer);
    const stored = one(answer.headers['docker-content-digest']);
    if (stored?.startsWith('sha256:') && stored !== digest)
      throw malformed(answer, this.doing, `stored it as ${stored.slice(0, 80)}`);
    this.location = undefined;
  }

  /** Decides how to go on after a failure. @returns true when the blob is there after all @throws when this is the end */
  private async recover(failure: unknown): Promise<boolean> {
    const error = failure instanceof RegistryError ? failure : undefined;
    const closing = this.closing;
    this.closing = false;
    if (error && this.location && this.startsOver(error)) {
      await cancel(this.place, this.location);
      this.location = undefined;
      await this.patient.afterFailure(transient(error));
      return false;
    }
    await this.patient.afterFailure(failure);
    // The last request may have arrived all the same, its answer not.
    const { digest, size } = this.source;
    if (closing && (await hasBlob(this.place, digest, size))) {
      this.location = undefined;
      return true;
    }
    if (this.location) await this.resume(this.location);
    return false;
  }

  private startsOver(error: RegistryError): boolean {
    const { status = 0, codes } = error;
    // The upload is unknown (404), or not where we took it to be (416).
    if (status === 404 || status === 416) return true;
    // A broken request can go on arriving after the registry was asked how far it got.
    if (codes.includes('DIGEST_INVALID')) return this.resumed;
    if (this.closing || this.inOne || this.at > 0) return false;
    // A proxy that limits requests; a registry that knows uploads in one piece only.
    if (status === 413 && this.chunk > MIN_CHUNK)
      this.chunk = Math.max(MIN_CHUNK, Math.floor(Math.min(this.chunk, DEFAULT_CHUNK) / 4));
    else if ([400, 405, 411, 501].includes(status)) this.inOne = true;
    else return false;
    return true;
  }

  /** distribution-spec: GET of the location says `Range: 0-N`. */
  private async resume(location: URL): Promise<void> {
    try {
      const answer = await this.place.transport.call({
        method: 'GET',
        url: location,
        scopes: this.place.scopes,
        expect: [204],
        doing: this.doing,
        once: true,
      });
      await discard(answer);
      const has = endOfRange(answer);
      if (has === undefined || has > this.source.size)
        throw malformed(answer, this.doing, 'does not say how far it got');
      this.at = has;
      if (one(answer.headers.location) !== undefined)
        this.location = locationOf(answer, this.place.transport, this.doing);
      this.resumed = true;
      this.progressed();
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error;
      await cancel(this.place, location);
      this.location = undefined;
    }
  }

  private progressed(): void {
    if (this.at >= this.best + PROGRESS_BYTES) {
      this.best = this.at;
      this.patient.reset();
    }
  }

  private counted(start: number, end: number): Readable {
    const report = this.place.transport.options.onProgress;
    const stream = this.source.open(start, end);
    if (!report) return stream;
    const { digest, size } = this.source;
    let bytes = start;
    async function* count(): AsyncGenerator<Buffer> {
      try {
        for await (const chunk of stream as AsyncIterable<Buffer>) {
          bytes += chunk.length;
          report?.({ digest, direction: 'upload', bytes, total: size });
          yield chunk;
        }
      } finally {
        stream.destroy();
      }
    }
    return streamOf(count());
  }
}

/** Worth another attempt from the start. */
function transient(error: RegistryError): RegistryError {
  const { status, codes, hint } = error;
  return new RegistryError(
    error.code,
    error.message,
    { transient: true, codes, ...(status === undefined ? {} : { status }) },
    { cause: error.cause, ...(hint === undefined ? {} : { hint }) },
  );
}

/** `Range: 0-N` → N + 1 bytes. Docker's registry says `0-0` for nothing; one byte more or less is sent again. */
function endOfRange(answer: Answer): number | undefined {
  const match = /^(?:bytes=)?0-(\d+)$/.exec(one(answer.headers.range) ?? '');
  if (!match) return undefined;
  const last = Number(match[1]);
  return last === 0 ? 0 : last + 1;
}
