// Requests composed as the kernel composes them (include/uapi/linux/fuse.h), without a kernel.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIdMap } from '../../src/fuse/id-map.js';
import { INIT_FLAG, negotiateInit, OP } from '../../src/fuse/protocol.js';
import { FuseServer, type ServerOptions } from '../../src/fuse/server.js';
import { encodeDevice } from '../../src/fuse/wire.js';
import { ERRNO } from '../../src/rootfs/types.js';
import { MemoryFs, type NodeSpec, patternBytes } from '../support/memory-fs.js';

const CALLER = { pid: 4321, uid: 1000, gid: 100 };

/** A struct body from members, each [bytes, value]; the values may exceed 32 bits. */
function struct(...members: [2 | 4 | 8, number | bigint][]): Buffer {
  const out = Buffer.alloc(members.reduce((sum, [size]) => sum + size, 0));
  let at = 0;
  for (const [size, value] of members) {
    if (size === 8) out.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), at);
    else if (size === 4) out.writeUInt32LE(Number(value), at);
    else out.writeUInt16LE(Number(value), at);
    at += size;
  }
  return out;
}

const name = (text: string | Buffer) => Buffer.concat([Buffer.from(text as string), Buffer.from([0])]);

class Kernel {
  readonly fs: MemoryFs;
  readonly server: FuseServer;
  readonly faults: string[] = [];

  constructor(nodes: readonly NodeSpec[], options: ServerOptions = {}, many = 0) {
    this.fs = new MemoryFs({ nodes, many: [{ prefix: 'many/file-', count: many, size: 1 }] });
    const onFault = (error: unknown, op: string) => this.faults.push(`${op}: ${(error as Error).message}`);
    this.server = new FuseServer(this.fs, { onFault, ...options });
  }

  /** Sends a request; returns errno (0 = none) and the body of the reply, or undefined when there is no reply. */
  ask(
    opcode: number,
    nodeid: number,
    body: Uint8Array = new Uint8Array(),
  ): { errno: number; body: Buffer } | undefined {
    this.server.request.compose(opcode, nodeid, CALLER, body);
    const length = this.server.handle();
    if (length === 0) return undefined;
    const reply = Buffer.from(this.server.reply.bytes.subarray(0, length));
    assert.equal(reply.readUInt32LE(0), length, 'fuse_out_header.len');
    assert.deepEqual(reply.subarray(8, 16), this.server.request.bytes.subarray(8, 16), 'unique');
    return { errno: -reply.readInt32LE(4) || 0, body: reply.subarray(16) };
  }

  must(opcode: number, nodeid: number, body?: Uint8Array): Buffer {
    const reply = this.ask(opcode, nodeid, body);
    assert.equal(reply?.errno, 0);
    return reply.body;
  }

  lookup(parent: number, text: string | Buffer): { node: number; body: Buffer } {
    const body = this.must(OP.LOOKUP, parent, name(text));
    return { node: Number(body.readBigUInt64LE(0)), body };
  }
}

const INIT_OFFER = struct([4, 7], [4, 45], [4, 131072], [4, 0x73fffffb], [4, 0x5fd], [4, 0], [8, 0], [8, 0]);

test('INIT takes what it knows of the offer and nothing else', () => {
  const body = new Kernel([]).must(OP.INIT, 0, INIT_OFFER);
  assert.equal(body.length, 64);
  const flags = body.readUInt32LE(12);
  assert.deepEqual(
    {
      major: body.readUInt32LE(0),
      minor: body.readUInt32LE(4),
      readahead: body.readUInt32LE(8),
      maxWrite: body.readUInt32LE(20),
      timeGran: body.readUInt32LE(24),
      maxPages: body.readUInt16LE(28),
      flags2: body.readUInt32LE(32),
      plus: (flags & INIT_FLAG.DO_READDIRPLUS) !== 0,
      noOpen: flags & (1 << 17),
      exported: flags & (1 << 4),
    },
    {
      major: 7,
      minor: 45,
      readahead: 131072,
      maxWrite: 65536,
      timeGran: 1,
      maxPages: 256,
      flags2: 0,
      plus: true,
      noOpen: 0,
      exported: 0,
    },
  );
});

