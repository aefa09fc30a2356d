// `node http-probe-main.js URL`: the probe as a process of its own, for a network namespace of its own (nsenter).
// Says "up" when it has started, waits for one line on stdin, then says "ready" once the URL answers.
import { waitForHttp } from './http-probe.js';

process.stdout.write('up\n');
process.stdin.once('data', async () => {
  process.stdin.destroy();
  if (await waitForHttp(process.argv[2]!, new AbortController().signal)) process.stdout.write('ready\n');
});
