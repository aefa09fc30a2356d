// V8 lets garbage grow until there is about as much of it as of what lives, and counts memory outside of its heap late. At
// the few moments in which very much has just become garbage, it is told so.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

let collect: (() => void) | undefined;

/** Takes some tenths of a second where there are millions of objects. */
export function collectGarbage(): void {
  if (!collect) {
    setFlagsFromString('--expose-gc');
    // Contexts made from now on have it.
    collect = runInNewContext('gc') as () => void;
  }
  collect();
}
