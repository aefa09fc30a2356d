// A process that mounts a memory file system and then ends in one of many ways. Started by lifecycle tests:
// node serve-child.js MOUNTPOINT HOW ARGS-JSON [TRANSPORT]. Prints `mounted` when the mount works.
import { nativeTransport, rawTransport } from '../../src/fuse/index.js';
import { memoryFsModule } from './memory-fs.js';

const [, , mountpoint, how, args, name] = process.argv;

const transport = name === nativeTransport.name ? nativeTransport : rawTransport;
await transport.mount({ mountpoint: mountpoint!, module: memoryFsModule, args: JSON.parse(args!) });
process.stdout.write('mounted\n', () => {
  if (how === 'exit') process.exit(7);
  if (how === 'throw') throw new Error('uncaught');
  // 'stay': the serving thread keeps the process alive until a signal comes
});
