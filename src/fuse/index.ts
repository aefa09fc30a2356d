// Serving a RootFs to the kernel.

export { chooseTransport, type TransportName } from './choose.js';
export { loadModule } from './load-module.js';
export { mayMount } from './may-mount.js';
export { deviceMend } from './mount-command.js';
export { isLack, nativeSupport } from './native-support.js';
export { nativeTransport } from './native-transport.js';
export { type FuseProbe, probeFuse, UNSHARE } from './probe.js';
export { rawTransport } from './raw-transport.js';
export { FuseServer, type ServerOptions } from './server.js';
export { prepareThread } from './serving-thread.js';
export type { FsFault, FsModule, FuseTransport, Mounted, MountOptions } from './types.js';
