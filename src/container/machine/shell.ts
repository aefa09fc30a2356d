// Commands of this machine, run one after another by a shell: one process to wait for instead of ten.
import { spawn } from 'node:child_process';
import { HotlayerError } from '../../errors.js';
import { findTool, type Tools, toolPath } from './tools.js';

/** A word as the shell reads it back. */
export function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

export interface Step {
  readonly command: readonly string[];
  /** Why the session goes on when the command fails: the warning that the result then carries. */
  readonly orWarn?: string;
  /** Left out when there is no such file. */
  readonly ifExists?: string;
}

/** Stops at the first step that fails, unless that one only warns: then `warn TEXT` is a line on descriptor 3. */
export function script(steps: readonly Step[]): string {
  const lines = steps.map(({ command, orWarn, ifExists }) => {
    const unless = ifExists === undefined ? '' : `[ ! -e ${quote(ifExists)} ] || `;
    const text = unless + command.map(quote).join(' ');
    return orWarn === undefined
      ? `${text} || exit 125`
      : `${text} 2>/dev/null || echo ${quote(`warn ${orWarn.replaceAll('\n', ' ')}`)} >&3`;
  });
  return lines.join('\n');
}

export interface MountStep extends Omit<Step, 'command'> {
  readonly source: string;
  readonly target: string;
  /** Absent: a bind. */
  readonly type?: string;
  readonly options: string;
}

/**
 * Mounts all of them, in order, by one mount(8), which takes a third of the time of one for each. Where that fails they
 * are mounted one by one, as `script` does; what is mounted already then lies there twice, and that is all.
 * @param table file to be written, fstab(5)
 */
export function mountScript(tools: Tools, table: string, steps: readonly MountStep[]): string {
  if (steps.length === 0) return '';
  const lines = steps.map(({ source, target, type = 'none', options, ifExists }) => {
    const line = [source, target, type, options, '0', '0'].map(fstabWord).join(' ');
    return `${ifExists === undefined ? '' : `[ ! -e ${quote(ifExists)} ] || `}printf '%s\\n' ${quote(line)}`;
  });
  const single = steps.map(({ source, target, type, options, ...rest }) => ({
    ...rest,
    command: [tools.mount, '-n', ...(type === undefined ? [] : ['-t', type]), '-o', options, source, target],
  }));
  return `{
${lines.join('\n')}
} > ${quote(table)}
${quote(tools.mount)} -n -a -T ${quote(table)} 2>/dev/null || {
${script(single)}
}`;
}

/** What separates words, and what stands for that (getmntent(3)). */
function fstabWord(word: string): string {
  return word.replace(/[\s\\#]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`);
}

/** Of the helpers: nothing of the caller's, so that no variable of theirs changes what a tool does or says. */
export function toolEnv(): Record<string, string> {
  return { PATH: toolPath(), LC_ALL: 'C' };
}

/**
 * Runs a script to its end.
 * @param what it is for, in messages: "cannot WHAT: …"
 * @returns the warnings
 * @throws HL_ERR_MACHINE with what the failed command said
 */
export async function runScript(tools: Tools, text: string, what: string, cwd = '/'): Promise<string[]> {
  const { status, stderr, third } = await run(tools.sh, ['-c', text], cwd);
  if (status === 0) return warningsIn(third);
  throw new HotlayerError(
    'HL_ERR_MACHINE',
    `cannot ${what}: ${stderr.trim().replaceAll('\n', '; ') || `status ${status}`}`,
    {
      hint: 'hotlayer doctor shows what this machine allows',
    },
  );
}

export function warningsIn(text: string): string[] {
  return text.split('\n').flatMap((line) => (line.startsWith('warn ') ? [line.slice(5)] : []));
}

export interface Ran {
  /** null when a signal ended it or it could not be started. */
  readonly status: number | null;
  readonly stderr: string;
  /** What it wrote to descriptor 3. */
  readonly third: string;
}

export function run(program: string, args: readonly string[], cwd = '/'): Promise<Ran> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd, env: toolEnv(), stdio: ['ignore', 'ignore', 'pipe', 'pipe'] });
    let stderr = '';
    let third = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const extra = child.stdio[3] as NodeJS.ReadableStream | null | undefined;
    extra?.setEncoding('utf8').on('data', (text: string) => {
      third += text;
    });
    child.on('error', (error) => resolve({ status: null, stderr: error.message, third }));
    child.on('close', (status) => resolve({ status, stderr, third }));
  });
}

/**
 * The shell that turns into the workload, and what it is started with. dash and busybox let every variable be exported,
 * but drop what they find in their environment under a name that is not one; bash passes such lines on.
 */
export function shellFor(tools: Tools, unnameable: readonly string[]) {
  const bash = unnameable.length > 0 ? findTool('bash') : undefined;
  if (bash === undefined) {
    const path = findTool('dash') ?? tools.sh;
    return { shell: { path, keepsAll: unnameable.length === 0 }, env: toolEnv() };
  }
  const extra = unnameable.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]);
  return { shell: { path: bash, keepsAll: true }, env: { ...toolEnv(), ...Object.fromEntries(extra) } };
}
