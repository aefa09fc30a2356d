// The config file: hotlayer.config.json in this directory or one above. Top-level keys are flags of every command,
// keys under a command's name are its own; both are written as the long flag: { "tmpdir": "…", "profile": { "runs": 5 } }.
// Its paths are seen from where it lies, those of flags and variables from where the command runs.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, isAbsolute, join, relative, resolve } from 'node:path';
import type { Command, Option } from 'commander';
import { HotlayerError } from '../errors.js';
import { closest } from '../report/budgets/suggest.js';

const NAME = 'hotlayer.config.json';

function findConfig(argv: readonly string[], cwd: string): string | undefined {
  const end = argv.indexOf('--');
  const flags = end < 0 ? argv : argv.slice(0, end);
  const at = flags.findIndex((a) => a === '--config' || a.startsWith('--config='));
  if (at >= 0)
    return resolve(cwd, flags[at]!.includes('=') ? flags[at]!.slice('--config='.length) : (flags[at + 1] ?? ''));
  for (let dir = cwd; ; dir = dirname(dir)) {
    if (existsSync(join(dir, NAME))) return join(dir, NAME);
    if (dir === dirname(dir)) return undefined;
  }
}

/** Whether there is a config file to be applied. */
export function hasConfigFile(argv: readonly string[], cwd = process.cwd()): boolean {
  return findConfig(argv, cwd) !== undefined;
}

/** A command that does the work of others takes their settings, too; its own win, then those of the first named. */
const BORROWED: Readonly<Record<string, readonly string[]>> = { autorun: ['profile', 'optimize', 'report'] };

/** Sets what the file says on the program's commands, below flags and environment. @throws HL_ERR_USAGE */
export function applyConfigFile(program: Command, argv: readonly string[], cwd = process.cwd()): void {
  const file = findConfig(argv, cwd);
  if (file === undefined) return;
  const config = readConfig(file);
  const commands = program.commands.map((c) => c.name());
  const place: Place = { file, cwd };
  for (const command of program.commands) {
    for (const key of Object.keys(sectionOf(config, command.name(), file))) {
      if (optionOf(command, key)) continue;
      const what = `"${command.name()}.${key}" is not a flag of ${command.name()}`;
      throw wrong(file, what, suggest(key, longNames(command)));
    }
  }
  for (const [key, value] of Object.entries(config)) {
    if (commands.includes(key) || key === '$schema') continue;
    const takers = program.commands.filter((command) => optionOf(command, key));
    if (takers.length === 0) {
      const known = [...commands, ...program.commands.flatMap(longNames)];
      throw wrong(file, `"${key}" is neither a command nor a flag`, suggest(key, known));
    }
    for (const command of takers) set(command, optionOf(command, key)!, value, key, place);
  }
  for (const command of program.commands) {
    const sections = [command.name(), ...(BORROWED[command.name()] ?? [])];
    for (const section of sections.reverse()) {
      for (const [key, value] of Object.entries(sectionOf(config, section, file))) {
        const option = optionOf(command, key);
        if (option) set(command, option, value, `${section}.${key}`, place);
      }
    }
  }
}

function sectionOf(config: Record<string, unknown>, name: string, file: string): Record<string, unknown> {
  const own = config[name] ?? {};
  if (!isRecord(own)) throw wrong(file, `"${name}" is not an object`);
  return own;
}

function readConfig(file: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw wrong(file, (cause as Error).message);
  }
  if (!isRecord(value)) throw wrong(file, 'it is not a JSON object');
  return value;
}

/** The flag a key names; a key is the long name without dashes, `no-` included or as `false`. */
function optionOf(command: Command, key: string): Option | undefined {
  return command.options.find((o) => o.long === `--${key}` || (o.negate && o.long === `--no-${key}`));
}

function longNames(command: Command): string[] {
  return command.options.flatMap((o) => (o.long ? [o.long.slice(2)] : []));
}

interface Place {
  readonly file: string;
  /** Where the command runs. */
  readonly cwd: string;
}

const SCHEME = /^(oci|oci-archive|docker-archive|dir):/;

/** A value with its path as seen from where the command runs; one that is no path as it is. */
function fromHere(text: string, option: Option, { file, cwd }: Place): string {
  const dir = dirname(file);
  if (dir === cwd) return text;
  const moved = (path: string): string => (isAbsolute(path) ? path : relative(cwd, resolve(dir, path)) || '.');
  if (/<(file|dir)>/.test(option.flags)) return text === '-' ? text : moved(text);
  if (!/<(image|target)>/.test(option.flags)) return text;
  const scheme = SCHEME.exec(text)?.[0];
  if (scheme !== undefined) return `${scheme}${moved(text.slice(scheme.length))}`;
  // A bare name is a path where there is one, else an image in a registry.
  return /^\.\.?\//.test(text) || existsSync(resolve(dir, text)) ? moved(text) : text;
}

function set(command: Command, option: Option, value: unknown, key: string, place: Place): void {
  const { file } = place;
  const isFlag = !option.required && !option.optional;
  if (isFlag !== (typeof value === 'boolean'))
    throw wrong(file, `"${key}" is ${JSON.stringify(value)}; expected ${isFlag ? 'true or false' : 'a value'}`);
  let final: unknown = value;
  if (!isFlag) {
    const repeatable = Array.isArray(value);
    for (const item of repeatable ? value : [value]) {
      if (typeof item !== 'string' && typeof item !== 'number')
        throw wrong(file, `"${key}" is ${JSON.stringify(value)}; expected text or a number`);
      try {
        if (option.argChoices && !option.argChoices.includes(String(item)))
          throw new Error(`expected one of ${option.argChoices.join(', ')}`);
        const previous = final === value ? undefined : final;
        const text = fromHere(String(item), option, place);
        final = !option.argChoices && option.parseArg ? option.parseArg(text, previous as never) : text;
      } catch (cause) {
        throw wrong(file, `"${key}": ${JSON.stringify(item)} – ${(cause as Error).message}`);
      }
    }
  } else if (option.negate && option.long === `--${key.split('.').at(-1)}`) {
    // "no-progress": true says the same as "progress": false.
    final = !value;
  }
  command.setOptionValueWithSource(option.attributeName(), final, 'config');
}

function wrong(file: string, what: string, hint?: string): HotlayerError {
  return new HotlayerError('HL_ERR_USAGE', `config file ${file}: ${what}`, hint ? { hint } : {});
}

/** "did you mean …": the nearest name, if it is near. */
function suggest(word: string, names: readonly string[]): string | undefined {
  const meant = closest(word, names);
  return meant === undefined ? undefined : `did you mean "${meant}"?`;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
