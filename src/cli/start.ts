// What bin/hotlayer.js loads. A container's process takes longest to come up, so it is started before anything else is
// loaded; all that is known then is the first word.
async function start(): Promise<void> {
  if (process.argv[2] === 'run' && !process.argv.some((word) => word === '--help' || word === '-h')) {
    const { startEarly } = await import('../container/session/early-session.js');
    startEarly();
  }
  await import('./main.js');
}

void start();

export {};
