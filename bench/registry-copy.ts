// Run by registry.ts as a process of its own: moves one image unchanged from one reference to another with the
// library's source and sink, as skopeo copy does. `node registry-copy.js SOURCE TARGET`
import { openIndex, openSink } from '../src/image/index.js';

/** As many as skopeo takes at once. */
const PARALLEL = 6;

const [source = '', target = ''] = process.argv.slice(2);
const registry = { parallel: PARALLEL };
await using index = await openIndex(source, { registry });
const [image] = index.images;
const sink = await openSink(target, { registry });
try {
  const { manifest, descriptor } = image!;
  const waiting = [manifest.config, ...manifest.layers];
  const one = async () => {
    for (let blob = waiting.shift(); blob; blob = waiting.shift()) {
      const next = blob;
      await sink.copyBlob(next, () => index.openBlob(next));
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, one));
  await sink.putBytes(await index.readManifest(descriptor));
  await sink.commit(descriptor);
} finally {
  await sink.abort();
}