test('INIT options: page-exact reads, no readdirplus, older and newer kernels', () => {
  const offer = { major: 7, minor: 31, maxReadahead: 131072, flags: 0xffffffff };
  assert.equal(negotiateInit(offer, { maxReadahead: 0 }).maxReadahead, 0);
  assert.equal(negotiateInit(offer, { maxReadahead: 1 << 30 }).maxReadahead, 131072);
  assert.equal(negotiateInit({ ...offer, minor: 60 }, {}).minor, 45);
  assert.equal(negotiateInit({ ...offer, flags: 1 }, {}).flags, INIT_FLAG.ASYNC_READ);
  const plus = INIT_FLAG.DO_READDIRPLUS | INIT_FLAG.READDIRPLUS_AUTO;
  assert.equal(negotiateInit(offer, { readdirplus: false }).flags & plus, 0);
  const kernel = new Kernel([]);
  assert.equal(kernel.ask(OP.INIT, 0, struct([4, 7], [4, 30], [4, 0], [4, 0]))?.errno, 71, 'too old');
  assert.match(kernel.server.refusal ?? '', /speaks FUSE 7\.30, expected at least 7\.31/);
  assert.equal(kernel.server.init, undefined);
  const newer = kernel.must(OP.INIT, 0, struct([4, 8], [4, 0], [4, 0], [4, 0]));
  assert.equal(newer.readUInt32LE(0), 7);
  assert.equal(kernel.server.init, undefined, 'waits for the second INIT');
});

test('LOOKUP: attributes to the bit, times before 1970 included', () => {
  const kernel = new Kernel(
    [
      {
        path: 'd/dev',
        type: 'char',
        mode: 0o4640,
        uid: 7,
        gid: 4_000_000_000,
        rdev: [259, 70_000],
        mtimeSec: -2,
        mtimeNsec: 5,
      },
      {
        path: 'd/big',
        type: 'reg',
        content: { size: 6 * 2 ** 30 + 3, islands: [] },
        mtimeSec: 2 ** 33,
        mtimeNsec: 999_999_999,
      },
    ],
    { ttlSeconds: 2.5 },
  );
  const { node: dir } = kernel.lookup(1, 'd');
  const { body } = kernel.lookup(dir, 'dev');
  assert.equal(body.length, 128);
  assert.equal(body.readBigUInt64LE(16), 2n);
  assert.equal(body.readUInt32LE(32), 500_000_000);
  for (const at of [64, 72, 80]) assert.equal(body.readBigInt64LE(at), -2n);
  for (const at of [88, 92, 96]) assert.equal(body.readUInt32LE(at), 5);
  assert.equal(body.readUInt32LE(100), 0o020000 | 0o4640);
  assert.equal(body.readUInt32LE(108), 7);
  assert.equal(body.readUInt32LE(112), 4_000_000_000);
  assert.equal(body.readUInt32LE(116), encodeDevice(259, 70_000));
  const big = kernel.lookup(dir, 'big').body;
  assert.equal(big.readBigUInt64LE(48), 6n * 2n ** 30n + 3n);
  assert.equal(big.readBigUInt64LE(72), 2n ** 33n);
});

test('device numbers are encoded as the kernel does (new_encode_dev)', () => {
  assert.equal(encodeDevice(1, 3), 0x103);
  assert.equal(encodeDevice(259, 0x12345), (0x45 | (259 << 8) | (0x12300 << 12)) >>> 0);
  assert.equal(encodeDevice(0xfff, 0xfffff), 0xffffffff);
});

test('LOOKUP of what is not there: node 0 with a lifetime; other errors stay errors', () => {
  const kernel = new Kernel([{ path: 'a', type: 'reg' }]);
  const { node, body } = kernel.lookup(1, 'nope');
  assert.equal(node, 0);
  assert.equal(body.readBigUInt64LE(16), 3600n);
  assert.equal(kernel.ask(OP.LOOKUP, 1, name('x'.repeat(256)))?.errno, ERRNO.ENAMETOOLONG);
  assert.deepEqual(
    kernel.fs.log.map((entry) => entry.path),
    ['/nope'],
    'the long name never reached the file system',
  );
  assert.equal(kernel.ask(OP.GETATTR, 99, struct([4, 0], [4, 0], [8, 0]))?.errno, ERRNO.ENOENT);
});

