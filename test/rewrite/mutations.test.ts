// Verification must name what was changed, and nothing else. One thing is changed at a time in an image that it
// accepts; everything that follows from the change (offsets, digests, config, manifest) is made consistent.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Plan } from '../../src/analyze/types.js';
import { charDevice, dir, file, globalPax, hardlink, symlink, tarOf, whiteout } from '../support/tar.js';
import { type ImageState, type Part, repack, unpack } from './repack.js';
import { CHUNK, complaints, Workbench } from './workbench.js';

/** sha256 of nothing. */
const EMPTY = 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
const X = Buffer.from([0x80, 0xff, 0x00]);
const LONG = Buffer.alloc(2 * CHUNK + 10, 'chunks ');
const LAYERS = [
  tarOf(
    dir('bin/', { uid: 1, gid: 2, uname: 'bin', gname: 'wheel' }),
    file('bin/sh', 'shell', { mode: 0o755, mtime: { sec: 1000, nsec: 250_000_000 }, xattrs: { 'user.x': X } }),
    file('bin/ls', 'lists'),
    hardlink('bin/dir', 'bin/ls'),
    symlink('sh', 'bin/sh'),
    charDevice('null', 1, 3),
    file('long', LONG),
    file('empty'),
    file('twice', 'one'),
    file('twice', 'two'),
  ),
  tarOf(globalPax({ comment: 'commit' }), file('etc/conf', 'conf'), whiteout('bin/ls'), hardlink('etc/sh', 'bin/sh')),
];
const HOT = [['bin/dir', 'long'], []];

let bench: Workbench;
let original: string;
let optimized: string;
let plan: Plan;

before(async () => {
  bench = new Workbench();
  original = bench.layout({
    layers: LAYERS,
    config: { config: { Env: ['A=b'], Cmd: ['x'] }, history: [{ created_by: 'one' }, { created_by: 'two' }] },
    annotations: { 'org.example.manifest': 'kept' },
    layerAnnotations: [{ 'org.example.layer': 'kept' }],
  });
  ({ reference: optimized, plan } = await bench.optimize(original, HOT));
});
after(() => bench[Symbol.dispose]());

test('taken apart and put together without a change it is still accepted', async () => {
  const again = repack(await unpack(optimized), bench.fresh('same'));
  assert.deepEqual(complaints(await bench.verify(original, again, plan)), []);
});

/** The part of that name in a layer. */
function part(state: ImageState, layer: number, name: string): Part {
  const found = state.layers[layer]!.parts.find((p) => p.name === name);
  assert.ok(found, `no part ${name}`);
  return found;
}

function reheader(target: Part, bytes: Buffer): void {
  // Built with the payload it has, so that only the header is taken.
  target.header = bytes.subarray(0, bytes.length - padded(target.payload.length));
}
const padded = (size: number) => Math.ceil(size / 512) * 512;

function move(state: ImageState, layer: number, name: string, to: number): void {
  const { parts } = state.layers[layer]!;
  const from = parts.findIndex((p) => p.name === name);
  const [moved] = parts.splice(from, 1);
  parts.splice(to, 0, moved!);
}

const positionOf = (state: ImageState, layer: number, name: string) =>
  state.layers[layer]!.parts.findIndex((p) => p.name === name);

interface Mutation {
  name: string;
  change: (state: ImageState) => void;
  /** What verification must say: every line matches one of these, each of these matches a line. */
  want: RegExp[];
}

const SH_META = { mode: 0o755, mtime: { sec: 1000, nsec: 250_000_000 }, xattrs: { 'user.x': X } };
const BOTH = (check: string, layer: number, entry: string, what: string): RegExp[] => [
  new RegExp(`^${check}: layer ${layer} ${entry}: ${what}`),
  new RegExp(`^${check}: layer undefined /${entry}: merged tree: ${what}`),
];

