// Profiles that were made before: of the same image, run in the same way by the same program. In CI most changes leave
// an image as it was; then nothing has to be run.
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readProfile, writeProfile } from '../analyze/saved.js';
import { PROFILE_SCHEMA, type Profile } from '../analyze/types.js';
import { makeProcessSpec, parseReadyRule } from '../container/index.js';
import { isHotlayerError } from '../errors.js';
import { openImage, parseReference } from '../image/index.js';
import { TOOL } from '../trace/tool.js';
import { processOverrides, type WorkloadFlags } from './flags.js';
import type { CommandContext } from './main.js';
import { makeProfile } from './profile.js';
import { openingOf } from './profiling.js';

/** Profiles kept; those not used for longest go first. */
const MOST = 32;

export interface CachedProfile {
  readonly profile: Profile;
  /** The file it was found in; absent: it was made now. */
  readonly from?: string;
}

/**
 * @param directory absent: nothing is kept
 * @throws as `makeProfile`
 */
export async function cachedProfile(
  context: CommandContext,
  reference: string,
  args: readonly string[],
  flags: WorkloadFlags,
  directory: string | undefined,
): Promise<CachedProfile> {
  const key = directory === undefined ? undefined : await keyOf(context, reference, args, flags);
  if (directory === undefined || key === undefined)
    return { profile: await makeProfile(context, reference, args, flags) };
  const file = join(directory, `${key}.profile.json`);
  const kept = await found(context, file);
  if (kept) return { profile: kept, from: file };
  const profile = await makeProfile(context, reference, args, flags);
  // What lacks events is not worth keeping: the next run may not.
  if (profile.complete) await keep(directory, file, profile);
  return { profile };
}

/** @returns undefined when another run might read something else although all that is known of it is the same */
async function keyOf(
  context: CommandContext,
  reference: string,
  args: readonly string[],
  flags: WorkloadFlags,
): Promise<string | undefined> {
  if (parseReference(reference).kind === 'dir') return undefined;
  if (flags.mount?.length || flags.keepTraces !== undefined) {
    context.out.note(
      `not cached: ${flags.keepTraces === undefined ? 'files of the host are mounted' : 'traces are kept'}`,
    );
    return undefined;
  }
  await using image = await openImage(reference, openingOf(context, flags));
  const { net, precision, runs, runtime, until = [] } = flags;
  const known = {
    tool: TOOL,
    schema: PROFILE_SCHEMA,
    image: image.descriptor.digest,
    reference,
    process: makeProcessSpec(image.config.config, processOverrides(args, flags), process.env),
    until: until.map(parseReadyRule),
    how: { net, precision, runs, runtime },
  };
  return createHash('sha256').update(JSON.stringify(known)).digest('hex').slice(0, 32);
}

/** What cannot be read is as good as not there. */
async function found({ out }: CommandContext, file: string): Promise<Profile | undefined> {
  try {
    const profile = await readProfile(file);
    const now = new Date();
    utimesSync(file, now, now);
    return profile;
  } catch (error) {
    if (!isHotlayerError(error)) throw error;
    if (error.code !== 'HL_ERR_NOT_FOUND') out.warn(`${file} cannot be used: ${error.message}`);
    return undefined;
  }
}

async function keep(directory: string, file: string, profile: Profile): Promise<void> {
  mkdirSync(directory, { recursive: true });
  // Not for the repository that it stands in.
  writeFileSync(join(directory, '.gitignore'), '*\n');
  await writeProfile(file, profile);
  const old = readdirSync(directory)
    .filter((name) => name.endsWith('.profile.json'))
    .map((name) => ({ path: join(directory, name), used: statSync(join(directory, name)).mtimeMs }))
    .sort((a, b) => b.used - a.used);
  for (const { path } of old.slice(MOST)) rmSync(path, { force: true });
}
