// The process of a session is started as the very first thing `hotlayer run` does, before the command line is looked at:
// it comes up while the image is found. cli/start.ts starts it, whoever runs the container takes it.
import { lazyFsModule } from '../../lazy/module-url.js';
import { type StartedSession, startSession } from './run-session.js';

let early: StartedSession | undefined;

/** What is wrong with this machine is said when the session is taken. */
export function startEarly(): void {
  try {
    early = startSession({ preload: lazyFsModule });
  } catch {
    // again, by takeSession
  }
}

/** The early one, once, where its settings fit; else a new one. @throws as startSession */
export function takeSession(
  options: { readonly fds?: readonly number[]; readonly tmpdir?: string } = {},
): StartedSession {
  const fits = (options.fds ?? []).length === 0 && options.tmpdir === undefined;
  const taken = fits ? early : undefined;
  if (taken) early = undefined;
  return taken ?? startSession({ ...options, preload: lazyFsModule });
}

/** Ends the early one if nobody took it. Idempotent. */
export async function dropEarly(): Promise<void> {
  const left = early;
  early = undefined;
  await left?.abandon();
}
