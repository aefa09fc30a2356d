// `hotlayer run IMAGE [-- CMD…]`: a container from an image that is fetched while it runs.
import { constants } from 'node:os';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { ContainerOptions } from '../container/container-options.js';
import type { Cgroup } from '../container/isolation/cgroup.js';
import { makeProcessSpec, type ProcessOverrides } from '../container/process/process-spec.js';
import { formatReadyRule, parseReadyRule } from '../container/ready/ready.js';
import { runDirectory } from '../container/run-directory.js';
import { runImage } from '../container/run-image.js';
import { writeTo } from '../container/session/flow.js';
import { holdTerminal } from '../container/session/terminal.js';
import type { SessionResult } from '../container/types.js';
import { HotlayerError } from '../errors.js';
import { expectBriefWork } from '../fuse/brief.js';
import { parseReference } from '../image/reference.js';
import { formatBytes, formatCount } from '../units.js';
import {
  addLazyOptions,
  addProcessOptions,
  addTraceOptions,
  collect,
  flag,
  type GlobalFlags,
  type LazyFlags,
  type ProcessFlags,
  positive,
  processOverrides,
  readBinds,
  runtimeOf,
  size,
  transportOf,
} from './flags.js';
import { addLayerOptions, type LayerFlags, type LayerUse, useLayer } from './layer-flags.js';
import { lazyOptionsOf } from './lazy-options.js';
import type { CommandContext, Register } from './main.js';
import { startTracing } from './tracing.js';

interface RunFlags extends GlobalFlags, ProcessFlags, LazyFlags, LayerFlags {
  name: string;
  profile?: string;
  trace?: string;
  precision: 'exact' | 'fast';
  until?: string[];
  interactive?: boolean;
  tty?: boolean;
  memory?: number;
  cpus?: number;
  overlay?: 'kernel' | 'fuse-overlayfs';
}

export function addRun(program: Command, register: Register): void {
  const command = program
    .command('run')
    .argument('<image>', 'an image in a registry, oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE, or dir:PATH')
    .argument('[command...]', 'what to run, after --; default: what the image runs')
    .description(
      'Runs a container without pulling its image first: content is fetched, verified and kept as it is read.',
    )
    .summary('run a container lazily, without pulling its image first')
    .addOption(flag('-p, --profile <file>', 'fetch what this profile says ahead, in the order in which it was needed'))
    .addOption(flag('-i, --interactive', 'what comes in on standard input is the container’s'))
    .addOption(flag('-t, --tty', 'give it a terminal of its own, shown on this one'))
    .addOption(
      flag(
        '--memory <size>',
        'at most so much memory, where a cgroup can be had: as root, or in one that is yours',
      ).argParser(size),
    )
    .addOption(flag('--cpus <n>', 'at most so many cores, 0.5 for half of one, likewise').argParser(positive))
    .addOption(flag('--name <name>', 'host name of the container').default('hotlayer'))
    .addOption(flag('--read-only', 'no disposable layer: only /tmp, /run and /var/tmp are writable'))
    .addOption(
      flag(
        '--overlay <kind>',
        'who lays the disposable layer (default: the kernel, else fuse-overlayfs, else --read-only)',
      ).choices(['kernel', 'fuse-overlayfs']),
    )
    .addOption(flag('--rm', 'nothing is kept of a container in any case; for those whose fingers type it'));
  addTraceOptions(command);
  command.addOption(
    flag('--until <rule>', 'note when it is ready, as for profile; it runs on; repeatable').argParser(collect),
  );
  addProcessOptions(command);
  addLazyOptions(command);
  addLayerOptions(command);
  register<RunFlags>(command, async (context, [image, ...args], flags) => {
    await using cgroup = await limit(flags);
    await using layer = await useLayer(context, flags);
    using attached = attach(context, flags);
    const reference = parseReference(image!);
    const { session, document, words, base } =
      reference.kind === 'dir'
        ? await runOver(resolve(reference.path), args, context, flags, layer, attached, cgroup)
        : await runLazily(image!, args, context, flags, layer, attached, cgroup);
    attached[Symbol.dispose]();
    for (const text of session.warnings ?? []) context.out.detail(text);
    noteLayer(context, flags, session);
    const kills = cgroup?.memoryKills() ?? 0;
    if (kills > 0) {
      const many = kills === 1 ? 'a process' : `${formatCount(kills)} processes`;
      context.out.note(`--memory ${formatBytes(flags.memory!)} was used up: the kernel ended ${many}`);
    }
    const kept = await layer.finish(session, words, base);
    const status = statusOf(session);
    context.out.document({
      exitCode: status,
      writable: session.writable,
      ...(session.ready && { ready: session.ready }),
      ...document,
      ...kept,
    });
    return status;
  });
}

/** Loaded only where it is asked for. @throws as makeCgroup */
async function limit({ memory, cpus }: RunFlags): Promise<Cgroup | undefined> {
  if (memory === undefined && cpus === undefined) return undefined;
  const { makeCgroup } = await import('../container/isolation/cgroup.js');
  return makeCgroup({ ...(memory !== undefined && { memory }), ...(cpus !== undefined && { cpus }) });
}

/** Another layer than most machines have. */
function noteLayer({ out }: CommandContext, flags: RunFlags, { writable }: SessionResult): void {
  if (writable === 'fuse-overlayfs' && flags.overlay === undefined)
    out.note('what was written went through fuse-overlayfs, for the kernel refused its overlayfs; --verbose says why');
  if (writable === 'readonly' && !flags.readOnly)
    out.note('the root was read-only, but for /tmp, /run and /var/tmp: no overlayfs here; --verbose says why');
}

