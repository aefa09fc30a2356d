// The user's terminal while a container has it: in raw mode, set by whoever passes on what is typed (script(1), runc),
// and as it was afterwards, however this process ends.
import { spawn, spawnSync } from 'node:child_process';
import { isatty } from 'node:tty';
import { HotlayerError } from '../../errors.js';
import { toolEnv } from '../machine/shell.js';

/** Waits for the end of the process that started it, then puts the terminal's settings back. */
const GUARD = `trap '' INT TERM HUP QUIT; read -r _; stty "$1" <&3`;

export interface HeldTerminal {
  /** Descriptor of this process. */
  readonly fd: number;
  /** Puts its settings back. Idempotent. */
  release(): void;
}

/** @throws HL_ERR_USAGE when standard input is none, HL_ERR_MACHINE without stty(1) */
export function holdTerminal(): HeldTerminal {
  const fd = 0;
  if (!isatty(fd)) {
    throw new HotlayerError('HL_ERR_USAGE', '-t: standard input is not a terminal', {
      hint: 'leave -t out; -i alone passes on what comes in',
    });
  }
  const asked = spawnSync('stty', ['-g'], { stdio: [fd, 'pipe', 'ignore'], encoding: 'utf8', env: toolEnv() });
  const settings = asked.stdout?.trim();
  if (asked.status !== 0 || !settings) {
    throw new HotlayerError('HL_ERR_MACHINE', '-t: stty cannot read the settings of the terminal', {
      hint: 'install coreutils',
    });
  }
  // In a session of its own: the terminal asks nothing of a process that does not belong to it.
  const guard = spawn('/bin/sh', ['-c', GUARD, 'sh', settings], {
    cwd: '/',
    detached: true,
    env: toolEnv(),
    stdio: ['pipe', 'ignore', 'ignore', fd],
  });
  guard.on('error', () => {});
  guard.stdin!.on('error', () => {});
  guard.unref();
  (guard.stdin as unknown as { unref?(): void }).unref?.();
  let held = true;
  const release = () => {
    if (!held) return;
    held = false;
    process.removeListener('exit', release);
    spawnSync('stty', [settings], { stdio: [fd, 'ignore', 'ignore'], env: toolEnv() });
    guard.kill('SIGKILL');
  };
  process.once('exit', release);
  return { fd, release };
}

/** In characters. @returns undefined where stty(1) cannot tell */
export function sizeOf(fd: number): Promise<{ height: number; width: number } | undefined> {
  const child = spawn('stty', ['size'], { stdio: [fd, 'pipe', 'ignore'], env: toolEnv() });
  let said = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  return new Promise((resolve) => {
    child.on('error', () => resolve(undefined));
    child.on('close', () => {
      const [height = 0, width = 0] = said.split(' ').map(Number);
      resolve(height > 0 && width > 0 ? { height, width } : undefined);
    });
  });
}

/** Gives one terminal, a file, the size of another: whoever is on it gets SIGWINCH. */
export async function copySize(from: number, to: string): Promise<void> {
  const size = await sizeOf(from);
  if (!size) return;
  const args = ['-F', to, 'rows', String(size.height), 'cols', String(size.width)];
  spawn('stty', args, { stdio: 'ignore', env: toolEnv() }).on('error', () => {});
}
