// A root file system as lines of text: every name with type, mode, owner, times and link target, every file with its
// content's hash. The same script runs in a container and on an unpacked directory.

/** What LIST_TREE said, however it was run. */
export interface TreeListing {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Shell; $1: the directory. Mounts inside it are left out, and so is what the directory itself says. */
export const LIST_TREE = `set -eu
cd "$1"
find . -xdev -mindepth 1 -printf '%P|%y|%m|%U:%G|%T@|%l|' \\( -type f -printf '%s|%n' -o -true \\) -printf '\\n'
find . -xdev -type f -exec sha256sum {} +
`;

/** What an eStargz blob has besides the image's files. Lazy clients hide it, others unpack it. */
const OF_THE_FORMAT =
  /^(?:[0-9a-f]{64} {2}\.\/)?(?:\.prefetch\.landmark|\.no\.prefetch\.landmark|stargz\.index\.json)(?:$|\|)/;

/** A container's own mounts lie over these, and hide what is in them. */
const MOUNTED_OVER = /^(?:[0-9a-f]{64} {2}\.\/)?(?:dev|proc|run|sys)[/|]/;

export interface ListingOptions {
  /** The listing was made in a running container. Default false. */
  readonly container?: boolean;
  /** Times to the nearest second, which is all that an eStargz TOC can say. Default: to the nanosecond. */
  readonly roundTimes?: boolean;
}

/** @returns lines in byte order, without the format's own files */
export function treeLines({ status, stdout, stderr }: TreeListing, options: ListingOptions = {}): string[] {
  if (status !== 0) throw new Error(`listing the tree: status ${status}\n${stderr}`);
  const lines = stdout
    .split('\n')
    .filter((line) => line !== '' && !OF_THE_FORMAT.test(line) && !(options.container && MOUNTED_OVER.test(line)))
    .map((line) => (options.roundTimes ? line.replace(/\|(\d+\.\d+)\|/, roundTime) : line));
  if (lines.length < 100) throw new Error(`listing the tree: only ${lines.length} lines`);
  return lines.sort();
}

function roundTime(_: string, seconds: string): string {
  return `|${Math.round(Number(seconds))}|`;
}

/** Lines that only one has, as `- line` and `+ line`: readable where trees have thousands. */
export function treeDifference(before: readonly string[], after: readonly string[]): string[] {
  const [inBefore, inAfter] = [new Set(before), new Set(after)];
  const gone = before.filter((line) => !inAfter.has(line)).map((line) => `- ${line}`);
  return [...gone, ...after.filter((line) => !inBefore.has(line)).map((line) => `+ ${line}`)];
}
