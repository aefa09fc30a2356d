// A path as its parts.

/** `/usr/lib/x` → ["usr", "lib", "x"]; the root is ["/"]. */
export function parsePath(path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '');
  return parts.length === 0 ? ['/'] : parts;
}
