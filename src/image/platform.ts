// Platforms as `os/architecture[/variant]`, in the names Go uses (image-spec, image-index.md "platform").
import { endianness } from 'node:os';
import { HotlayerError } from '../errors.js';
import type { Platform } from './types.js';

/** Other spellings, as `uname -m` and Debian have them → [architecture, variant]. */
const ALIASES: Record<string, readonly [string, string?]> = {
  x86_64: ['amd64'],
  'x86-64': ['amd64'],
  aarch64: ['arm64'],
  armhf: ['arm', 'v7'],
  armel: ['arm', 'v6'],
  i386: ['386'],
  i686: ['386'],
  ppc64el: ['ppc64le'],
};

/** The variant that is meant when none is written. */
const DEFAULT_VARIANT: Record<string, string> = { arm64: 'v8', arm: 'v7', amd64: 'v1' };

/** `linux/arm64/v8`, `linux/amd64`, `arm64` (linux is meant), `linux` (this machine's architecture is meant). @throws HL_ERR_USAGE */
export function parsePlatform(text: string): Platform {
  const parts = text.toLowerCase().split('/');
  if (parts.length === 1 && parts[0] === 'linux') return hostPlatform();
  if (parts.length === 1) parts.unshift('linux');
  const [os, written, variant] = parts;
  if (parts.length > 3 || !os || !written || variant === '' || !/^[a-z0-9._/-]+$/.test(parts.join('/'))) {
    throw new HotlayerError('HL_ERR_USAGE', `"${text}" is not a platform`, {
      hint: 'write it like linux/amd64 or linux/arm64/v8',
    });
  }
  const [architecture, implied] = ALIASES[written] ?? [written];
  const chosen = variant ?? implied;
  return { os, architecture, ...(chosen === undefined ? {} : { variant: chosen }) };
}

export function formatPlatform(platform: Platform): string {
  return [platform.os, platform.architecture, ...(platform.variant ? [platform.variant] : [])].join('/');
}

/** What this machine runs: linux, and Node's `process.arch` in Go's names. */
export function hostPlatform(arch: string = process.arch): Platform {
  const names: Record<string, string> = {
    x64: 'amd64',
    ia32: '386',
    ppc64: endianness() === 'LE' ? 'ppc64le' : 'ppc64',
    mipsel: 'mipsle',
    loong64: 'loong64',
  };
  return { os: 'linux', architecture: names[arch] ?? arch };
}

/** Whether an image for `offered` is what `wanted` asks for. A variant that is not wanted may be any. */
export function platformMatches(wanted: Platform, offered: Platform): boolean {
  if (wanted.os !== offered.os || wanted.architecture !== offered.architecture) return false;
  return wanted.variant === undefined || variantOf(wanted) === variantOf(offered);
}

/** Those that match, the ones of the default variant first; otherwise in the order given (image-index.md: "the first matching entry SHOULD be used"). */
export function bestMatches<T>(wanted: Platform, offers: readonly T[], platformOf: (offer: T) => Platform): T[] {
  const matching = offers.filter((offer) => platformMatches(wanted, platformOf(offer)));
  const usual = matching.filter((offer) => variantOf(platformOf(offer)) === variantOf(wanted));
  return [...usual, ...matching.filter((offer) => !usual.includes(offer))];
}

function variantOf(platform: Platform): string | undefined {
  return platform.variant || DEFAULT_VARIANT[platform.architecture];
}
