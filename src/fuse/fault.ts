// How the first fault of a mount is told.
import type { FsFault, MountOptions } from './types.js';

/** @param onFault absent: a process warning */
export function tellFault(fault: FsFault, mountpoint: string, onFault: MountOptions['onFault']): void {
  if (onFault) {
    onFault(fault);
    return;
  }
  process.emitWarning(`${fault.operation} failed in the file system on ${mountpoint}: ${fault.message}`, {
    code: 'HL_WARN_FS_FAULT',
    ...(fault.stack !== undefined && { detail: fault.stack }),
  });
}