test('names are bytes', () => {
  const latin1 = 'caf\udce9';
  const kernel = new Kernel([
    { path: latin1, type: 'reg' },
    { path: 'ü', type: 'reg' },
  ]);
  assert.equal(kernel.lookup(1, Buffer.from([0x63, 0x61, 0x66, 0xe9])).node, 2);
  assert.equal(kernel.lookup(1, 'ü').node, 3);
  assert.equal(kernel.lookup(1, 'café').node, 0);
});

test('READ: the whole size that was asked for, also beyond 1 MiB and 4 GiB', () => {
  const size = 3 * 2 ** 20;
  const kernel = new Kernel([
    { path: 'f', type: 'reg', content: { size, seed: 9 } },
    { path: 's', type: 'reg', content: { size: 6 * 2 ** 30, islands: [{ at: 5 * 2 ** 30 + 1, text: 'island' }] } },
  ]);
  const read = (node: number, offset: number, length: number) => {
    const fh = Number(kernel.must(OP.OPEN, node, struct([4, 0], [4, 0])).readBigUInt64LE(0));
    const body = kernel.must(OP.READ, node, struct([8, fh], [8, offset], [4, length], [4, 0], [8, 0], [4, 0], [4, 0]));
    kernel.must(OP.RELEASE, node, struct([8, fh], [4, 0], [4, 0], [8, 0]));
    return body;
  };
  assert.deepEqual(read(2, 5, 2 * 2 ** 20), patternBytes(9, size).subarray(5, 5 + 2 * 2 ** 20));
  assert.equal(read(2, size - 10, 4096).length, 10);
  assert.equal(read(2, size, 4096).length, 0);
  assert.equal(read(3, 5 * 2 ** 30, 8).toString('latin1'), '\0island\0');
  assert.equal(kernel.fs.result().openHandles, 0);
});

/** Reads a directory the way the kernel does; `size` small enough for many requests. */
function readAll(kernel: Kernel, node: number, size: number, plus: boolean) {
  const found: { name: string; ino: number; type: number; node: number }[] = [];
  let offset = 0n;
  for (let requests = 0; requests < 20_000; requests++) {
    const body = kernel.must(
      plus ? OP.READDIRPLUS : OP.READDIR,
      node,
      struct([8, 0], [8, offset], [4, size], [4, 0], [8, 0], [4, 0], [4, 0]),
    );
    if (body.length === 0) return found;
    assert.ok(body.length <= size);
    for (let at = 0; at < body.length; ) {
      const entry = plus ? Number(body.readBigUInt64LE(at)) : 0;
      if (plus) at += 128;
      const length = body.readUInt32LE(at + 16);
      offset = body.readBigUInt64LE(at + 8);
      found.push({
        name: body.toString('latin1', at + 24, at + 24 + length),
        ino: Number(body.readBigUInt64LE(at)),
        type: body.readUInt32LE(at + 20),
        node: entry,
      });
      at += (24 + length + 7) & ~7;
    }
  }
  throw new Error('the listing does not end');
}

for (const plus of [false, true]) {
  test(`${plus ? 'READDIRPLUS' : 'READDIR'}: 20,000 entries, each once, from one listing`, () => {
    const kernel = new Kernel([], {}, 20_000);
    const { node } = kernel.lookup(1, 'many');
    const found = readAll(kernel, node, 4096, plus);
    assert.deepEqual(
      found.slice(0, 2).map((e) => [e.name, e.ino, e.type]),
      [
        ['.', node, 4],
        ['..', 1, 4],
      ],
    );
    assert.equal(new Set(found.map((entry) => entry.name)).size, 20_002);
    assert.equal(found.length, 20_002);
    assert.equal(kernel.fs.log.filter((entry) => entry.op === 'readdir').length, 1);
    const lookups = kernel.fs.log.filter((entry) => entry.op === 'lookup').length;
    assert.equal(lookups, 1 + (plus ? 20_000 : 0), 'an entry is looked up only when it is put in a reply');
    if (plus) assert.ok(found.slice(2).every((entry) => entry.node === entry.ino));
  });
}

