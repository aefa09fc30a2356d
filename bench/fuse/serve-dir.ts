// Serves a directory as `dir:` images are served, without the recorder.
//   node serve-dir.js TREE MOUNTPOINT
import { rawTransport } from '../../src/fuse/index.js';

const [tree, mountpoint] = process.argv.slice(2);
const module = new URL('./dir-module.js', import.meta.url).href;
const mounted = await rawTransport.mount({ mountpoint: mountpoint!, module, args: tree, name: 'hotlayer-dir' });
await mounted.closed;
