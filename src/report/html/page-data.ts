// What the page's charts are drawn from: the report in the shape and size that a browser needs. Paths and names are
// made printable here, so that nothing in the page has to know of it.
import { packageName } from '../../analyze/diff/findings.js';
import { showComm } from '../findings.js';
import { plain } from '../safe-text.js';
import type { ImageView, LayerView, ListedFile, Report, TreeNode } from '../types.js';
import { NONE, type PageData, type PageFiles, type PageImage, type PageLayer } from './page-types.js';

/** @param most files that are taken, the most read first */
export function pageData(report: Report, most = Number.POSITIVE_INFINITY): PageData {
  const { profile, startup, prefetch, stability, simulation } = report;
  const image = report.after ?? report.before;
  const comms = new Names();
  const packages = new Names();
  const files = filesOf(report, most, comms, packages);
  return {
    runs: report.runs.length,
    files: files.columns,
    left: files.left,
    comms: comms.list,
    packages: packages.list,
    ready: startup?.ready === undefined ? -1 : micros(startup.ready),
    end: micros(startup?.end ?? 0),
    cumulative: (startup?.cumulative ?? []).map(([t, bytes, opened]) => [micros(t), bytes, opened]),
    imageBytes: report.image.bytes,
    prefetchBytes: prefetch?.bytes ?? 0,
    images: [
      ...(report.before ? [pageImage('before', report.before)] : []),
      ...(report.after ? [pageImage('after', report.after)] : []),
    ],
    trees: (image?.layers ?? []).map(({ tree }) => printable(tree)),
    heat: report.heat.map((heat) => ({ ...heat, path: plain(heat.path) })),
    stability: {
      openedIn: stability.openedIn,
      compared: stability.compared,
      jaccard: stability.jaccard,
      sometimesTotal: stability.sometimesTotal,
      sometimes: stability.sometimes.map(({ path, runs, bytes, prefetched, because }) => [
        plain(path),
        runs,
        bytes,
        [prefetched === undefined ? '' : prefetched ? 'prefetched' : 'not prefetched', plain(because ?? '')]
          .filter((part) => part !== '')
          .join(': '),
      ]),
    },
    times: report.runs.map(({ ready }) => ready?.t ?? -1),
    unused: (prefetch?.unused.largest ?? []).map(({ path, layer, size }) => [plain(path), layer, size]),
    missing: (prefetch?.missing.largest ?? []).map(missingRow),
    misses: profile.misses.directories.map(({ path, count }) => [plain(path), count]),
    ...(simulation ? { simulation } : {}),
  };
}

function missingRow({ path, layer, read, because }: ListedFile): [string, number, number, string] {
  return [plain(path), layer, read, plain(because ?? 'the plan does not say')];
}

function filesOf(
  { profile, startup, prefetch }: Report,
  most: number,
  comms: Names,
  packages: Names,
): { columns: PageFiles; left: number } {
  const rank = new Map(startup?.files.file.map((file, i) => [file, i]));
  let taken = [...profile.files.keys()].filter(
    (i) => profile.files[i]!.type === 'reg' && profile.files[i]!.openedIn > 0,
  );
  const all = taken.length;
  if (taken.length > most) {
    taken.sort((a, b) => profile.files[b]!.bytesRead.median - profile.files[a]!.bytesRead.median || a - b);
    taken = taken.slice(0, most).sort((a, b) => a - b);
  }
  const covered = prefetch && new Set(prefetch.covered);
  const columns = {
    common: [] as number[],
    rest: [] as string[],
    layer: [] as number[],
    size: [] as number[],
    read: [] as number[],
    runs: [] as number[],
    first: [] as number[],
    last: [] as number[],
    comm: [] as number[],
    hot: [] as number[],
    owner: [] as number[],
  };
  let before = '';
  for (const i of taken) {
    const file = profile.files[i]!;
    const path = plain(file.path);
    const row = rank.get(i);
    let common = 0;
    while (common < path.length && path[common] === before[common]) common += 1;
    columns.common.push(common);
    columns.rest.push(path.slice(common));
    before = path;
    columns.layer.push(file.layer ?? -1);
    columns.size.push(file.size);
    columns.read.push(file.bytesRead.median);
    columns.runs.push(file.openedIn);
    columns.first.push(row === undefined ? NONE : micros(startup!.files.first[row]!));
    columns.last.push(row === undefined ? NONE : micros(startup!.files.last[row]!));
    columns.comm.push(
      row === undefined ? -1 : comms.number(plain(showComm(startup!.processes[startup!.files.process[row]!]!.comm))),
    );
    columns.hot.push(covered ? Number(covered.has(i)) : -1);
    columns.owner.push(file.package === undefined ? -1 : packages.number(plain(packageName(file.package))));
  }
  return { columns, left: all - taken.length };
}

function micros(nanos: number): number {
  return Math.round(nanos / 1000);
}

function pageImage(title: string, image: ImageView): PageImage {
  return { title: `${title}: ${plain(image.reference)}`, layers: image.layers.map(pageLayer) };
}

function pageLayer(layer: LayerView): PageLayer {
  const step = layer.createdBy === undefined ? '' : ` ${plain(layer.createdBy)}`;
  return {
    label: `${layer.index}${step}`,
    size: layer.size,
    scale: layer.exact ? layer.size : layer.uncompressedSize,
    exact: layer.exact,
    landmark: layer.landmark?.kind === 'prefetch' ? layer.landmark.offset : -1,
    every: layer.barcode.every,
    some: layer.barcode.some,
    hotFiles: layer.hotFiles,
    hotBytes: layer.hotBytes,
    prefetch: layer.prefetchBytes,
  };
}

function printable(node: TreeNode): TreeNode {
  const { children, ...rest } = node;
  return { ...rest, name: plain(node.name), ...(children ? { children: children.map(printable) } : {}) };
}

/** Strings by number. */
class Names {
  readonly list: string[] = [];
  readonly #numbers = new Map<string, number>();

  number(name: string): number {
    let number = this.#numbers.get(name);
    if (number === undefined) {
      number = this.list.length;
      this.list.push(name);
      this.#numbers.set(name, number);
    }
    return number;
  }
}