test('READDIR in the middle, twice, and of 40 directories in turns', () => {
  const kernel = new Kernel([
    ...Array.from({ length: 40 }, (_, d) =>
      [1, 2, 3].map((f) => ({ path: `d${d}/f${f}`, type: 'reg' as const })),
    ).flat(),
  ]);
  const dirs = Array.from({ length: 40 }, (_, d) => kernel.lookup(1, `d${d}`).node);
  const step = (node: number, offset: number) =>
    kernel.must(OP.READDIR, node, struct([8, 0], [8, offset], [4, 64], [4, 0], [8, 0], [4, 0], [4, 0]));
  const names = new Map<number, string[]>();
  for (let offset = 0; offset < 6; offset += 2) {
    for (const node of dirs) {
      const body = step(node, offset);
      const list = names.get(node) ?? [];
      for (let at = 0; at < body.length; at += 32)
        list.push(body.toString('latin1', at + 24, at + 24 + body.readUInt32LE(at + 16)));
      names.set(node, list);
    }
  }
  for (const list of names.values()) assert.deepEqual(list, ['.', '..', 'f1', 'f2', 'f3']);
});

test('a name no file system can have is left out of the listing and reported', () => {
  const kernel = new Kernel([
    { path: 'x'.repeat(256), type: 'reg' },
    { path: 'ok', type: 'reg' },
  ]);
  assert.deepEqual(
    readAll(kernel, 1, 4096, true).map((entry) => entry.name),
    ['.', '..', 'ok'],
  );
  assert.equal(kernel.faults.length, 1);
});

test('xattrs: how big, too small, the value, the list', () => {
  const value = Buffer.from([1, 0, 0, 2, 0xff, 0x80]);
  const kernel = new Kernel([
    { path: 'f', type: 'reg', xattrs: { 'security.capability': value, 'user.a': Buffer.alloc(0) } },
  ]);
  const get = (attr: string, size: number) =>
    kernel.ask(OP.GETXATTR, 2, Buffer.concat([struct([4, size], [4, 0]), name(attr)]));
  assert.deepEqual(get('security.capability', 0)?.body, struct([4, 6], [4, 0]));
  assert.equal(get('security.capability', 5)?.errno, ERRNO.ERANGE);
  assert.deepEqual(get('security.capability', 6)?.body, value);
  assert.deepEqual(get('user.a', 100)?.body, Buffer.alloc(0));
  assert.equal(get('user.b', 100)?.errno, ERRNO.ENODATA);
  const list = (size: number) => kernel.ask(OP.LISTXATTR, 2, struct([4, size], [4, 0]));
  assert.equal(list(0)?.body.readUInt32LE(0), 27);
  assert.equal(list(26)?.errno, ERRNO.ERANGE);
  assert.equal(list(27)?.body.toString(), 'security.capability\0user.a\0');
});

test('FORGET and BATCH_FORGET give back exactly the references of look-ups, without a reply', () => {
  const kernel = new Kernel([
    { path: 'd/a', type: 'reg' },
    { path: 'd/b', type: 'reg' },
  ]);
  const { node } = kernel.lookup(1, 'd');
  kernel.lookup(1, 'd');
  const [, , a, b] = readAll(kernel, node, 4096, true);
  assert.equal(kernel.fs.result().references, 4);
  assert.equal(kernel.ask(OP.FORGET, node, struct([8, 2])), undefined);
  assert.equal(
    kernel.ask(OP.BATCH_FORGET, 0, struct([4, 2], [4, 0], [8, a!.node], [8, 1], [8, b!.node], [8, 1])),
    undefined,
  );
  assert.equal(kernel.fs.result().references, 0);
  assert.equal(kernel.ask(OP.FORGET, 12345, struct([8, 1])), undefined, 'an error has no reply either');
});

test('everything that writes is EROFS, what is not known is ENOSYS', () => {
  const kernel = new Kernel([{ path: 'f', type: 'reg', content: { text: 'x' } }]);
  const writing = [4, 6, 8, 9, 10, 11, 12, 13, 16, 21, 24, 35, 43, 45, 47, 51];
  for (const opcode of writing)
    assert.equal(kernel.ask(opcode, 2, Buffer.alloc(64))?.errno, ERRNO.EROFS, `opcode ${opcode}`);
  for (const flags of [1, 2, 0o1000])
    assert.equal(kernel.ask(OP.OPEN, 2, struct([4, flags], [4, 0]))?.errno, ERRNO.EROFS);
  for (const opcode of [20, 25, 30, 37, 39, 40, 46, 50, 52, 4096])
    assert.equal(kernel.ask(opcode, 2)?.errno, ERRNO.ENOSYS);
  assert.equal(kernel.ask(OP.ACCESS, 2, struct([4, 2], [4, 0]))?.errno, ERRNO.EROFS);
  assert.equal(kernel.ask(OP.ACCESS, 2, struct([4, 5], [4, 0]))?.errno, 0);
  assert.equal(kernel.ask(OP.INTERRUPT, 0, struct([8, 1])), undefined);
  assert.deepEqual(kernel.faults, []);
});

