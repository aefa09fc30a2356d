// Tests against tools that a machine may lack: skipped with the reason, or failed when HOTLAYER_REQUIRE_E2E=1.
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/**
 * For `test(name, { skip: lacking('skopeo') }, …)`: false when all are in PATH, else the reason to skip.
 * @throws when something is missing and HOTLAYER_REQUIRE_E2E=1 says that nothing may be skipped
 */
export function lacking(...tools: string[]): string | false {
  const missing = tools.filter(
    (tool) => !(process.env.PATH ?? '').split(delimiter).some((dir) => runs(join(dir, tool))),
  );
  return notHere(missing);
}

/** As `lacking`, for things that were looked for elsewhere: false when the list is empty. */
export function notHere(missing: readonly string[]): string | false {
  if (missing.length === 0) return false;
  const reason = `missing here: ${missing.join(', ')}`;
  if (process.env.HOTLAYER_REQUIRE_E2E === '1') throw new Error(`HOTLAYER_REQUIRE_E2E=1, but ${reason}`);
  return reason;
}

function runs(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
