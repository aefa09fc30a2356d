// From the image's config and the user's flags to the process to start. Pure; the rules are docker's.
import { posix } from 'node:path';
import { HotlayerError } from '../../errors.js';
import type { ProcessConfig } from '../../image/types.js';
import type { ProcessSpec } from '../types.js';

/** What docker puts there when the image says nothing. */
export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** What the user asked for beside the image; absent members leave the image's value. */
export interface ProcessOverrides {
  /** Replaces the image's entrypoint and drops its cmd; `[]` or `['']` means no entrypoint. */
  readonly entrypoint?: readonly string[];
  /** Replaces the image's cmd. Empty or absent: the image's. */
  readonly args?: readonly string[];
  /** `NAME=value`, or `NAME` alone: the caller's own value, or removed when the caller has none. Later ones win. */
  readonly env?: readonly string[];
  /** As `env`, applied before it (see parseEnvFile). */
  readonly envFile?: readonly string[];
  readonly user?: string;
  /** Absolute. */
  readonly workdir?: string;
  /** True: TERM is set unless the image or the user sets it. */
  readonly terminal?: boolean;
  /** Becomes HOSTNAME unless the image or the user sets it. */
  readonly hostname?: string;
}

/**
 * @param hostEnv where a bare `NAME` gets its value
 * @throws HL_ERR_USAGE when there is nothing to run, or a flag cannot be used
 */
export function makeProcessSpec(
  config: ProcessConfig | undefined,
  overrides: ProcessOverrides = {},
  hostEnv: Readonly<Record<string, string | undefined>> = {},
): ProcessSpec {
  const replaced = overrides.entrypoint !== undefined;
  const entrypoint = replaced ? overrides.entrypoint.filter((arg, i) => i > 0 || arg !== '') : config?.Entrypoint;
  const given = overrides.args ?? [];
  const cmd = given.length > 0 ? given : replaced ? [] : (config?.Cmd ?? []);
  const args = [...(entrypoint ?? []), ...cmd];
  if (args.length === 0 || args[0] === '') {
    throw new HotlayerError('HL_ERR_USAGE', 'the image has no command: its config has neither Entrypoint nor Cmd', {
      hint: 'say what to run after --, for example: -- /bin/sh -c "echo hello"',
    });
  }
  for (const arg of args) refuseNul(arg, 'argument');

  const base = [`PATH=${DEFAULT_PATH}`];
  if (overrides.hostname !== undefined) base.push(`HOSTNAME=${overrides.hostname}`);
  if (overrides.terminal) base.push('TERM=xterm');
  // An image cannot ask for the caller's own variables: a bare NAME in its config is dropped.
  const image = (config?.Env ?? []).filter((line) => line.includes('='));
  const env = mergeEnv([base, image, overrides.envFile ?? [], overrides.env ?? []], hostEnv);

  return { args, env, cwd: workingDirectory(config, overrides), user: overrides.user ?? config?.User ?? '' };
}

function workingDirectory(config: ProcessConfig | undefined, overrides: ProcessOverrides): string {
  if (overrides.workdir !== undefined) {
    if (!overrides.workdir.startsWith('/')) {
      throw new HotlayerError('HL_ERR_USAGE', `working directory "${overrides.workdir}" is not absolute`, {
        hint: 'write it from the root of the container, like /app',
      });
    }
    refuseNul(overrides.workdir, 'working directory');
    return posix.normalize(overrides.workdir);
  }
  // Old builders wrote relative ones; they are meant from the root.
  return posix.normalize(`/${config?.WorkingDir ?? ''}`);
}

/** Lists merged left to right: a name keeps its first place and gets its last value. */
export function mergeEnv(
  lists: readonly (readonly string[])[],
  hostEnv: Readonly<Record<string, string | undefined>> = {},
): string[] {
  const merged = new Map<string, string>();
  for (const line of lists.flat()) {
    refuseNul(line, 'environment variable');
    const equals = line.indexOf('=');
    const name = equals < 0 ? line : line.slice(0, equals);
    if (name === '') {
      throw new HotlayerError('HL_ERR_USAGE', `environment variable "${line}" has no name`, {
        hint: 'write it like NAME=value',
      });
    }
    const value = equals < 0 ? hostEnv[name] : line.slice(equals + 1);
    if (value === undefined) merged.delete(name);
    else merged.set(name, value);
  }
  return [...merged].map(([name, value]) => `${name}=${value}`);
}

/**
 * Docker's env-file: one `NAME=value` or `NAME` a line, `#` comments, blank lines; no quoting and no expansion.
 * @param file its name, for messages
 * @throws HL_ERR_USAGE with the line number
 */
export function parseEnvFile(text: string, file: string): string[] {
  const out: string[] = [];
  const lines = text.replace(/^\ufeff/, '').split(/\r?\n/);
  for (const [index, raw] of lines.entries()) {
    const line = raw.trimStart();
    if (line === '' || line.startsWith('#')) continue;
    const name = line.split('=', 1)[0]!;
    if (name === '' || /\s/.test(name.trimEnd()) || (line.includes('=') && /\s$/.test(name))) {
      throw new HotlayerError('HL_ERR_USAGE', `${file}:${index + 1}: "${name}" is not a variable name`, {
        hint: 'each line is NAME=value, NAME, or a comment that starts with #',
        context: { file },
      });
    }
    out.push(line.includes('=') ? line : name.trimEnd());
  }
  return out;
}

function refuseNul(text: string, what: string): void {
  if (text.includes('\0'))
    throw new HotlayerError('HL_ERR_USAGE', `${what} ${JSON.stringify(text)} has a NUL byte in it`);
}
