// Serving a RootFs to the kernel.

export { loadModule } from './load-module.js';
export { type FuseProbe, probeFuse, UNSHARE } from './probe.js';
export { prepareThread, rawTransport } from './raw-transport.js';
export { FuseServer, type ServerOptions } from './server.js';
export type { FsFault, FsModule, FuseTransport, Mounted, MountOptions } from './types.js';
