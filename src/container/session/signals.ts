// Signals by the names that image configs use (`SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`), and what a process does with them.
import { constants } from 'node:os';
import { HotlayerError } from '../../errors.js';

/** First real-time signal as programs see it: the kernel's is 32, glibc and musl keep 32 and 33 (musl also 34) back. */
const SIGRTMIN = 34;
const SIGRTMAX = 64;

/** @returns the signal's number, 1 … 64 @throws HL_ERR_USAGE */
export function parseSignal(text: string): number {
  const name = text.trim().toUpperCase();
  const number = /^\d+$/.test(name) ? Number(name) : numberOf(name.startsWith('SIG') ? name : `SIG${name}`);
  if (number === undefined || number < 1 || number > SIGRTMAX) {
    throw new HotlayerError('HL_ERR_USAGE', `"${text}" is not a signal`, {
      hint: 'write it like SIGTERM, QUIT, 15 or SIGRTMIN+3',
    });
  }
  return number;
}

function numberOf(name: string): number | undefined {
  const known = (constants.signals as Record<string, number>)[name];
  if (known !== undefined) return known;
  const realTime = /^SIGRT(MIN(?:\+(\d+))?|MAX(?:-(\d+))?)$/.exec(name);
  if (!realTime) return undefined;
  const number = realTime[1]!.startsWith('MIN')
    ? SIGRTMIN + Number(realTime[2] ?? 0)
    : SIGRTMAX - Number(realTime[3] ?? 0);
  return number >= SIGRTMIN && number <= SIGRTMAX ? number : undefined;
}

/**
 * What process 1 of a pid namespace makes of a signal: the kernel drops what it has no handler for (`never`), and keeps
 * what it has blocked, be it for a signalfd or only for a moment. Waiting for who never notices wastes the grace time.
 * @param status text of /proc/PID/status (masks are hexadecimal, bit n-1 = signal n; proc_pid_status(5))
 */
export function firstProcessNotices(status: string, signal: number): 'caught' | 'blocked' | 'never' {
  return hasSignal(status, 'SigCgt', signal) ? 'caught' : hasSignal(status, 'SigBlk', signal) ? 'blocked' : 'never';
}

/** Whether it wants to be left alone by the signal, as under nohup(1). @param status as above */
export function ignoresSignal(status: string, signal: number): boolean {
  return hasSignal(status, 'SigIgn', signal);
}

function hasSignal(status: string, field: string, signal: number): boolean {
  const mask = new RegExp(`^${field}:\\s*([0-9a-f]+)$`, 'm').exec(status)?.[1] ?? '0';
  return (BigInt(`0x${mask}`) & (1n << BigInt(signal - 1))) !== 0n;
}
