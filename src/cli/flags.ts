// Flags that several commands share, each defined once. A flag may also be set by the environment
// (HOTLAYER_ + its long name, dashes as underscores) or the config file; precedence: flag, environment, file, default.

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type Network, PRESETS, parseNetwork } from '../analyze/model/network.js';
import { type ProcessOverrides, parseEnvFile } from '../container/process/process-spec.js';
import type { Net, Runtime } from '../container/types.js';
import { HotlayerError } from '../errors.js';
import type { TransportName } from '../fuse/choose.js';
import { parseDuration, parseSize } from '../units.js';

export interface GlobalFlags {
  json?: boolean;
  quiet?: boolean;
  verbose?: boolean;
  color?: boolean;
  progress?: boolean;
  tmpdir?: string;
  config?: string;
  plainHttp?: boolean;
  caFile?: string;
}

/** The environment variable of a flag: `--chunk-size` → HOTLAYER_CHUNK_SIZE. */
export function envName(long: string): string {
  return `HOTLAYER_${long
    .replace(/^--(no-)?/, '')
    .replaceAll('-', '_')
    .toUpperCase()}`;
}

/** A flag that can also come from the environment. */
export function flag(text: string, description: string): Option {
  const option = new Option(text, description);
  return option.long ? option.env(envName(option.long)) : option;
}

/** Wraps a parser of units.ts and the like for commander: a usage error names the flag and the value. */
export function parsed<T>(parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      if (error instanceof HotlayerError)
        throw new InvalidArgumentError(`${error.message}${error.hint ? `; ${error.hint}` : ''}.`);
      throw error;
    }
  };
}

export const size = parsed(parseSize);
export const duration = parsed(parseDuration);

export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max)
      throw new InvalidArgumentError(`Expected a whole number from ${min} to ${max}.`);
    return value;
  };
}

/** Of cores: more than 0. */
export function positive(text: string): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : 0;
  if (!(value > 0)) throw new InvalidArgumentError('Expected a number above 0, like 0.5 or 2.');
  return value;
}

/** For flags that may be given several times. */
export function collect(value: string, previous: readonly string[] | undefined): string[] {
  return [...(previous ?? []), value];
}

export function addGlobalOptions(command: Command): void {
  command
    .addOption(flag('--json', 'print exactly one JSON document on stdout'))
    .addOption(flag('-q, --quiet', 'no narration, warnings and errors only'))
    .addOption(flag('--verbose', 'more narration, stacks with errors'))
    .addOption(new Option('--no-color', 'no colours (NO_COLOR does the same)'))
    .addOption(new Option('--no-progress', 'no progress line'))
    .addOption(flag('--tmpdir <dir>', 'where temporary files go (default: beside the target, else $TMPDIR)'))
    .addOption(
      new Option('--config <file>', 'config file (default: hotlayer.config.json here or in a directory above)'),
    );
}

/** For every command that takes the name of an image. */
export function addRegistryOptions(command: Command): void {
  command
    .addOption(flag('--plain-http', 'speak http, not https, with registries (default: on the loopback interface only)'))
    .addOption(flag('--ca-file <file>', 'certificate authorities (PEM) to trust in registries besides the usual ones'));
}

/** For whatever depends on where the image will be pulled. @param what begins the help */
export function networkOption(what: string): Option {
  const named = Object.entries(PRESETS).map(([name, is]) => `${name} (${is})`);
  const text = `${what}: ${named.join(', ')}, or RATE/RTT; repeatable (default: the three alike)`;
  return flag('--network <network>', text).argParser((value: string, before: Network[] | undefined) => [
    ...(before ?? []),
    parseNetwork(value),
  ]);
}

export interface PlatformFlags {
  platform?: string;
}

export function addPlatformOption(command: Command): void {
  command.addOption(
    flag('--platform <os/arch[/variant]>', 'which image of a multi-platform index (default: this machine)'),
  );
  addRegistryOptions(command);
}

/** What a container is started with. */
export interface ProcessFlags extends PlatformFlags, TransportFlags {
  env?: string[];
  envFile?: string[];
  user?: string;
  workdir?: string;
  entrypoint?: string;
  mount?: string[];
  net: Net;
  runtime: 'auto' | Runtime;
}

export interface TransportFlags {
  transport: 'auto' | TransportName;
}

export function addTransportOption(command: Command): void {
  command.addOption(
    flag(
      '--transport <transport>',
      'how the file system is mounted: raw speaks to /dev/fuse itself; fuse-native needs no rights but fusermount’s',
    )
      .choices(['auto', 'raw', 'fuse-native'])
      .default('auto'),
  );
}

/** Absent: the default. */
export function transportOf({ transport }: TransportFlags): { transport?: TransportName } {
  return transport === 'auto' ? {} : { transport };
}

export function addProcessOptions(command: Command): void {
  addPlatformOption(command);
  addTransportOption(command);
  command
    .addOption(new Option('-e, --env <name[=value]>', 'set a variable in the container; repeatable').argParser(collect))
    .addOption(new Option('--env-file <file>', 'variables, one NAME=value a line; repeatable').argParser(collect))
    .addOption(flag('--user <user[:group]>', 'run as this user of the image (default: as the image says)'))
    .addOption(flag('--workdir <dir>', 'working directory in the container'))
    .addOption(flag('--entrypoint <program>', "replaces the image's entrypoint and drops its command"))
    .addOption(
      new Option('-v, --mount <src:dst[:ro]>', 'bind a host path into the container; repeatable').argParser(collect),
    )
    .addOption(
      flag('--net <net>', "the host's network, none but loopback, or one of its own through slirp4netns or pasta")
        .choices(['host', 'none', 'slirp4netns', 'pasta'])
        .default('host'),
    )
    .addOption(
      flag('--runtime <runtime>', 'what starts the container; builtin needs util-linux only')
        .choices(['auto', 'builtin', 'runc', 'crun'])
        .default('auto'),
    );
}

