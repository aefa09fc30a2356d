// Run by sink.test.ts as a process of its own: writes one image to the target, says `staged` when all but the commit is
// done, and commits when a line comes in.
import { openSink } from '../../src/image/index.js';
import { putImage } from './sink-image.js';

const [target = '', seed = ''] = process.argv.slice(2);
const sink = await openSink(target, { fsync: false });
const manifest = await putImage(sink, seed);
const unfinished = await sink.createBlob();
await unfinished.write(Buffer.from('half a blob'));
process.stdout.write('staged\n');
process.stdin.once('data', async () => {
  await unfinished.abort();
  await sink.commit(manifest);
  process.exit(0);
});
