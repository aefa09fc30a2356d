// The session's process: first process of a pid namespace, so that its end, whatever the reason, is the end of all that
// it has started; in a mount namespace of its own, so that its mounts go with it. run-session.ts starts it.
import { closeSync, readdirSync, readFileSync } from 'node:fs';
import { HotlayerError } from '../../errors.js';
import { holdDevice } from '../../fuse/device.js';
import { loadModule } from '../../fuse/load-module.js';
import { prepareThread } from '../../fuse/serving-thread.js';
import type { Link } from '../../rootfs/types.js';
import { type ParentMessage, type SessionMessage, type StartMessage, toPlain } from './messages.js';
import type { Workload } from './workload.js';

const O_CLOEXEC = 0o2000000;

/**
 * Whatever started our parent may have left descriptors open in it that are closed by no exec; the workload must not
 * find them. Node makes its own, and those that it is started with up to the first gap (ours), close on exec.
 */
function closeForeign(): void {
  for (const name of readdirSync('/proc/self/fd')) {
    const fd = Number(name);
    try {
      const flags = /^flags:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1];
      if (fd > 2 && flags !== undefined && (Number.parseInt(flags, 8) & O_CLOEXEC) === 0) closeSync(fd);
    } catch {
      // the descriptor of the listing itself
    }
  }
}

function send(message: SessionMessage): Promise<void> {
  return new Promise((resolve) => {
    if (process.connected) process.send!(message, undefined, undefined, () => resolve());
    else resolve();
  });
}

async function finish(message: SessionMessage): Promise<never> {
  await send(message);
  process.exit(0);
}

// What takes long first, and at the same time: the thread that will serve the file system, and what conducts a session.
const preload = process.argv[2];
closeForeign();
holdDevice();
prepareThread(preload);
const modules = Promise.all([
  import('./session.js'),
  import('./flow.js'),
  ...(preload === undefined ? [] : [loadModule(preload)]),
]);
modules.catch(() => {});
// Node hands this one on to whatever it starts, even with an environment of its own (child_process.js).
delete process.env.NODE_V8_COVERAGE;
// The parent has gone: nobody wants the result.
process.on('disconnect', () => process.exit(1));
process.on('uncaughtException', (error) => void finish({ type: 'error', error: toPlain(error) }));
process.on('unhandledRejection', (error) => void finish({ type: 'error', error: toPlain(error) }));
// Our parent's terminal is none of our business; whoever wants to end us uses the channel or SIGKILL.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
// The file system module's warnings are not the workload's output.
process.on('warning', () => {});

let workload: Workload | undefined;
let onFsMessage: ((message: unknown) => void) | undefined;
const fsMessages: unknown[] = [];
const link: Link = {
  send: (message) => void send({ type: 'fs', message }),
  listen(listener) {
    onFsMessage = listener;
    for (const message of fsMessages.splice(0)) listener(message);
  },
};

async function begin({ spec, dir }: StartMessage): Promise<void> {
  const [{ conduct }, { flushed, writeTo }] = await modules;
  try {
    const onStarted = (started: Workload) => {
      workload = started;
      void send({ type: 'started' });
    };
    const result = await conduct(spec, dir, (chunk, stream) => writeTo(process[stream], chunk), link, onStarted);
    await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
    await finish({ type: 'result', result });
  } catch (error) {
    await finish({ type: 'error', error: toPlain(error) });
  }
}

process.on('message', (message: ParentMessage) => {
  if (message.type === 'start') void begin(message);
  else if (message.type === 'signal') workload?.signal(message.signal);
  else if (message.type === 'resized') workload?.resized();
  else if (onFsMessage) onFsMessage(message.message);
  else fsMessages.push(message.message);
});
if (process.send) void send({ type: 'hello' });
else throw new HotlayerError('HL_ERR_BUG', 'session-main.js is started by runSession only');
