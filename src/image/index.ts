// Images in and out.
export * from './digest.js';
export { serialize } from './documents.js';
export { sniffCompression } from './media.js';
export { type OpenImageOptions, openImage } from './open.js';
export { openIndex } from './open-index.js';
export { itemsUnder, type PackItem, packLayer } from './pack.js';
export { formatPlatform, hostPlatform, parsePlatform } from './platform.js';
export { formatReference, parseReference, type Reference, type ReferenceKind } from './reference.js';
export { type BlobProgress, openRepository, type RegistryOptions, type Repository } from './registry/index.js';
export { type NewLayer, type RewrittenImage, withLayers } from './rewrite.js';
export { type OpenSinkOptions, openSink } from './sink.js';
export * from './types.js';
