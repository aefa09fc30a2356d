import { rmdirSync } from 'node:fs';
import { makeCgroup } from '../../src/container/isolation/cgroup.js';
import { HotlayerError } from '../../src/errors.js';
import { notHere } from '../support/tools.js';

/** For `{ skip: lackingCgroup() }`. @throws when none can be had and HOTLAYER_REQUIRE_E2E=1 */
export function lackingCgroup(): string | false {
  try {
    for (const path of makeCgroup({ memory: 64 << 20, cpus: 1 })!.directories) rmdirSync(path);
    return false;
  } catch (error) {
    if (!(error instanceof HotlayerError)) throw error;
    return notHere([`a cgroup with limits (${error.message})`]);
  }
}
