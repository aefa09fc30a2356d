// Units: bytes are integers, times are integer nanoseconds. Text in and out of them happens here only.
import { HotlayerError } from './errors.js';

export type Bytes = number;
/** Nanoseconds. A number holds 104 days exactly (2^53 ns); clocks are differences within one run. */
export type Nanos = number;

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;

const SIZE_UNITS: Record<string, number> = {
  '': 1,
  b: 1,
  k: 1e3,
  kb: 1e3,
  m: 1e6,
  mb: 1e6,
  g: 1e9,
  gb: 1e9,
  t: 1e12,
  tb: 1e12,
  ki: KIB,
  kib: KIB,
  mi: MIB,
  mib: MIB,
  gi: GIB,
  gib: GIB,
  ti: 1024 * GIB,
  tib: 1024 * GIB,
};

const TIME_UNITS: Record<string, number> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  ms: 1e6,
  s: 1e9,
  '': 1e9,
  m: 60e9,
  min: 60e9,
  h: 3600e9,
};

function parseWithUnit(text: string, units: Record<string, number>, what: string, example: string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-zµ]*)\s*$/i.exec(text);
  const unit = match ? units[match[2]!.toLowerCase()] : undefined;
  if (!match || unit === undefined) {
    throw new HotlayerError('HL_ERR_USAGE', `"${text}" is not a ${what}`, { hint: `write it like ${example}` });
  }
  return Math.round(Number(match[1]) * unit);
}

/** `4MiB`, `64k`, `1.5GB`, `100` → bytes. @throws HL_ERR_USAGE */
export function parseSize(text: string): Bytes {
  return parseWithUnit(text, SIZE_UNITS, 'size', '4MiB, 64k or 1000000');
}

/** `2s`, `500ms`, `1m`, `3` (seconds) → nanoseconds. @throws HL_ERR_USAGE */
export function parseDuration(text: string): Nanos {
  return parseWithUnit(text, TIME_UNITS, 'duration', '10s, 500ms or 2m');
}

/** Bytes for people, binary units, three significant digits: `1.21 GiB`, `38.2 MiB`, `512 B`. */
export function formatBytes(bytes: Bytes): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = Math.abs(bytes);
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${bytes < 0 ? '−' : ''}${unit === 0 ? value : threeDigits(value)} ${units[unit]}`;
}

/** Nanoseconds for people: `2.29 s`, `304 ms`, `17.0 µs`, `80 ns`. */
export function formatNanos(nanos: Nanos): string {
  const abs = Math.abs(nanos);
  const sign = nanos < 0 ? '−' : '';
  if (abs >= 60e9) return `${sign}${Math.floor(abs / 60e9)} min ${Math.round((abs % 60e9) / 1e9)} s`;
  if (abs >= 0.9995e9) return `${sign}${threeDigits(abs / 1e9)} s`;
  if (abs >= 0.9995e6) return `${sign}${threeDigits(abs / 1e6)} ms`;
  if (abs >= 0.9995e3) return `${sign}${threeDigits(abs / 1e3)} µs`;
  return `${sign}${abs} ns`;
}

/** `1204` → `1 204`: thin groups of three, the same in every locale. */
export function formatCount(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+(?!\d))/g, ' ');
}

/** A share of a whole: `9.3 %`; an empty whole gives `–`. */
export function formatShare(part: number, whole: number): string {
  return whole === 0 ? '–' : `${threeDigits((100 * part) / whole)} %`;
}

function threeDigits(value: number): string {
  if (value >= 99.95) return value.toFixed(0);
  return value.toFixed(value >= 9.995 ? 1 : 2);
}
