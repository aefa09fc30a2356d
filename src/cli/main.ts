// The `hotlayer` command: assembles the commands, runs one, and turns its outcome into an exit status.
import { readFileSync } from 'node:fs';
import { Command, CommanderError, type Option } from 'commander';
import { EXIT, HotlayerError, isHotlayerError } from '../errors.js';
import type { RegistryOptions } from '../image/registry/settings.js';
import { formatNanos } from '../units.js';
import { applyConfigFile, hasConfigFile } from './config.js';
import { addGlobalOptions, envName, type GlobalFlags } from './flags.js';
import { Output } from './output.js';

/** What every command is given besides its own arguments. */
export interface CommandContext {
  readonly out: Output;
  /** Aborted by SIGINT, SIGTERM or SIGHUP. */
  readonly signal: AbortSignal;
  /** Parent of temporary directories; absent: beside the target, else $TMPDIR. */
  readonly tmpdir?: string;
  /** Leaves the signals to whoever has a workload that they are for. @returns takes them back */
  yieldSignals(): () => void;
  /** How registries are reached. */
  readonly registry: RegistryOptions;
}

/** What a command's module hands to `register`: does the work, returns the exit status. */
export type Action<Flags> = (context: CommandContext, operands: readonly string[], flags: Flags) => Promise<number>;

/** Adds a command's action: `register(command, action)`, with the operands as one flat list. */
export type Register = <Flags>(command: Command, action: Action<Flags>) => void;

/** In the order in which the help lists them. */
const COMMANDS: readonly (readonly [
  name: string,
  load: () => Promise<(program: Command, register: Register) => void>,
])[] = [
  ['profile', async () => (await import('./profile.js')).addProfile],
  ['optimize', async () => (await import('./optimize.js')).addOptimize],
  ['verify', async () => (await import('./verify.js')).addVerify],
  ['autorun', async () => (await import('./autorun.js')).addAutorun],
  ['report', async () => (await import('./report.js')).addReport],
  ['diff', async () => (await import('./diff.js')).addDiff],
  ['export', async () => (await import('./export.js')).addExport],
  ['import', async () => (await import('./import.js')).addImport],
  ['inspect', async () => (await import('./inspect.js')).addInspect],
  ['run', async () => (await import('./run.js')).addRun],
  ['mount', async () => (await import('./mount.js')).addMount],
  ['doctor', async () => (await import('./doctor.js')).addDoctor],
  ['demo', async () => (await import('./demo.js')).addDemo],
];