interface Ran {
  readonly session: SessionResult;
  /** Members of the command's document. */
  readonly document: object;
  readonly words: readonly string[];
  /** Reference of the image. */
  readonly base: string | undefined;
}

/** What of this process the container has. */
interface Attached extends Disposable {
  readonly options: Pick<ContainerOptions, 'stdin' | 'terminal' | 'onStarted'>;
}

/** @throws HL_ERR_USAGE when there is no terminal */
function attach(context: CommandContext, { interactive, tty, json, until }: RunFlags): Attached {
  if (tty && (json || until?.some((rule) => rule.startsWith('line:')))) {
    throw new HotlayerError('HL_ERR_USAGE', '-t: what is printed goes to the terminal, not to --json or a line: rule', {
      hint: 'leave -t out',
    });
  }
  const terminal = tty ? holdTerminal() : undefined;
  let takeBack: (() => void) | undefined;
  return {
    options: {
      ...(terminal && { terminal: terminal.fd }),
      ...(interactive && !terminal && { stdin: process.stdin }),
      onStarted: () => {
        takeBack ??= context.yieldSignals();
      },
    },
    [Symbol.dispose]() {
      terminal?.release();
      if (interactive && !terminal) process.stdin.destroy();
      takeBack?.();
      takeBack = undefined;
    },
  };
}

function containerOptions(
  { out, tmpdir }: CommandContext,
  flags: RunFlags,
  layer: LayerUse,
  attached: Attached,
  cgroup: Cgroup | undefined,
): ContainerOptions {
  return {
    ...attached.options,
    ...runtimeOf(flags),
    ...transportOf(flags),
    until: (flags.until ?? []).map(parseReadyRule),
    binds: readBinds(flags.mount),
    net: flags.net,
    hostname: flags.name,
    ...(flags.readOnly && { readonlyRoot: true }),
    overlay: flags.overlay ?? (flags.trace === undefined ? 'auto' : 'exact'),
    ...(cgroup && { cgroups: cgroup.directories }),
    ...(layer.capture && { capture: layer.capture }),
    ...(tmpdir !== undefined && { tmpdir }),
    // With --json stdout is the document's.
    onOutput: (chunk, stream) => writeTo(stream === 'stdout' && !out.json ? process.stdout : process.stderr, chunk),
  };
}

async function runLazily(
  image: string,
  args: readonly string[],
  context: CommandContext,
  flags: RunFlags,
  layer: LayerUse,
  attached: Attached,
  cgroup: Cgroup | undefined,
): Promise<Ran> {
  const { out } = context;
  // What is still to be loaded for an image that is not here: before that is made slower.
  await import('node:http');
  expectBriefWork();
  await using tracing = flags.trace === undefined ? undefined : await startTracing(flags.trace, out);
  const until = (flags.until ?? []).map(parseReadyRule);
  const { session, counts, ...ran } = await runImage(image, {
    ...lazyOptionsOf(context, flags),
    ...(flags.profile !== undefined && {
      hot: async () => (await import('./hot-files.js')).hotFiles(flags.profile!),
    }),
    ...(tracing && { observer: tracing.observer }),
    precision: flags.precision,
    process: ({ config }) => makeProcessSpec(config, overridesOf(args, flags), process.env),
    ...containerOptions(context, flags, layer, attached, cgroup),
  });
  const { args: words, user, cwd } = ran.process;
  await tracing?.finish(
    {
      image: { reference: image, digest: ran.image.descriptor.digest },
      workload: { args: words, user, cwd },
      precision: flags.precision,
      until: until.length === 0 ? ['exit'] : until.map(formatReadyRule),
    },
    ran.image.config,
    session.startedAt,
    session,
  );
  out.detail(
    `fetched ${formatBytes(counts.bytes)} in ${formatCount(counts.requests)} requests; ${formatCount(counts.onDemand)} of ${formatCount(counts.chunks)} chunks were waited for`,
  );
  return { session, document: { fetched: counts }, words, base: image };
}

/** A session over a directory; over this machine's own root with the caller's variables, where the caller is. */
async function runOver(
  path: string,
  args: readonly string[],
  context: CommandContext,
  flags: RunFlags,
  layer: LayerUse,
  attached: Attached,
  cgroup: Cgroup | undefined,
): Promise<Ran> {
  if (flags.trace !== undefined) {
    throw new HotlayerError('HL_ERR_USAGE', `--trace is for images; dir:${path} is a directory`, {
      hint: `hotlayer profile --keep-traces DIR dir:${path} -- CMD`,
    });
  }
  const own = path === '/' ? { Env: callersVariables(), WorkingDir: process.cwd() } : undefined;
  const spec = makeProcessSpec(own, overridesOf(args, flags), process.env);
  const options = containerOptions(context, flags, layer, attached, cgroup);
  const session = await runDirectory(path, { ...options, process: spec, exclude: layer.own });
  return { session, document: {}, words: spec.args, base: undefined };
}

function callersVariables(): string[] {
  return Object.entries(process.env).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]));
}

/** As a shell has it: 128 and the number of the signal that ended it. */
function statusOf({ exitCode, signal }: SessionResult): number {
  if (exitCode !== undefined) return exitCode;
  return 128 + ((constants.signals as Record<string, number>)[signal ?? ''] ?? 0);
}

/** With a terminal, TERM as docker sets it, unless the user says another; a host session has the caller's. */
function overridesOf(args: readonly string[], flags: RunFlags): ProcessOverrides {
  const overrides = processOverrides(args, flags);
  if (!flags.tty) return overrides;
  return { ...overrides, terminal: true };
}
