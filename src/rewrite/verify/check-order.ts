// The landmark and what lies before it.
import { cleanPath, showPath } from '../../paths.js';
import type { TarEntry } from '../../stargz/tar/entry.js';
import { readBytes } from '../inspect/content.js';
import { NO_PREFETCH_LANDMARK, PREFETCH_LANDMARK } from '../names.js';
import { ancestors, type LayerOrder, tangledPaths } from '../order.js';
import type { Findings } from './findings.js';

export interface OrderInput {
  readonly layer: number;
  /** The optimized layer: its tar, and its entries without the TOC's. */
  readonly fd: number;
  readonly entries: readonly TarEntry[];
  /** What the plan asks of this layer, made from the original's entries. Absent: there is no plan to hold it against. */
  readonly planned?: { readonly paths: readonly string[]; readonly order: LayerOrder } | undefined;
}

/** A landmark is one byte (eStargz specification: "contents 0xf"). */
const LANDMARK_BYTE = 0x0f;

/** Adds every difference to `findings`. @returns entries before the landmark */
export function checkOrder(input: OrderInput, findings: Findings): number {
  const { layer, fd, entries } = input;
  const landmarks = entries.filter((e) => e.path === PREFETCH_LANDMARK || e.path === NO_PREFETCH_LANDMARK);
  if (landmarks.length !== 1) {
    findings.fail('estargz', {
      layer,
      message: 'a layer has exactly one landmark',
      expected: '1',
      found: landmarks.length === 0 ? 'none' : landmarks.map((e) => `${e.name} (entry ${e.index})`).join(', '),
    });
  }
  for (const landmark of landmarks) checkLandmark(layer, fd, landmark, findings);
  const landmark = landmarks[0];
  if (!landmark) return 0;
  const at = entries.indexOf(landmark);
  const before = entries.slice(0, at);
  const none = landmark.path === NO_PREFETCH_LANDMARK;
  if (none && at > 0) {
    findings.fail('order', {
      layer,
      entry: landmark.name,
      message: 'the no-prefetch landmark is not the first entry',
      expected: 'entry 0',
      found: `entry ${at}`,
    });
  }
  checkPrerequisites(layer, entries, at, findings);
  if (input.planned) checkPlanned(layer, input.planned, landmark, before, entries, findings);
  return at;
}

function checkLandmark(layer: number, fd: number, landmark: TarEntry, findings: Findings): void {
  const where = { layer, entry: landmark.name };
  findings.same('estargz', landmark.path, landmark.name, { ...where, message: 'name of the landmark' });
  const content =
    landmark.type === 'reg' ? readBytes(fd, landmark.payloadOffset, Math.min(landmark.payloadSize, 16)) : undefined;
  if (content?.length !== 1 || content[0] !== LANDMARK_BYTE) {
    findings.fail('estargz', {
      ...where,
      message: 'the landmark is not a file of one byte, 0f',
      expected: '0f',
      found: content ? `${landmark.payloadSize} bytes, ${content.toString('hex')}` : landmark.type,
    });
  }
}

/** Parent directories and link targets of everything before the landmark come before it, too. */
function checkPrerequisites(layer: number, entries: readonly TarEntry[], at: number, findings: Findings): void {
  const first = new Map<string, number>();
  entries.forEach((entry, i) => {
    if (!first.has(entry.path)) first.set(entry.path, i);
  });
  const tangled = tangledPaths(entries);
  for (let i = 0; i < at; i++) {
    const entry = entries[i]!;
    for (const parent of ancestors(entry.path)) {
      const where = first.get(parent);
      if (where !== undefined && where > i && !tangled.has(parent)) {
        findings.fail('order', {
          layer,
          entry: entry.name,
          message: `the entry of its directory "${showPath(parent) || '/'}" comes after it`,
          expected: `before entry ${i}`,
          found: `entry ${where}`,
        });
      }
    }
    if (entry.type !== 'hardlink') continue;
    const target = first.get(cleanPath(entry.linkName));
    if (target === undefined || target > i) {
      findings.fail('order', {
        layer,
        entry: entry.name,
        message: `the file it links to, "${showPath(entry.linkName)}", comes after it`,
        expected: `before entry ${i}`,
        found: target === undefined ? 'nowhere' : `entry ${target}`,
      });
    }
  }
}

function checkPlanned(
  layer: number,
  planned: { readonly paths: readonly string[]; readonly order: LayerOrder },
  landmark: TarEntry,
  before: readonly TarEntry[],
  entries: readonly TarEntry[],
  findings: Findings,
): void {
  const wantKind = planned.order.hot.length > 0 ? PREFETCH_LANDMARK : NO_PREFETCH_LANDMARK;
  findings.same('order', wantKind, landmark.path, { layer, message: 'kind of the landmark' });
  const early = new Map<string, number>();
  for (const entry of before) early.set(entry.path, (early.get(entry.path) ?? 0) + 1);
  const present = new Set(entries.map((entry) => entry.path));
  const expected = new Set(planned.order.hot.map((entry) => entry.path));
  for (const path of new Set(planned.paths.map(cleanPath))) {
    if (early.has(path) || !present.has(path) || !expected.has(path)) continue;
    findings.fail('order', {
      layer,
      entry: path,
      message: 'a planned path is behind the landmark',
      expected: 'before it',
      found: 'behind it',
    });
  }
  for (const entry of planned.order.hot) {
    const left = early.get(entry.path) ?? 0;
    if (left > 0) early.set(entry.path, left - 1);
    else if (present.has(entry.path)) {
      findings.fail('order', {
        layer,
        entry: entry.name,
        message: 'the plan needs this entry before the landmark',
        expected: 'before it',
        found: 'behind it',
      });
    }
  }
  for (const [path, extra] of early) {
    if (extra === 0) continue;
    findings.fail('order', {
      layer,
      entry: path,
      message: 'an entry that the plan does not ask for is before the landmark',
      expected: 'behind it',
      found: 'before it',
    });
  }
}