function version(): string {
  const file = new URL('../../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

/** A flag's help without its environment variable: the rule is said once, below. */
function describe(option: Option): string {
  const notes = [
    ...(option.argChoices ? [option.argChoices.join(', ')] : []),
    ...(option.defaultValue === undefined
      ? []
      : [`default ${option.defaultValueDescription ?? String(option.defaultValue)}`]),
  ];
  return notes.length === 0 ? option.description : `${option.description} (${notes.join('; ')})`;
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

async function main(argv: readonly string[]): Promise<number> {
  let status: number = EXIT.ok;
  let out = new Output();
  const abort = new AbortController();
  /** The error by which this ends was printed. */
  let told = false;
  const onSignal = (name: NodeJS.Signals) => {
    // A second signal means: now. The reaper and the namespaces clean up what we then leave.
    if (abort.signal.aborted) {
      if (!told) out.error(abort.signal.reason);
      process.exit(EXIT.interrupted);
    }
    abort.abort(new HotlayerError('HL_ERR_INTERRUPTED', `interrupted by ${name}`));
  };
  const listen = () => {
    for (const name of SIGNALS) process.on(name, onSignal);
  };
  const yieldSignals = () => {
    for (const name of SIGNALS) process.removeListener(name, onSignal);
    return listen;
  };
  listen();

  const program = new Command('hotlayer')
    .description('Find the files a container reads while it starts, put them first in its layers, and prove it.')
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show this text, or that of a command')
    // What is wrong with the command line is reported below, like every other error.
    .configureOutput({ writeErr: (text) => process.stderr.write(text), outputError: () => {} })
    .showSuggestionAfterError()
    .exitOverride();

  const register: Register = (command, action) => {
    addGlobalOptions(command);
    command.exitOverride().showSuggestionAfterError().configureHelp({ optionDescription: describe });
    command.addHelpText(
      'after',
      `\nEvery flag with a value can also be set as ${envName('--some-flag')} or in hotlayer.config.json.`,
    );
    command.action(async () => {
      const flags = command.opts<GlobalFlags>();
      const operands = (command.processedArgs as unknown[]).flat().filter((a): a is string => typeof a === 'string');
      out = new Output(flags);
      const { signal } = abort;
      const context: CommandContext = {
        out,
        signal,
        yieldSignals,
        ...(flags.tmpdir ? { tmpdir: flags.tmpdir } : {}),
        registry: {
          signal,
          onRetry: (message, ms) => out.note(`${message}; again in ${formatNanos(ms * 1e6)}`),
          ...(flags.plainHttp ? { plainHttp: true } : {}),
          ...(flags.caFile ? { caFile: flags.caFile } : {}),
        },
      };
      status = await action(context, operands, command.opts() as never);
    });
  };

  // A container should start at once: only the command that is meant is loaded, where it is clear which that is.
  const meant = COMMANDS.filter(([name]) => name === argv[0] && !hasConfigFile(argv));
  for (const [, load] of meant.length > 0 ? meant : COMMANDS) (await load())(program, register);
  program.addHelpText(
    'after',
    `\nExit status: 0 done · 1 the answer is no · 2 wrong command line · 3 bad input · 4 this machine cannot · 5 workload failed · 130 interrupted`,
  );

  ignoreOffSwitches(program, process.env);
  // Errors from before the flags are known are reported as if only --json had been seen.
  out = new Output({ json: wantsJson(argv, process.env) });
  process.on('uncaughtException', (error) => {
    out.error(abort.signal.aborted ? abort.signal.reason : error);
    process.exit(abort.signal.aborted ? EXIT.interrupted : EXIT.bug);
  });
  try {
    applyConfigFile(program, argv);
    if (program.commands.some((c) => c.name() === argv[0] && c.getOptionValue('json') === true))
      out = new Output({ json: true });
    await program.parseAsync([...argv], { from: 'user' });
    return status;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return EXIT.ok;
      out.error(usageError(error, program, argv));
      return EXIT.usage;
    }
    // Whatever failed because of the signal failed because of the signal.
    const shown = abort.signal.aborted ? abort.signal.reason : error;
    told = true;
    out.error(shown);
    return isHotlayerError(shown) ? shown.exitCode : EXIT.bug;
  } finally {
    out.clearProgress();
  }
}

/** Whether --json was given, when the command line could not be read as a whole. What is after `--` is the workload's. */
function wantsJson(argv: readonly string[], env: NodeJS.ProcessEnv): boolean {
  const end = argv.indexOf('--');
  return argv.slice(0, end < 0 ? undefined : end).includes('--json') || env[envName('--json')] !== undefined;
}

/** To commander a flag without a value is given when its variable exists: `HOTLAYER_JSON=0` would switch it on. */
function ignoreOffSwitches(program: Command, env: NodeJS.ProcessEnv): void {
  for (const { envVar, required, optional } of program.commands.flatMap((command) => command.options)) {
    if (envVar && !required && !optional && /^(0|false|no|off|)$/i.test(env[envVar] ?? '')) delete env[envVar];
  }
}

function usageError(error: CommanderError, program: Command, argv: readonly string[]): HotlayerError {
  if (error.code === 'commander.help') return new HotlayerError('HL_ERR_USAGE', 'no command was given');
  const [, text = error.message, meant] =
    /^(?:error: )?([\s\S]*?)(?:\n\(Did you mean (.*)\?\))?$/.exec(error.message) ?? [];
  const command = program.commands.find((c) => c.name() === argv[0]);
  return new HotlayerError('HL_ERR_USAGE', text, {
    hint: meant ? `did you mean ${meant}?` : `hotlayer ${command ? `${command.name()} ` : ''}--help`,
  });
}

// Whoever reads our output may have seen enough (`hotlayer inspect … | head`): the work goes on.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}

// Nothing is awaited out here: this module is also bundled as CommonJS (bin/bundle.js), which cannot.
void main(process.argv.slice(2)).then(async (status) => {
  // Output may still be in a pipe: let it drain, then go, whatever timers or handles are left.
  process.exitCode = status;
  await Promise.all([process.stdout, process.stderr].map((s) => new Promise((resolve) => s.write('', resolve))));
  process.exit(status);
});
