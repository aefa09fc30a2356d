// One request buffer and one reply buffer, reused for the life of a connection. Reads and writes the structs of
// protocol.ts in place; knows nothing of file systems beyond the shape of their attributes.
import { bytesToPath, pathToBytes } from '../paths.js';
import type { Attr, Caller, NodeType } from '../rootfs/types.js';
import { IN_HEADER, MAX_READ, OUT_HEADER, REQUEST_BUFFER } from './protocol.js';

const TWO_32 = 0x1_0000_0000;

/** File type bits of st_mode (inode(7)). A directory entry's d_type is the same number >> 12. */
export const TYPE_BITS: Record<NodeType, number> = {
  fifo: 0o010000,
  char: 0o020000,
  dir: 0o040000,
  block: 0o060000,
  reg: 0o100000,
  symlink: 0o120000,
  socket: 0o140000,
};

/** The kernel's 32-bit device number (new_encode_dev): minor 8 low bits, major 12 bits, minor 12 high bits. */
export function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

/** A request as it came from the kernel: header (protocol.ts IN_HEADER) and body. */
export class Request {
  readonly bytes = Buffer.from(new ArrayBuffer(REQUEST_BUFFER));
  readonly words = new Uint32Array(this.bytes.buffer);
  #caller: Caller = { pid: 0, uid: 0, gid: 0 };

  get opcode(): number {
    return this.words[1]!;
  }

  get nodeid(): number {
    return this.u64(16);
  }

  /** Its two words, as the reply has to repeat them. */
  get unique(): [number, number] {
    return [this.words[2]!, this.words[3]!];
  }

  /** The same object for consecutive requests of one process: it is kept by observers and never changed. */
  get caller(): Caller {
    const { words } = this;
    const known = this.#caller;
    if (known.pid === words[8] && known.uid === words[6] && known.gid === words[7]) return known;
    this.#caller = { uid: words[6]!, gid: words[7]!, pid: words[8]! };
    return this.#caller;
  }

  u32(at: number): number {
    return this.words[at >> 2]!;
  }

  /** Exact below 2^53: node ids, handles and offsets all are. */
  u64(at: number): number {
    return this.words[at >> 2]! + this.words[(at >> 2) + 1]! * TWO_32;
  }

  /** End of the NUL-terminated string at `at`; the kernel always terminates it within the request. */
  stringEnd(at: number): number {
    const end = this.bytes.indexOf(0, at);
    return end < 0 || end > this.words[0]! ? this.words[0]! : end;
  }

  name(at: number, end: number): string {
    for (let i = at; i < end; i++) {
      if (this.bytes[i]! >= 0x80) return bytesToPath(this.bytes.subarray(at, end));
    }
    return this.bytes.toString('latin1', at, end);
  }

  /** Puts a request together, as the kernel does: for tests without a kernel. Returns its length. */
  compose(opcode: number, nodeid: number, caller: Caller, body: Uint8Array): number {
    const length = IN_HEADER + body.length;
    const { words } = this;
    words.set([length, opcode, words[2]! + 1, 0, nodeid >>> 0, Math.floor(nodeid / TWO_32)]);
    words.set([caller.uid, caller.gid, caller.pid, 0], 6);
    this.bytes.set(body, IN_HEADER);
    return length;
  }
}

/** The reply in the making. Positions are absolute in the buffer: the body starts at OUT_HEADER. */
export class Reply {
  bytes = Buffer.from(new ArrayBuffer(OUT_HEADER + MAX_READ));
  words = new Uint32Array(this.bytes.buffer, 0, this.bytes.length >> 2);

  /** Room for a body of `size` bytes. What was written before is lost. */
  reserve(size: number): void {
    if (OUT_HEADER + size <= this.bytes.length) return;
    this.bytes = Buffer.from(new ArrayBuffer((OUT_HEADER + size + 4095) & ~4095));
    this.words = new Uint32Array(this.bytes.buffer);
  }

  u32(at: number, value: number): void {
    this.words[at >> 2] = value;
  }

  /** Any integer of less than 53 bits, negative ones as two's complement. */
  u64(at: number, value: number): void {
    this.words[at >> 2] = value;
    this.words[(at >> 2) + 1] = Math.floor(value / TWO_32);
  }

  zero(at: number, length: number): void {
    this.words.fill(0, at >> 2, (at + length) >> 2);
  }

  /** A timeout as its two separated members. */
  timeout(secondsAt: number, nanosAt: number, seconds: number): void {
    const whole = Math.floor(seconds);
    this.u64(secondsAt, whole);
    this.u32(nanosAt, Math.floor((seconds - whole) * 1e9));
  }

  /** struct fuse_attr at `at`. A tar knows one time only, so atime and ctime are the mtime. */
  attr(at: number, attr: Attr, uid: number, gid: number): void {
    this.u64(at, attr.ino);
    this.u64(at + 8, attr.size);
    this.u64(at + 16, attr.blocks);
    this.u64(at + 24, attr.mtimeSec);
    this.u64(at + 32, attr.mtimeSec);
    this.u64(at + 40, attr.mtimeSec);
    this.u32(at + 48, attr.mtimeNsec);
    this.u32(at + 52, attr.mtimeNsec);
    this.u32(at + 56, attr.mtimeNsec);
    this.u32(at + 60, TYPE_BITS[attr.type] | attr.mode);
    this.u32(at + 64, attr.nlink);
    this.u32(at + 68, uid);
    this.u32(at + 72, gid);
    this.u32(at + 76, encodeDevice(attr.rdevMajor, attr.rdevMinor));
    this.u32(at + 80, 4096);
    this.u32(at + 84, 0);
  }

  /** Finishes a reply whose body is `bodyLength` bytes; returns how many bytes to write to the device. */
  finish(request: Request, bodyLength: number): number {
    return this.#header(request, OUT_HEADER + bodyLength, 0);
  }

  fail(request: Request, errno: number): number {
    return this.#header(request, OUT_HEADER, -errno);
  }

  /** The same for what answers no request. @param code of enum fuse_notify_code */
  notify(code: number, bodyLength: number): number {
    this.words[0] = OUT_HEADER + bodyLength;
    this.words[1] = code;
    this.words[2] = 0;
    this.words[3] = 0;
    return OUT_HEADER + bodyLength;
  }

  #header(request: Request, length: number, error: number): number {
    this.words[0] = length;
    this.words[1] = error;
    this.words[2] = request.words[2]!;
    this.words[3] = request.words[3]!;
    return length;
  }
}

/** A whole reply of its own, for a request that is not at hand any more. @param body bytes, or the errno of a failure */
export function lateReply(unique: readonly [number, number], body: Uint8Array | number): Buffer {
  const size = typeof body === 'number' ? 0 : body.length;
  const bytes = Buffer.from(new ArrayBuffer(OUT_HEADER + size));
  const words = new Int32Array(bytes.buffer, 0, OUT_HEADER / 4);
  words.set([bytes.length, typeof body === 'number' ? -body : 0, unique[0], unique[1]]);
  if (typeof body !== 'number') bytes.set(body, OUT_HEADER);
  return bytes;
}

/** The name's bytes when it is not plain ASCII, else undefined: then it has one byte a character. */
export function encodedName(name: string): Buffer | undefined {
  for (let i = 0; i < name.length; i++) {
    if (name.charCodeAt(i) >= 0x80) return pathToBytes(name);
  }
  return undefined;
}
