// What the behaviour suite need not ask of fuse-native.
import type { BehaviourOptions } from './behaviour.js';

export const NATIVE_LACKS: NonNullable<BehaviourOptions['lacks']> = {
  fineTimes: 'the addon takes times as unsigned milliseconds',
  pid: 'the addon does not hand on who asks',
  readdirplus: 'libfuse 2 does not know it',
  forget: 'libfuse asks by path, and keeps node numbers and references to itself',
};
