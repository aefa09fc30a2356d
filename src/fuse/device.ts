// The descriptor of /dev/fuse. A process that serves a mount and is killed closes its descriptors in ascending order: a
// file of its own mount before the device is one whose FLUSH nobody answers, and the process never ends. So the device has
// to have the lower number, for which it is opened before everything that may leave gaps.
import { constants, openSync } from 'node:fs';

export const FUSE_DEVICE = '/dev/fuse';

let held: number | undefined;

/** For this process's next mount. What is wrong with the device is said then. */
export function holdDevice(): void {
  try {
    held ??= openSync(FUSE_DEVICE, constants.O_RDWR);
  } catch {
    // again, by takeDevice
  }
}

/** The one that is held, once, or a new one. @throws system errors */
export function takeDevice(): number {
  const fd = held ?? openSync(FUSE_DEVICE, constants.O_RDWR);
  held = undefined;
  return fd;
}