const MUTATIONS: Mutation[] = [
  {
    name: 'a header byte that means nothing',
    change: (s) => reheader(part(s, 0, 'bin/ls'), file('bin/ls', 'lists', { raw: { devmajor: '0000001' } })),
    want: [/^files: layer 0 bin\/ls: header bytes differ \(512 and 512 bytes\)/],
  },
  {
    name: 'unused bytes at the end of a header',
    change: (s) => {
      const p = part(s, 0, 'bin/ls');
      p.header = Buffer.from(p.header);
      p.header[505] = 1;
      const sum = [...p.header].reduce((a, b, i) => a + (i >= 148 && i < 156 ? 0x20 : b), 0);
      p.header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
    },
    want: [/^files: layer 0 bin\/ls: header bytes differ \(512 and 512 bytes\), first at 1\d\d:/],
  },
  {
    name: 'the content of two files of the same size is swapped',
    change: (s) => {
      const [a, b] = [part(s, 0, 'bin/sh'), part(s, 0, 'bin/ls')];
      [a.payload, b.payload] = [b.payload, a.payload];
    },
    want: [
      /^content: layer 0 bin\/sh: content differs: expected sha256:\w{64}, found sha256:\w{64}$/,
      /^content: layer 0 bin\/ls: content differs/,
      /^content: layer undefined \/bin\/(sh|dir): merged tree: content/,
    ],
  },
  {
    name: 'one byte of a file, digests in the TOC made right',
    change: (s) => {
      part(s, 0, 'long').payload[CHUNK + 5]! ^= 1;
    },
    want: BOTH('content', 0, 'long', 'content differs'),
  },
  {
    name: 'mode',
    change: (s) => {
      reheader(part(s, 0, 'bin/sh'), file('bin/sh', 'shell', { ...SH_META, mode: 0o4755 }));
      part(s, 0, 'bin/sh').toc[0]!.mode = 0o4755;
    },
    want: BOTH('files', 0, 'bin/sh', 'mode differs: expected 0755, found 04755'),
  },
  {
    name: 'owner',
    change: (s) => {
      reheader(part(s, 0, 'bin/'), dir('bin/', { uid: 3, gid: 2, uname: 'bin', gname: 'wheel' }));
      Object.assign(part(s, 0, 'bin/').toc[0]!, { uid: 3 });
    },
    want: [
      /^files: layer 0 bin\/: uid differs: expected 1, found 3/,
      /^files: layer undefined \/bin: merged tree: uid/,
    ],
  },
  {
    name: 'group name',
    change: (s) => {
      reheader(part(s, 0, 'bin/'), dir('bin/', { uid: 1, gid: 2, uname: 'bin', gname: 'staff' }));
      Object.assign(part(s, 0, 'bin/').toc[0]!, { groupName: 'staff' });
    },
    want: [/^files: layer 0 bin\/: group name differs/, /^files: layer undefined \/bin: merged tree: group name/],
  },
  {
    name: 'nanoseconds, which the TOC does not have',
    change: (s) =>
      reheader(part(s, 0, 'bin/sh'), file('bin/sh', 'shell', { ...SH_META, mtime: { sec: 1000, nsec: 250_000_001 } })),
    want: BOTH('files', 0, 'bin/sh', 'mtime differs'),
  },
  {
    name: 'a byte of an extended attribute',
    change: (s) => {
      const value = Buffer.from([0x81, 0xff, 0x00]);
      reheader(part(s, 0, 'bin/sh'), file('bin/sh', 'shell', { ...SH_META, xattrs: { 'user.x': value } }));
      part(s, 0, 'bin/sh').toc[0]!.xattrs = { 'user.x': value.toString('base64') };
    },
    want: BOTH('files', 0, 'bin/sh', 'xattr user.x differs: expected 80ff00, found 81ff00'),
  },
  {
    name: 'a symlink target',
    change: (s) => {
      reheader(part(s, 0, 'sh'), symlink('sh', 'bin/ls'));
      part(s, 0, 'sh').toc[0]!.linkName = 'bin/ls';
    },
    want: BOTH('files', 0, 'sh', 'link target differs'),
  },
  {
    name: 'a device number',
    change: (s) => {
      reheader(part(s, 0, 'null'), charDevice('null', 1, 5));
      part(s, 0, 'null').toc[0]!.devMinor = 5;
    },
    want: BOTH('files', 0, 'null', 'device differs: expected 1:3, found 1:5'),
  },
  {
    name: 'a hardlink made a file of the same content',
    change: (s) => {
      const p = part(s, 0, 'bin/dir');
      p.header = file('bin/dir', 'lists').subarray(0, 512);
      p.payload = Buffer.from('lists');
      p.toc = [{ name: 'bin/dir', type: 'reg', size: 5, mode: 0o644 }];
    },
    want: [/^files: layer 0 bin\/dir: (type|link target|size) differs/],
  },
  {
    name: 'an entry dropped',
    change: (s) => void s.layers[0]!.parts.splice(positionOf(s, 0, 'empty'), 1),
    want: [
      /^files: layer 0 empty: an entry of the original is missing: expected reg, found none/,
      /^files: layer undefined \/empty: merged tree: reg is not in the optimized/,
    ],
  },
  {
    name: 'a whiteout dropped',
    change: (s) => void s.layers[1]!.parts.splice(positionOf(s, 1, 'bin/.wh.ls'), 1),
    want: [
      /^files: layer 1 bin\/\.wh\.ls: an entry of the original is missing/,
      /^files: layer undefined \/bin\/ls: merged tree: reg is not in the original/,
      /^files: layer undefined \/bin\/dir: merged tree: set of hardlinked names differs/,
    ],
  },
  {
    name: 'an entry added',
    change: (s) => {
      const header = file('extra', '').subarray(0, 512);
      s.layers[0]!.parts.push({
        name: 'extra',
        header,
        payload: Buffer.alloc(0),
        toc: [{ name: 'extra', type: 'reg', mode: 0o644, digest: EMPTY }],
      });
    },
    want: [/^files: layer 0 extra: the original has no such entry/, /^files: layer undefined \/extra: merged tree/],
  },
  {
    name: 'two entries of one name in the other order',
    change: (s) => {
      const [a, b] = s.layers[0]!.parts.filter((p) => p.name === 'twice') as [Part, Part];
      [a.payload, b.payload] = [b.payload, a.payload];
    },
    want: BOTH('content', 0, 'twice', 'content differs'),
  },
  {
    name: 'a global PAX header gone',
    change: (s) => {
      const p = s.layers[1]!.parts.find((q) => q.name === 'etc/conf')!;
      p.header = p.header.subarray(p.header.length - 512);
    },
    want: [/^files: layer 1 (etc\/conf|etc\/sh|bin\/\.wh\.ls): global PAX records in force differ/],
  },
  {
    name: 'the copy of a link to another layer has other content',
    change: (s) => {
      part(s, 1, 'etc/sh').payload = Buffer.from('SHELL');
    },
    want: BOTH('content', 1, 'etc/sh', 'content differs'),
  },
  {
    name: 'the copy of a link to another layer lost its mode',
    change: (s) => {
      reheader(part(s, 1, 'etc/sh'), file('etc/sh', 'shell', { ...SH_META, mode: 0o644 }));
      part(s, 1, 'etc/sh').toc[0]!.mode = 0o644;
    },
    want: [
      /^files: layer 1 etc\/sh: mode of the copy is not that of "bin\/sh" in layer 0: expected 0755, found 0644/,
      /^files: layer undefined \/etc\/sh: merged tree: mode/,
    ],
  },
  // --- TOC
  ...(
    [
      ['mode', 'bin/sh', { mode: 0o600 }],
      ['uid', 'bin/sh', { uid: 7 }],
      ['gid', 'bin/sh', { gid: 7 }],
      ['userName', 'bin/', { userName: 'other' }],
      ['modtime', 'bin/sh', { modtime: '1970-01-01T00:16:41Z' }],
      ['linkName', 'sh', { linkName: 'bin/ls' }],
      ['devMajor', 'null', { devMajor: 4 }],
      ['xattr user.x', 'bin/sh', { xattrs: { 'user.x': 'AAAA' } }],
      ['xattr user.new', 'empty', { xattrs: { 'user.new': 'AAAA' } }],
      ['name', 'empty', { name: 'full' }],
      ['type', 'sh', { type: 'hardlink' }],
    ] as [string, string, Record<string, unknown>][]
  ).map(
    ([field, entry, fields]): Mutation => ({
      name: `TOC: ${field} of ${entry}`,
      change: (s) => void Object.assign(part(s, 0, entry).toc[0]!, fields),
      want: [new RegExp(`^estargz: layer 0 ${entry}: TOC ${field} is not the tar's`)],
    }),
  ),
  {
    name: 'TOC: size',
    change: (s) => {
      s.layers[0]!.toc = (entries) => entries.map((e) => (e.name === 'bin/sh' ? { ...e, size: 4 } : e));
    },
    want: [/^estargz: layer 0 bin\/sh: TOC size is not the tar's: expected 5, found 4/],
  },
  {
    name: 'TOC: a chunk digest',
    change: (s) => {
      s.layers[0]!.toc = (entries) =>
        entries.map((e) => (e.type === 'chunk' && e.chunkOffset === CHUNK ? { ...e, chunkDigest: EMPTY } : e));
    },
    want: [/^estargz: layer 0 long: chunk digest of chunk 2 of 3 is not that of its bytes: .* found sha256:e3b0/],
  },
  {
    name: 'TOC: the digest of a file, and of an empty one',
    change: (s) => {
      s.layers[0]!.toc = (entries) =>
        entries.map((e) =>
          e.name === 'long' && e.type === 'reg'
            ? { ...e, digest: EMPTY }
            : e.name === 'empty'
              ? { ...e, digest: undefined }
              : e,
        );
    },
    want: [
      /^estargz: layer 0 long: TOC digest of the file is not/,
      /^estargz: layer 0 empty: TOC digest of the file is not .* found absent/,
    ],
  },
  {
    name: 'TOC: an entry missing at the end',
    change: (s) => {
      s.layers[1]!.toc = (entries) => entries.slice(0, -1);
    },
    want: [/^estargz: layer 1 etc\/sh: the TOC has no entry for a file of the tar/],
  },
  {
    name: 'TOC: an entry too many',
    change: (s) => {
      s.layers[1]!.toc = (entries) => [...entries, { name: 'ghost', type: 'reg', digest: EMPTY }];
    },
    want: [/^estargz: layer 1 ghost: the TOC has an entry that the tar has not/],
  },
  {
    name: 'TOC: a chunk missing',
    change: (s) => {
      s.layers[0]!.toc = (entries) => entries.filter((e) => !(e.type === 'chunk' && e.chunkOffset === 2 * CHUNK));
    },
    want: [/^estargz: layer 0 long: the chunks do not cover the file/],
  },
  {
    name: 'TOC: the offsets of two files swapped',
    change: (s) => {
      s.layers[0]!.toc = (entries) => {
        const [a, b] = ['bin/ls', 'bin/sh'].map((name) => entries.find((e) => e.name === name)!);
        [a!.offset, b!.offset] = [b!.offset, a!.offset];
        return entries;
      };
    },
    want: [
      /^estargz: layer 0 \S+: TOC offsets do not increase/,
      /^estargz: layer 0 bin\/(sh|ls): chunk 1 of 1: the member at its offset holds other bytes/,
    ],
  },
  {
    name: 'TOC: an offset into the middle of a member',
    change: (s) => {
      s.layers[0]!.toc = (entries) =>
        entries.map((e) => (e.name === 'bin/sh' ? { ...e, offset: (e.offset as number) + 1 } : e));
    },
    want: [/^estargz: layer 0 bin\/sh: chunk 1 of 1: no gzip member starts at its offset/],
  },
  {
    name: 'TOC: an offset missing',
    change: (s) => {
      s.layers[0]!.toc = (entries) => entries.map((e) => (e.name === 'bin/sh' ? { ...e, offset: undefined } : e));
    },
    want: [/^estargz: layer 0 bin\/sh: chunk 1 of 1 has no offset/],
  },
  {
    name: 'TOC: a field of the wrong type',
    change: (s) => void Object.assign(part(s, 0, 'empty').toc[0]!, { mode: '0644' }),
    want: [/^estargz: layer 0 undefined: the TOC can be read: .*"mode" is "0644"; expected an integer/],
  },
  {
    name: 'content without a member of its own',
    change: (s) => {
      part(s, 0, 'bin/sh').ownMember = false;
    },
    want: [
      /^estargz: layer 0 bin\/sh: no gzip member starts with the file's first byte/,
      /^estargz: layer 0 bin\/sh: (chunk 1 of 1: the member at its offset holds other|TOC offsets do not)/,
    ],
  },
  // --- landmarks and order
  {
    name: 'no landmark',
    change: (s) => void s.layers[0]!.parts.splice(positionOf(s, 0, '.prefetch.landmark'), 1),
    want: [/^estargz: layer 0 undefined: a layer has exactly one landmark: expected 1, found none/],
  },
  {
    name: 'both landmarks',
    change: (s) => {
      const other = part(s, 1, '.no.prefetch.landmark');
      s.layers[0]!.parts.unshift({ ...other, header: other.header.subarray(-512), toc: structuredClone(other.toc) });
    },
    want: [
      /^estargz: layer 0 undefined: a layer has exactly one landmark: .*found \.no\.prefetch\.landmark \(entry 0\), \.prefetch/,
      /^order: layer 0 undefined: kind of the landmark/,
      /^order: layer 0 (bin\/dir|bin\/ls|bin\/|bin|long): (a planned path is behind|the plan needs this entry before)/,
    ],
  },
  {
    name: 'a landmark of other content',
    change: (s) => {
      part(s, 0, '.prefetch.landmark').payload = Buffer.from([0x0e]);
    },
    want: [
      /^estargz: layer 0 \.prefetch\.landmark: the landmark is not a file of one byte, 0f: expected 0f, found 1 bytes, 0e/,
    ],
  },
  {
    name: 'the landmark one entry too early',
    change: (s) => move(s, 0, '.prefetch.landmark', positionOf(s, 0, '.prefetch.landmark') - 1),
    want: [
      /^order: layer 0 long: a planned path is behind the landmark/,
      /^order: layer 0 long: the plan needs this entry before/,
    ],
  },
  {
    name: 'the landmark one entry too late',
    change: (s) => move(s, 0, '.prefetch.landmark', positionOf(s, 0, '.prefetch.landmark') + 1),
    want: [/^order: layer 0 bin\/sh: an entry that the plan does not ask for is before the landmark/],
  },
  {
    name: 'the no-prefetch landmark not first',
    change: (s) => move(s, 1, '.no.prefetch.landmark', 1),
    want: [
      /^order: layer 1 \.no\.prefetch\.landmark: the no-prefetch landmark is not the first entry/,
      /^order: layer 1 \S+: an entry that the plan does not ask for/,
    ],
  },
  {
    name: 'a directory after its children',
    change: (s) => move(s, 0, 'bin/', 2),
    want: [/^order: layer 0 bin\/(ls|dir): the entry of its directory "bin" comes after it/],
  },
  {
    name: 'a hardlink before its target',
    change: (s) => move(s, 0, 'bin/dir', 1),
    want: [/^order: layer 0 bin\/dir: the file it links to, "bin\/ls", comes after it/],
  },
  // --- frame
  {
    name: 'the TOC digest in the descriptor',
    change: (s) => {
      s.layers[0]!.claims = { 'containerd.io/snapshot/stargz/toc.digest': EMPTY };
    },
    want: [
      /^estargz: layer 0 undefined: annotation containerd\.io\/snapshot\/stargz\/toc\.digest: .*found sha256:e3b0/,
    ],
  },
  {
    name: 'no uncompressed size in the descriptor',
    change: (s) => {
      s.layers[1]!.claims = { 'io.containers.estargz.uncompressed-size': undefined };
    },
    want: [/^estargz: layer 1 undefined: annotation io\.containers\.estargz\.uncompressed-size: .*found absent/],
  },
  {
    name: 'a diff_id',
    change: (s) => {
      s.layers[1]!.diffId = EMPTY;
    },
    want: [/^estargz: layer 1 undefined: diff_id in the config/],
  },
  {
    name: "a byte of the blob that does not matter, behind the digest's back",
    change: (s) => {
      s.layers[0]!.damage = (blob) => {
        blob[4] = 1;
      };
    },
    want: [/^estargz: layer 0 undefined: digest of the blob/],
  },
  {
    name: 'the footer points elsewhere',
    change: (s) => {
      s.layers[0]!.footer = (footer) =>
        Buffer.from(footer.toString('latin1').replace(/[0-9a-f]{16}STARGZ/, '0000000000000001STARGZ'), 'latin1');
    },
    want: [/^estargz: layer 0 undefined: TOC offset in the footer: .*found 1$/],
  },
  {
    name: 'a footer of CRFS',
    change: (s) => {
      s.layers[0]!.footer = (footer) =>
        Buffer.concat([footer.subarray(0, 10), Buffer.from([0x16, 0]), footer.subarray(16)]);
    },
    want: [/^estargz: layer 0 undefined: footer: expected 51 bytes/],
  },
  {
    name: 'bytes after the footer',
    change: (s) => {
      s.layers[0]!.blob = (blob) => Buffer.concat([blob, Buffer.from('x')]);
    },
    want: [/^tar: layer 0 undefined: the blob does not decompress: .*gzip member at offset \d+/],
  },
  {
    name: 'an entry behind the TOC',
    change: (s) => {
      s.layers[0]!.tail = tarOf(file('behind', ''));
    },
    want: [
      /^estargz: layer 0 undefined: the last entry of the tar is the TOC: .*found reg behind/,
      /^tar: layer 0 stargz\.index\.json: a second entry of the TOC's name/,
      /^files: layer 0 behind: the original has no such entry/,
      /^files: layer undefined \/behind: merged tree/,
    ],
  },
  {
    name: 'a TOC before the TOC',
    change: (s) => {
      s.layers[0]!.beforeToc = file('stargz.index.json', '{}');
    },
    want: [
      /^tar: layer 0 stargz\.index\.json: a second entry of the TOC's name/,
      /^estargz: layer 0 stargz\.index\.json: (the TOC has no entry|no gzip member)/,
    ],
  },
  {
    name: 'no end of the archive',
    change: (s) => {
      s.layers[0]!.tail = Buffer.alloc(0);
    },
    want: [/^tar: layer 0 undefined: the tar ends with two blocks of zeros after the TOC: .*found 0 bytes/],
  },
  // --- image
  {
    name: 'history',
    change: (s) => {
      s.config.history = [{ created_by: 'one' }, { created_by: 'TWO' }];
    },
    want: [/^image: layer undefined undefined: config "history" differs/],
  },
  {
    name: 'environment',
    change: (s) => {
      s.config.config = { Env: ['A=c'], Cmd: ['x'] };
    },
    want: [/^image: layer undefined undefined: config "config" differs/],
  },
  {
    name: 'an unknown member added to the config',
    change: (s) => {
      s.config.extra = 1;
    },
    want: [/^image: layer undefined undefined: config "extra" differs: expected absent, found 1/],
  },
  {
    name: 'a manifest annotation gone',
    change: (s) => {
      delete s.manifest.annotations;
    },
    want: [/^image: layer undefined undefined: manifest annotation "org\.example\.manifest" differs/],
  },
  {
    name: 'a layer annotation changed',
    change: (s) => {
      s.layers[0]!.annotations['org.example.layer'] = 'changed';
    },
    want: [/^image: layer 0 undefined: annotation "org\.example\.layer" differs/],
  },
  {
    name: "a layer's media type",
    change: (s) => {
      s.layers[0]!.mediaType = 'application/vnd.docker.image.rootfs.diff.tar.gzip';
    },
    want: [/^image: layer 0 undefined: media type of the layer/],
  },
  {
    name: 'a layer gone',
    change: (s) => void s.layers.pop(),
    want: [/^image: layer undefined undefined: number of layers differs: expected 2, found 1/],
  },
];

for (const { name, change, want } of MUTATIONS) {
  test(name, async () => {
    const state = await unpack(optimized);
    change(state);
    const report = await bench.verify(original, repack(state, bench.fresh('mutant')), plan);
    const lines = complaints(report);
    assert.equal(report.ok, false, 'verification accepted it');
    for (const line of lines)
      assert.ok(
        want.some((pattern) => pattern.test(line)),
        `not expected: ${line}`,
      );
    for (const pattern of want) {
      assert.ok(
        lines.some((line) => pattern.test(line)),
        `expected a line like ${pattern}, got:\n${lines.join('\n')}`,
      );
    }
    for (const check of report.checks) assert.equal(check.ok, check.mismatches.length === 0);
  });
}
