// Settings of the engine for what is to be done in a few tenths of a second, most of it once: optimizing code that has
// just begun to run takes longer than running it. What goes on for long is optimized all the same, later.
import { setFlagsFromString } from 'node:v8';

/** Ten times the default: how much code of a function is run before it is looked at (V8, --interrupt-budget). */
const BUDGET = 700_000;

/** For this process and its threads, before they load anything. */
export function expectBriefWork(): void {
  setFlagsFromString(`--interrupt-budget=${BUDGET}`);
}
