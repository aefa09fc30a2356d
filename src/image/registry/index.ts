// Images in registries (OCI distribution-spec 1.1).
export { DEFAULT_RETRY, type RetryPolicy } from './backoff.js';
export { RegistryError } from './registry-error.js';
export { openRepository, type Repository, type StoredManifest } from './repository.js';
export type { BlobProgress, RegistryOptions } from './settings.js';
export { openRegistrySink, type RegistrySinkOptions } from './sink.js';
export { openRegistryFiles } from './source.js';
