// `hotlayer run IMAGE [-- CMD…]`: a container from an image that is fetched while it runs.
import { constants } from 'node:os';
import type { Command } from 'commander';
import { writeTo } from '../container/flow.js';
import { makeProcessSpec } from '../container/process-spec.js';
import { formatReadyRule, parseReadyRule } from '../container/ready.js';
import { runImage } from '../container/run-image.js';
import type { SessionResult } from '../container/types.js';
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
  processOverrides,
  readBinds,
} from './flags.js';
import { lazyOptionsOf } from './lazy-options.js';
import type { Register } from './main.js';
import { startTracing } from './tracing.js';

interface RunFlags extends GlobalFlags, ProcessFlags, LazyFlags {
  name: string;
  readOnly?: boolean;
  profile?: string;
  trace?: string;
  precision: 'exact' | 'fast';
  until?: string[];
}

export function addRun(program: Command, register: Register): void {
  const command = program
    .command('run')
    .argument('<image>', 'an image in a registry, oci:DIR[:TAG], oci-archive:FILE or docker-archive:FILE')
    .argument('[command...]', 'what to run, after --; default: what the image runs')
    .description(
      'Runs a container without pulling its image first: content is fetched, verified and kept as it is read.',
    )
    .summary('run a container lazily, without pulling its image first')
    .addOption(flag('-p, --profile <file>', 'fetch what this profile says ahead, in the order in which it was needed'))
    .addOption(flag('--name <name>', 'host name of the container').default('hotlayer'))
    .addOption(flag('--read-only', 'no disposable layer: only /tmp, /run and /var/tmp are writable'))
    .addOption(flag('--rm', 'nothing is kept of a container in any case; for those whose fingers type it'));
  addTraceOptions(command);
  command.addOption(
    flag('--until <rule>', 'note when it is ready, as for profile; it runs on; repeatable').argParser(collect),
  );
  addProcessOptions(command);
  addLazyOptions(command);
  register<RunFlags>(command, async (context, [image, ...args], flags) => {
    const { out } = context;
    await using tracing = flags.trace === undefined ? undefined : await startTracing(flags.trace, out);
    const until = (flags.until ?? []).map(parseReadyRule);
    const { session, counts, ...ran } = await runImage(image!, {
      ...lazyOptionsOf(context, flags),
      ...(flags.profile !== undefined && {
        hot: async () => (await import('./hot-files.js')).hotFiles(flags.profile!),
      }),
      ...(tracing && { observer: tracing.observer }),
      precision: flags.precision,
      until,
      process: ({ config }) => makeProcessSpec(config, processOverrides(args, flags), process.env),
      binds: readBinds(flags.mount),
      net: flags.net,
      hostname: flags.name,
      ...(flags.readOnly && { readonlyRoot: true }),
      ...(context.tmpdir !== undefined && { tmpdir: context.tmpdir }),
      // With --json stdout is the document's.
      onOutput: (chunk, stream) => writeTo(stream === 'stdout' && !out.json ? process.stdout : process.stderr, chunk),
    });
    const { args: words, user, cwd } = ran.process;
    await tracing?.finish(
      {
        image: { reference: image!, digest: ran.image.descriptor.digest },
        workload: { args: words, user, cwd },
        precision: flags.precision,
        until: until.length === 0 ? ['exit'] : until.map(formatReadyRule),
      },
      ran.image.config,
      session.startedAt,
      session,
    );
    for (const text of session.warnings ?? []) out.detail(text);
    out.detail(
      `fetched ${formatBytes(counts.bytes)} in ${formatCount(counts.requests)} requests; ${formatCount(counts.onDemand)} of ${formatCount(counts.chunks)} chunks were waited for`,
    );
    out.document({ exitCode: statusOf(session), ...(session.ready && { ready: session.ready }), fetched: counts });
    return statusOf(session);
  });
}

/** As a shell has it: 128 and the number of the signal that ended it. */
function statusOf({ exitCode, signal }: SessionResult): number {
  if (exitCode !== undefined) return exitCode;
  return 128 + ((constants.signals as Record<string, number>)[signal ?? ''] ?? 0);
}