/** Absent: the default, builtin. */
export function runtimeOf({ runtime }: ProcessFlags): { runtime?: Runtime } {
  return runtime === 'auto' ? {} : { runtime };
}

/** For makeProcessSpec. @param args words after `--`; none: the image's own command */
export function processOverrides(args: readonly string[], flags: ProcessFlags): ProcessOverrides {
  return {
    ...(flags.entrypoint === undefined ? {} : { entrypoint: [flags.entrypoint] }),
    ...(flags.user === undefined ? {} : { user: flags.user }),
    ...(flags.workdir === undefined ? {} : { workdir: flags.workdir }),
    args,
    envFile: readEnvFiles(flags.envFile),
    env: flags.env ?? [],
  };
}

/** How the workload is started and watched; the same for `profile`, for `optimize -- CMD` and for `demo`. */
export interface WorkloadFlags extends ProcessFlags {
  runs: number;
  until?: string[];
  timeout: number;
  precision: 'exact' | 'fast';
  keepTraces?: string;
}

export function addWorkloadOptions(command: Command): void {
  command
    .addOption(flag('-r, --runs <n>', 'how often to run the workload').argParser(wholeNumber(1, 1000)).default(3))
    .addOption(
      flag(
        '--until <rule>',
        'the workload is ready at: exit, line:TEXT, line:/re/, tcp:PORT, http:URL, idle:2s, period:10s; repeatable, the first counts (default: exit)',
      ).argParser(collect),
    )
    .addOption(
      flag('--timeout <time>', 'give up when it is not ready by then').argParser(duration).default(120e9, '2m'),
    )
    .addOption(
      flag('--precision <p>', 'exact: byte ranges as read; fast: with the readahead of the kernel')
        .choices(['exact', 'fast'])
        .default('exact'),
    )
    .addOption(flag('--keep-traces <dir>', 'keep the trace of each run in this directory'));
  addProcessOptions(command);
}

/** For `run` and `mount`. */
export function addTraceOptions(command: Command): void {
  command
    .addOption(
      flag('--trace <file>', 'write what is asked of the file system (.gz: packed); a profile can be made of it'),
    )
    .addOption(
      flag('--precision <p>', 'of the trace; exact: byte ranges as read; fast: with the readahead of the kernel')
        .choices(['exact', 'fast'])
        .default('fast'),
    );
}

/** The cache of lazily read images, for `run` and `mount`. */
export interface LazyFlags extends PlatformFlags {
  cacheDir?: string;
  cacheSize?: number;
  offline?: boolean;
  pull: 'missing' | 'always' | 'never';
  backgroundFetch?: boolean;
  fetchTimeout: number;
}

export function addLazyOptions(command: Command): void {
  command
    .addOption(
      flag(
        '--cache-dir <dir>',
        'where fetched content is kept (default: $XDG_CACHE_HOME/hotlayer or ~/.cache/hotlayer)',
      ),
    )
    .addOption(
      flag(
        '--cache-size <size>',
        'keep at most so much; what was not used for longest goes first (default: 20GiB)',
      ).argParser(size),
    )
    .addOption(flag('--offline', 'fetch nothing: all that is needed must be in the cache'))
    .addOption(
      flag('--pull <when>', 'ask the registry what the name leads to: when the cache does not know, always, or never')
        .choices(['missing', 'always', 'never'])
        .default('missing'),
    )
    .addOption(flag('--background-fetch', 'fetch the whole image while it runs, when there is nothing better to do'))
    .addOption(
      flag('--fetch-timeout <time>', 'how long a read waits for a registry that fails before it fails too')
        .argParser(duration)
        .default(30e9, '30s'),
    );
}

/** The variables of the env files, in order. @throws HL_ERR_USAGE naming file and line */
export function readEnvFiles(files: readonly string[] = []): string[] {
  return files.flatMap((file) => {
    try {
      return parseEnvFile(readFileSync(file, 'utf8'), file);
    } catch (cause) {
      if (cause instanceof HotlayerError) throw cause;
      throw new HotlayerError('HL_ERR_USAGE', `--env-file ${file}: ${(cause as Error).message}`, { cause });
    }
  });
}

/** Sources as absolute paths: the session has a working directory of its own. @throws HL_ERR_USAGE */
export function readBinds(
  mounts: readonly string[] = [],
): { source: string; destination: string; readonly: boolean }[] {
  return mounts.map((text) => {
    const match = /^([^:]+):(\/[^:]*)(?::(ro|rw))?$/.exec(text);
    if (!match) {
      throw new HotlayerError('HL_ERR_USAGE', `--mount ${text}: expected SRC:DST or SRC:DST:ro`, {
        hint: 'DST is an absolute path in the container: -v ./data:/data:ro',
      });
    }
    return { source: resolve(match[1]!), destination: match[2]!, readonly: match[3] === 'ro' };
  });
}