test('a defect of the file system is EIO for its asker, counted, and ends nothing', () => {
  const kernel = new Kernel([
    { path: 'bad', type: 'reg', broken: 'throws', content: { text: 'x' } },
    { path: 'io', type: 'reg', broken: ERRNO.EACCES, content: { text: 'x' } },
  ]);
  const read = (node: number) => {
    const fh = kernel.must(OP.OPEN, node, struct([4, 0], [4, 0])).readBigUInt64LE(0);
    return kernel.ask(OP.READ, node, struct([8, fh], [8, 0], [4, 4096], [4, 0], [8, 0], [4, 0], [4, 0]))?.errno;
  };
  assert.equal(read(2), ERRNO.EIO);
  assert.equal(read(3), ERRNO.EACCES);
  assert.deepEqual(kernel.faults, ['READ: the memory file system was told to break']);
});

test('requests carry who asks; consecutive ones share the object', () => {
  const kernel = new Kernel([]);
  kernel.lookup(1, 'a');
  assert.deepEqual(kernel.server.request.caller, CALLER);
  assert.equal(kernel.server.request.caller, kernel.server.request.caller);
  assert.equal(kernel.fs.log[0]?.pid, CALLER.pid);
});

test('STATFS, READLINK, OPENDIR with and without the kernel knowing to do without', () => {
  const kernel = new Kernel([{ path: 'l', type: 'symlink', target: 'ziel/ü' }]);
  const statfs = kernel.must(OP.STATFS, 1);
  assert.equal(statfs.length, 80);
  assert.deepEqual([statfs.readBigUInt64LE(0), statfs.readUInt32LE(44), statfs.readUInt32LE(48)], [4242n, 255, 512]);
  assert.equal(kernel.must(OP.READLINK, 2).toString(), 'ziel/ü');
  assert.equal(kernel.ask(OP.READLINK, 1)?.errno, ERRNO.EINVAL);
  assert.equal(kernel.must(OP.OPENDIR, 1, struct([4, 0], [4, 0])).length, 16);
  kernel.must(OP.INIT, 0, INIT_OFFER);
  assert.equal(kernel.ask(OP.OPENDIR, 1, struct([4, 0], [4, 0]))?.errno, ERRNO.ENOSYS);
});

test('the kernel is told to open files by itself only where nobody has to see it', () => {
  for (const stateless of [false, true]) {
    const kernel = new Kernel([{ path: 'f', type: 'reg', content: { text: 'x' } }]);
    if (stateless) Object.assign(kernel.fs, { stateless });
    const NO_OPEN_SUPPORT = 1 << 17;
    const flags = kernel.must(OP.INIT, 0, INIT_OFFER).readUInt32LE(12);
    assert.equal((flags & NO_OPEN_SUPPORT) !== 0, stateless);
    const expected = stateless ? ERRNO.ENOSYS : 0;
    assert.equal(kernel.ask(OP.OPEN, 2, struct([4, 0], [4, 0]))?.errno, expected);
  }
});

test('owners that a user namespace does not have are its root', () => {
  const map = parseIdMap('         0       1000          1\n         5     100000      65536\n');
  assert.ok(map);
  assert.deepEqual([0, 1, 4, 5, 65540, 65541].map(map), [0, 0, 0, 5, 65540, 0]);
  assert.equal(parseIdMap('         0          0 4294967295\n'), undefined);
  assert.equal(parseIdMap(''), undefined);
  const kernel = new Kernel([{ path: 'f', type: 'reg', uid: 3, gid: 44 }], { mapUid: map, mapGid: map });
  const { body } = kernel.lookup(1, 'f');
  assert.deepEqual([body.readUInt32LE(108), body.readUInt32LE(112)], [0, 44]);
  const attr = kernel.must(OP.GETATTR, 2, struct([4, 0], [4, 0], [8, 0]));
  assert.deepEqual([attr.length, attr.readUInt32LE(84), attr.readUInt32LE(88)], [104, 0, 44]);
});
