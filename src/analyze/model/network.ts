// The networks a plan is made for: a rate that all requests of a start share, and a round-trip time.
import { HotlayerError } from '../../errors.js';
import { type Nanos, parseDuration } from '../../units.js';

export interface Network {
  /** As it is shown, and as it was asked for: `wan`, `100mbit/20ms`. */
  readonly name: string;
  /** Downstream, of all connections together. Infinity: not limited. */
  readonly bytesPerSecond: number;
  readonly rtt: Nanos;
}

/** The named ones: a registry in the same rack or region, one across a country, one behind a thin and long line. */
export const PRESETS = {
  lan: '1gbit/1ms',
  wan: '100mbit/20ms',
  edge: '25mbit/100ms',
} as const;

const UNITS: Readonly<Record<string, number>> = { kbit: 1e3, mbit: 1e6, gbit: 1e9 };

/**
 * `wan`, `100mbit/20ms`, `1.5gbit/500us`; a rate of 0 is no limit.
 * @throws HL_ERR_USAGE with what is understood
 */
export function parseNetwork(text: string): Network {
  const name = text.trim();
  const preset = Object.hasOwn(PRESETS, name) ? PRESETS[name as keyof typeof PRESETS] : name;
  const [, rate, unit, delay] = /^(\d+(?:\.\d+)?)(kbit|mbit|gbit)\/(\d.*)$/i.exec(preset) ?? [];
  if (rate === undefined || unit === undefined || delay === undefined) {
    const hint = `write RATE/ROUND-TRIP-TIME like 100mbit/20ms, or a name: ${Object.keys(PRESETS).join(', ')}`;
    throw new HotlayerError('HL_ERR_USAGE', `"${text}" is not a network`, { hint });
  }
  const bits = Number(rate) * UNITS[unit.toLowerCase()]!;
  return { name, bytesPerSecond: bits === 0 ? Number.POSITIVE_INFINITY : bits / 8, rtt: parseDuration(delay) };
}

/** What a plan has to do well on when nobody says where the image will be pulled. */
export const ROBUST: readonly Network[] = Object.keys(PRESETS).map(parseNetwork);

/** Time on the wire alone. */
export function transferNanos(network: Network, bytes: number): Nanos {
  return (bytes / network.bytesPerSecond) * 1e9;
}
