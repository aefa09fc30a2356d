// An image's root file system on a directory, as an ordinary runtime has it: GNU tar, and whiteouts taken away by hand.
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { openImage } from '../../src/image/open.js';

/** What a layer's whiteouts hide goes before the layer's files come. */
const APPLY = `set -e
tar -tzf "$1" | grep -E '(^|/)\\.wh\\.' | while read -r name; do
  dir=$(dirname "$name"); base=$(basename "$name")
  case "$base" in
    .wh..wh..opq) [ ! -d "$2/$dir" ] || find "$2/$dir" -mindepth 1 -delete ;;
    *) rm -rf "$2/$dir/\${base#.wh.}" ;;
  esac
done
tar --numeric-owner --xattrs --xattrs-include='*' --exclude='.wh.*' -xpzf "$1" -C "$2"`;

/** @param reference of an OCI layout @param directory is made */
export async function extractImage(reference: string, directory: string): Promise<void> {
  mkdirSync(directory, { recursive: true });
  await using image = await openImage(reference);
  for (const layer of image.layers) execFileSync('sh', ['-c', APPLY, 'sh', layer.file!, directory], { stdio: 'pipe' });
}
