// Which of the ranked files go before the landmark: the one place where that is decided. `touchedFiles` takes all
// that fit; `costPolicy` (model/) weighs what each costs there against what it costs behind.
import { type Bytes, formatBytes } from '../units.js';
import type { PlanModel, ProfileFile, RankedFile } from './types.js';

/** A ranked file that was found in a layer. */
export interface Candidate {
  readonly rank: RankedFile;
  /** What is known of its use; absent for a path that does not come from a profile. */
  readonly use?: ProfileFile;
  /** Index of the layer that owns it. */
  readonly layer: number;
  /** Name there of the entry that has the content, cleaned. */
  readonly entry: string;
  /** Uncompressed bytes; prefetch takes whole files. 0 for a symlink. */
  readonly size: Bytes;
}

export interface Choice {
  /** In the order in which they are to lie in the layers. */
  readonly chosen: readonly Candidate[];
  /** Those for which the landmark is not worth it, each with why. */
  readonly behind?: readonly { readonly path: string; readonly because: string }[];
  /** All others, which had to be left out, each with the reason in words. */
  readonly cut: readonly { readonly path: string; readonly reason: string }[];
  /** Chunk boundaries by path in the container (LayerPlan.chunks), where the policy wants its own. */
  readonly chunks?: ReadonlyMap<string, readonly number[]>;
  /** What the choice was made by. */
  readonly model?: PlanModel;
}

export interface Policy {
  /** In words, for reports. */
  readonly name: string;
  /** @param candidates most wanted first, each file once */
  choose(candidates: readonly Candidate[]): Choice;
}

/**
 * Every file that was touched, in the order of the ranking, until the cap is reached. A file that does not fit is
 * passed over; smaller ones after it may still fit.
 * @param maxPrefetch uncompressed bytes over all layers; absent: no cap
 */
export function touchedFiles(options: { readonly maxPrefetch?: Bytes | undefined } = {}): Policy {
  const cap = options.maxPrefetch ?? Number.POSITIVE_INFINITY;
  return {
    name: cap === Number.POSITIVE_INFINITY ? 'every file touched' : `files touched, up to ${formatBytes(cap)}`,
    choose(candidates) {
      const chosen: Candidate[] = [];
      const cut: { path: string; reason: string }[] = [];
      let left = cap;
      for (const candidate of candidates) {
        if (candidate.size <= left) {
          chosen.push(candidate);
          left -= candidate.size;
        } else {
          const reason = `left out by --max-prefetch ${formatBytes(cap)}: it has ${formatBytes(candidate.size)}, ${formatBytes(left)} were left`;
          cut.push({ path: candidate.rank.path, reason });
        }
      }
      return { chosen, cut };
    },
  };
}
