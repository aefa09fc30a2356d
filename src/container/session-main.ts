// The session's process: first process of a pid namespace, so that its end, whatever the reason, is the end of all that
// it has started; in a mount namespace of its own, so that its mounts go with it. run-session.ts starts it.
import { HotlayerError } from '../errors.js';
import { type SessionMessage, type StartMessage, toPlain } from './messages.js';
import { conduct } from './session.js';

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

// The parent has gone: nobody wants the result.
process.on('disconnect', () => process.exit(1));
process.on('uncaughtException', (error) => void finish({ type: 'error', error: toPlain(error) }));
process.on('unhandledRejection', (error) => void finish({ type: 'error', error: toPlain(error) }));
// Our parent's terminal is none of our business; whoever wants to end us uses the channel or SIGKILL.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
// The file system module's warnings are not the workload's output.
process.on('warning', () => {});

process.once('message', async ({ spec, dir }: StartMessage) => {
  try {
    const result = await conduct(spec, dir, (chunk, stream) => {
      process[stream].write(chunk);
    });
    await finish({ type: 'result', result });
  } catch (error) {
    await finish({ type: 'error', error: toPlain(error) });
  }
});
if (process.send) await send({ type: 'hello' });
else throw new HotlayerError('HL_ERR_BUG', 'session-main.js is started by runSession only');
