// The layer format: scan a layer's tar, write it as eStargz, open what was written.
export { ANNOTATION, stargzAnnotations } from './annotations.js';
export { type BlobSource, bufferSource, fileSource } from './blob-source.js';
export { DEFAULT_CHUNK_SIZE, MAX_CHUNK_SIZE, MIN_CHUNK_SIZE } from './chunking.js';
export {
  CODECS,
  type Codec,
  type CodecName,
  DEFAULT_CODEC,
  defaultHotLevel,
  describeLevels,
  HOT_LEVEL_BYTES,
  hasLevel,
  LEVELS,
  openCodec,
} from './codec/codec.js';
export { CompressionPool, type PoolOptions } from './codec/compression-pool.js';
export type { Compressor } from './codec/compressor.js';
export { buildFooter, FOOTER_SIZE, type Footer, LEGACY_FOOTER_SIZE, parseFooter } from './footer.js';
export { countMembers, type GzipMember, type WalkOptions, walkMembers } from './gzip-members.js';
export {
  isFormatEntry,
  type LandmarkKind,
  landmarkKind,
  landmarkName,
  NO_PREFETCH_LANDMARK,
  PREFETCH_LANDMARK,
  TOC_NAME,
} from './landmark.js';
export { danglingHardlinks, effectiveEntries, linkTarget } from './names.js';
export { type EntryOrder, prioritize } from './order.js';
export {
  chunkRange,
  decodeChunk,
  isStargzTail,
  type Landmark,
  type OpenStargzOptions,
  openStargz,
  STARGZ_LIMITS,
  StargzBlob,
  type StargzLimits,
} from './reader.js';
export { MAX_LAYER_BYTES, type SpooledLayer, type SpoolOptions, spoolLayer } from './spool.js';
export type { EntryType, SparseExtent, TarEntry, TarTime } from './tar/entry.js';
export { readPayload, scanTarFd, type TarScan, TarScanner } from './tar/scan.js';
export { formatModtime, MAX_TOC_JSON } from './toc.js';
export type { Chunk, TocEntry } from './toc-parse.js';
export { type StargzResult, writeStargz } from './writer.js';
export { copyOfEntry, type MadeFile, type StargzInput, type StargzWarning } from './writer-input.js';
