// The line that is shown while an image is read or written: which layer, how far, how fast, how long still.
import type { Image } from '../image/types.js';
import type { OnProgress, Progress } from '../rewrite/progress.js';
import { type Bytes, formatBytes, formatNanos, type Nanos } from '../units.js';
import type { Output } from './output.js';

/** Before that a rate says more about the start than about the work. */
const SETTLED: Nanos = 0.5e9;

type Shown = Pick<Output, 'progress'>;

/** @param now a clock, for tests */
export function writeProgress(out: Shown, now: () => Nanos = monotonic): OnProgress {
  let started: Nanos | undefined;
  let before = 0;
  return (progress) => {
    if (progress.step !== 'write') return out.progress(progressLine(progress));
    // Fewer bytes than before: another image has begun.
    const { bytes } = progress.overall ?? { bytes: before };
    if (bytes < before) started = undefined;
    before = bytes;
    started ??= now();
    out.progress(progressLine(progress, now() - started));
  };
}

/** For spoolImage: the same while an image's layers are read, which are counted together. */
export function readProgress(
  out: Shown,
  image: Pick<Image, 'layers'>,
  now: () => Nanos = monotonic,
): (done: Bytes, total: Bytes, layer: number) => void {
  const layers = image.layers.length;
  let started: Nanos | undefined;
  return (bytes, total, layer) => {
    started ??= now();
    const overall = { bytes, total };
    out.progress(progressLine({ step: 'spool', layer, layers, bytes, total, overall }, now() - started));
  };
}

/** @param elapsed since the first byte; absent: no rate is shown */
export function progressLine(progress: Progress, elapsed: Nanos = 0): string {
  const { step, layer, layers, bytes, total, overall } = progress;
  const doing = step === 'write' ? 'writing' : 'reading';
  const line = `${doing} layer ${layer + 1}/${layers}  ${formatBytes(bytes)} of ${formatBytes(total)}`;
  if (!overall || elapsed < SETTLED || overall.bytes === 0) return line;
  const perSecond = (overall.bytes / elapsed) * 1e9;
  const left = ((overall.total - overall.bytes) / perSecond) * 1e9;
  const whole = left < 60e9 ? Math.ceil(left / 1e9) * 1e9 : left;
  return `${line}  ${formatBytes(perSecond)}/s  ${overall.bytes < overall.total ? `${formatNanos(whole)} left` : 'finishing'}`;
}

function monotonic(): Nanos {
  return Number(process.hrtime.bigint());
}
