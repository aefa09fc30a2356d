// Settings of the engine for what is to be done in a few tenths of a second, most of it once: optimizing code that has
// just begun to run takes longer than running it. What goes on for long is optimized all the same, later.
import { setFlagsFromString } from 'node:v8';

/**
 * How much bytecode of a function is run before V8 11 (Node 20) looks at it; fifteen times its default. The first thousand
 * requests of a container, a tenth of a second, took half as much processor time with it. Later versions have no such flag,
 * say so on standard error, and optimize lightly first.
 */
const BUDGET = 2_000_000;

/**
 * For this process and its threads. To be called when what they need is loaded: Node's own modules come compiled, but only
 * for an engine with the flags that it was built with. With any other one, loading them takes three times as long, and
 * starting a thread twice.
 */
export function expectBriefWork(): void {
  if (process.versions.v8.startsWith('11.')) setFlagsFromString(`--interrupt-budget=${BUDGET}`);
}
