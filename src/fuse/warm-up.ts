// Code that has run some times is compiled, code that runs for the first time is parsed and interpreted, and the start
// of a container is the first few hundred requests. So a serving thread that has nothing to do yet answers some to nobody.
import { closeSync, openSync, writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { LayersFs } from '../rootfs/layers-fs.js';
import { mergeLayers } from '../rootfs/merge.js';
import { type Caller, ROOT_NODE, type RootFs } from '../rootfs/types.js';
import type { EntryType, TarEntry } from '../stargz/tar/entry.js';
import { readPayload } from '../stargz/tar/scan.js';
import { FUSE_MAJOR, FUSE_MINOR_MAX, OP } from './protocol.js';
import { FuseServer } from './server.js';

/** Measured with python's start: with 20 or more, its requests cost a third less of this thread's time than with none. */
const ROUNDS = 50;
const NOBODY: Caller = { pid: 0, uid: 0, gid: 0 };
/** Not served, but asked: interpreters want to know whether each file that they open is a terminal. */
const IOCTL = 39;
const FILE_BYTES = 1024;
/** Entries of a directory: the listings of interpreters' libraries are what takes longest at first. */
const FILES = 40;

/**
 * Takes some 7 ms, three times as long for a directory of the machine.
 * @param fs is asked, and closed; its root has a regular file in it. Absent: a made up image.
 */
export function warmUp(fs: RootFs = madeUp()): void {
  const nowhere = openSync('/dev/null', 'w');
  try {
    const server = new FuseServer(fs);
    const ask = (opcode: number, node: number, body: Uint8Array): void => {
      server.request.compose(opcode, node, NOBODY, body);
      const length = server.handle();
      if (length > 0) writeSync(nowhere, server.reply.bytes, 0, length, null);
    };
    /** The first eight bytes of an answer: the node of a look-up, the handle of an open. */
    const given = () => server.reply.words[4]!;
    ask(OP.INIT, 0, words(FUSE_MAJOR, FUSE_MINOR_MAX, 128 * 1024, 0xffff_ffff));
    const entries = fs.readdir(ROOT_NODE, NOBODY);
    const known = Buffer.from(`${entries.find(({ type }) => type === 'reg')!.name}\0`);
    const unknown = Buffer.from('missing\0');
    const link = entries.find(({ type }) => type === 'symlink');
    const listing = words(0, 0, 0, 0, 32 * 1024, 0, 0, 0, 0, 0); // fh 8, offset 8, size 4 …
    const nothing = words(0, 0, 0, 0, 0, 0);
    ask(OP.GETATTR, ROOT_NODE, nothing);
    ask(OP.GETXATTR, ROOT_NODE, Buffer.from('\0\0\0\0\0\0\0\0security.capability\0'));
    ask(OP.OPENDIR, ROOT_NODE, nothing);
    for (let i = 0; i < ROUNDS; i++) {
      ask(OP.LOOKUP, ROOT_NODE, unknown);
      ask(OP.LOOKUP, ROOT_NODE, known);
      const file = given();
      ask(OP.GETATTR, file, nothing);
      ask(OP.OPEN, file, nothing);
      const handle = given();
      ask(OP.READ, file, words(handle, 0, 0, 0, FILE_BYTES, 0, 0, 0, 0, 0));
      ask(OP.RELEASE, file, words(handle, 0, 0, 0, 0, 0));
      ask(IOCTL, file, nothing);
      ask(OP.FORGET, file, words(1, 0));
      if (i % 16 !== 0) continue;
      ask(OP.READDIRPLUS, ROOT_NODE, listing);
      ask(OP.READDIR, ROOT_NODE, listing);
      if (link) ask(OP.READLINK, link.node, nothing);
    }
  } finally {
    closeSync(nowhere);
    fs.close();
  }
}

/** An image of one layer. The content of all its files is the beginning of this one. */
function madeUp(): RootFs {
  const fd = openSync(fileURLToPath(import.meta.url), 'r');
  const files = Array.from({ length: FILES }, (_, i) => entry(i, 'reg', `file-${i}`));
  const tree = mergeLayers([[...files, entry(FILES, 'symlink', 'link')]]);
  return new LayersFs(tree, (_layer, file, offset, into) => readPayload(fd, file, offset, into), {
    onClose: () => closeSync(fd),
  });
}

function words(...values: number[]): Uint8Array {
  return new Uint8Array(new Uint32Array(values).buffer);
}

function entry(index: number, type: EntryType, path: string): TarEntry {
  return {
    index,
    headerOffset: 0,
    payloadOffset: 0,
    payloadSize: 0,
    end: 0,
    type,
    name: path,
    path,
    linkName: type === 'symlink' ? 'lib' : '',
    mode: 0o755,
    uid: 0,
    gid: 0,
    uname: '',
    gname: '',
    size: type === 'reg' ? FILE_BYTES : 0,
    mtime: { sec: 0, nsec: 0 },
    devMajor: 0,
    devMinor: 0,
  };
}
