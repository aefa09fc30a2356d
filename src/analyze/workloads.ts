// Several workloads of one image: one image can be started in several ways, and has one layout.
import { HotlayerError } from '../errors.js';
import { mergeProfiles } from './merge.js';
import { rankFiles } from './rank.js';
import type { Profile, Ranking } from './types.js';

export interface WeighedWorkload {
  /** For tables: "web". */
  readonly name: string;
  readonly profile: Profile;
  /** How much it counts, > 0: how often it is started, say. */
  readonly weight: number;
}

export interface GivenProfile {
  readonly name: string;
  readonly profile: Profile;
  /** Absent: as the others of its workload, else 1. */
  readonly weight?: number | undefined;
}

/**
 * Profiles of the same workload (arguments, user, directory) are its runs and become one; the first names it.
 * @throws HL_ERR_DATA when they are of different images; HL_ERR_USAGE when one workload was given two weights
 */
export function workloadsOf(given: readonly GivenProfile[]): WeighedWorkload[] {
  const groups = new Map<string, GivenProfile[]>();
  for (const one of given) {
    const key = JSON.stringify(one.profile.workload);
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  const workloads = [...groups.values()].map((group): WeighedWorkload => {
    const weights = new Set(group.flatMap(({ weight }) => weight ?? []));
    if (weights.size > 1) {
      const names = group.map(({ name }) => name).join(', ');
      throw new HotlayerError('HL_ERR_USAGE', `${names}: one workload, but weights ${[...weights].join(' and ')}`, {
        hint: 'profiles of one workload are merged: give the weight once',
      });
    }
    return {
      name: group[0]!.name,
      profile: mergeProfiles(group.map(({ profile }) => profile)),
      weight: [...weights][0] ?? 1,
    };
  });
  // Of different images: said here, and not when they are pooled much later.
  poolWorkloads(workloads);
  return workloads;
}

/** All their runs in one profile, each run counting once. */
export function poolWorkloads(workloads: readonly WeighedWorkload[]): Profile {
  return mergeProfiles(
    workloads.map(({ profile }) => profile),
    { anyWorkload: true },
  );
}

/** The ranking of all runs together; the reasons say which workload reads what. */
export function rankWorkloads(pooled: Profile, workloads: readonly WeighedWorkload[]): Ranking {
  const opened = workloads.map(({ name, profile }) => ({
    name,
    runs: profile.runs.length,
    openedIn: new Map(profile.files.map((file) => [file.path, file.openedIn])),
  }));
  return rankFiles(pooled).map((rank) => {
    const each = opened.map(({ name, runs, openedIn }) => `${name} ${openedIn.get(rank.path) ?? 0} of ${runs}`);
    return { ...rank, because: `${rank.because} (${each.join(', ')})` };
  });
}
