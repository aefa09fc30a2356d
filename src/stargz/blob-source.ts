// Where a blob's bytes come from: a file here, a registry's ranges elsewhere.
import { read } from 'node:fs';
import { promisify } from 'node:util';
import { HotlayerError } from '../errors.js';

const readAsync = promisify(read);

export interface BlobSource {
  /** For messages: `layer sha256:…`, a path. Absent: "blob". */
  readonly name?: string;
  readonly size: number;
  /** Exactly `length` bytes from `offset`; both lie inside the blob. */
  read(offset: number, length: number): Promise<Buffer>;
}

/** Bytes of an open file. The descriptor stays the caller's. */
export function fileSource(fd: number, size: number, name?: string): BlobSource {
  return {
    ...(name === undefined ? {} : { name }),
    size,
    async read(offset, length) {
      const buffer = Buffer.allocUnsafe(length);
      let done = 0;
      while (done < length) {
        const { bytesRead } = await readAsync(fd, buffer, done, length - done, offset + done);
        if (bytesRead === 0) break;
        done += bytesRead;
      }
      return buffer.subarray(0, done);
    },
  };
}

export function bufferSource(bytes: Buffer, name?: string): BlobSource {
  return {
    ...(name === undefined ? {} : { name }),
    size: bytes.length,
    read: async (offset, length) => bytes.subarray(offset, offset + length),
  };
}

export function nameOf(source: BlobSource): string {
  return source.name ?? 'blob';
}

/** @throws HL_ERR_STARGZ when the range is not inside the blob, or the source gives fewer bytes than it promised */
export async function readExactly(source: BlobSource, offset: number, length: number, what: string): Promise<Buffer> {
  const inside = offset >= 0 && length >= 0 && offset + length <= source.size;
  const bytes = inside ? await source.read(offset, length) : undefined;
  if (bytes?.length === length) return bytes;
  const found = bytes ? `found ${bytes.length}` : `the blob has ${source.size}`;
  throw new HotlayerError(
    'HL_ERR_STARGZ',
    `${nameOf(source)}: expected ${length} bytes of ${what} at offset ${offset}, ${found}`,
    { context: { offset }, hint: 'the blob is cut off or damaged: fetch it again' },
  );
}
