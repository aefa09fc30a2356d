// Run by property.test.ts under different environments: prints the manifests' digests of some optimized images.
import { HotlayerError } from '../../src/errors.js';
import { Random, randomImage } from './random-image.js';
import { Workbench } from './workbench.js';

using bench = new Workbench();
let printed = 0;
for (let seed = 5000; printed < 6; seed++) {
  const { layers, hot } = randomImage(new Random(seed));
  try {
    const { result } = await bench.optimize(
      bench.layout({ layers, platform: { os: 'linux', architecture: 'amd64' } }),
      hot,
      {
        codec: seed % 2 === 0 ? 'libdeflate' : 'zlib',
        level: 3,
        chunkSize: 4096,
      },
    );
    console.log(result.manifest.digest);
    printed += 1;
  } catch (error) {
    if (!(error instanceof HotlayerError) || error.code !== 'HL_ERR_LAYER') throw error;
  }
}
