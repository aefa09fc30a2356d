import { HotlayerError } from '../errors.js';

/** @throws HL_ERR_INTERRUPTED, or the HotlayerError that the signal was aborted with */
export function checkInterrupted(signal: AbortSignal | undefined, doing: string): void {
  if (!signal?.aborted) return;
  if (signal.reason instanceof HotlayerError) throw signal.reason;
  throw new HotlayerError('HL_ERR_INTERRUPTED', `interrupted while ${doing}`, { cause: signal.reason });
}
