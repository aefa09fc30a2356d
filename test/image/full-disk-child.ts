// Run by registry-full.test.ts as a process of its own, with a small disk at DIRECTORY: copies an image whose target or
// staging is there, and says as JSON how that ended and what it left behind. `… SOURCE TARGET DIRECTORY`
import { readdirSync } from 'node:fs';
import type { HotlayerError } from '../../src/errors.js';
import { openImage, openSink } from '../../src/image/index.js';

const [source = '', target = '', directory = ''] = process.argv.slice(2);
let failure: HotlayerError | undefined;
await using image = await openImage(source);
const sink = await openSink(target, { tempParent: directory });
try {
  for (const { descriptor, open } of image.layers) {
    const writer = await sink.createBlob();
    for await (const chunk of open() as AsyncIterable<Buffer>) await writer.write(chunk);
    if ((await writer.finish()).digest !== descriptor.digest) throw new Error('not the same bytes');
  }
} catch (error) {
  failure = error as HotlayerError;
} finally {
  await sink.abort();
}
const { code, message, hint } = failure ?? {};
process.stdout.write(JSON.stringify({ code, message, hint, left: readdirSync(directory) }));
