// What is used of fuse-native 2.2.6, which has no types of its own. `signal` takes an errno as a negative number, or a
// result, and what else the operation gives; it may be called at any later time, once.
declare module 'fuse-native' {
  export type Signal = (result: number, ...more: unknown[]) => void;
  export type Operation = (signal: Signal, ...args: never[]) => void;

  export default class Fuse {
    /** @param operations only which of them are there counts where `_op_NAME` is overridden */
    constructor(mountpoint: string, operations: Readonly<Record<string, unknown>>, options: { timeout: false });
    /** Calls back when the kernel has sent INIT. */
    mount(callback: (error: Error | null) => void): void;
    /** `-o` and its value. */
    _fuseOptions(): string;
  }
}
