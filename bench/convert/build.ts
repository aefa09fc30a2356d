// The writer as a program, like the peer's library as a program (test/foreign/esgz-check.go build): a tar and the paths
// that go first in, a blob out, everything with its defaults.
//   node build.js TAR BLOB [--level N] [--hot-level N] [PATH...]
import { closeSync, fstatSync, openSync, writeSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { DEFAULT_CODEC, defaultHotLevel, openCodec } from '../../src/stargz/codec/codec.js';
import { CompressionPool } from '../../src/stargz/codec/compression-pool.js';
import { prioritize } from '../../src/stargz/order.js';
import { scanTarFd } from '../../src/stargz/tar/scan.js';
import { writeStargz } from '../../src/stargz/writer.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { level: { type: 'string' }, 'hot-level': { type: 'string' } },
});
const [tar, blob, ...hot] = positionals;
const fd = openSync(tar!, 'r');
const out = openSync(blob!, 'w');
const scan = scanTarFd(fd, fstatSync(fd).size);
const order = prioritize(scan.entries, hot);
const codec = await openCodec(DEFAULT_CODEC, values.level === undefined ? undefined : Number(values.level));
const hotBytes = order.hot.reduce((sum, index) => sum + scan.entries[index]!.size, 0);
await using compressor = new CompressionPool(codec, { jobs: availableParallelism() });
const { digest, diffId, tocDigest } = await writeStargz(
  {
    ...{ fd, scan, order, codec, compressor },
    landmark: hot.length > 0 ? 'prefetch' : 'no-prefetch',
    hotLevel: values['hot-level'] === undefined ? defaultHotLevel(codec, hotBytes) : Number(values['hot-level']),
  },
  async (bytes) => {
    for (let done = 0; done < bytes.length; ) done += writeSync(out, bytes, done);
  },
);
closeSync(out);
process.stdout.write(`${JSON.stringify({ digest, diffId, tocDigest })}\n`);
