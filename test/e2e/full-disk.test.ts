// optimize on disks that are full: where the layers are uncompressed, where the image is written. A clear error, nothing
// half-written, and with more room the same command does it.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { MIB } from '../../src/units.js';
import { withDisk } from '../image/registry-server.js';
import { file, tarOf } from '../support/tar.js';
import { testDir } from '../support/temp.js';
import { notHere } from '../support/tools.js';
import { BIN } from './cli.js';
import { noise, sampleImage } from './sample.js';

function noDisk(): string | false {
  const [program, ...args] = withDisk('/tmp', MIB, ['true']);
  const { status, stderr } = spawnSync(program!, args, { encoding: 'utf8' });
  return status === 0 ? false : notHere([`a mount namespace (${stderr})`]);
}

/** 12 MiB, of which 6 do not compress. */
const LAYER = tarOf(file('noise', noise(6 * MIB)), file('text', Buffer.alloc(6 * MIB, 'hot and cold ')));

/** Runs the rest with a tmpfs on $0, then lists what is left there, hidden files too. */
const THEN_LIST = '"$@"; status=$?; echo "left:$(ls -A "$0")"; exit $status';

describe('a disk that is full', { skip: noDisk() }, () => {
  const cases: [name: string, flags: (disk: string) => string[], bytes: number, enough: number, says: RegExp][] = [
    [
      'too small for the compressed layers: said before anything is read',
      (disk) => ['oci:image', 'oci:out', '--tmpdir', disk],
      4 * MIB,
      32 * MIB,
      /uncompressed layers need at least 6\.\d+ MiB in .*; there are .* free[\s\S]*--tmpdir/,
    ],
    [
      'too small for the uncompressed layers',
      (disk) => ['oci:image', 'oci:out', '--tmpdir', disk],
      8 * MIB,
      32 * MIB,
      /cannot write the spool file.*ENOSPC[\s\S]*--tmpdir/,
    ],
    [
      'much too small for the image: said before it is written',
      (disk) => ['oci:image', `oci-archive:${disk}/out.tar`],
      MIB,
      32 * MIB,
      /new layers need at least 2\.\d+ MiB in .*; there are .* free[\s\S]*write the image elsewhere/,
    ],
    [
      'too small for the image, a new layout',
      (disk) => ['oci:image', `oci:${disk}/out`],
      4 * MIB,
      32 * MIB,
      /cannot write .*ENOSPC[\s\S]*free some space/,
    ],
    [
      'too small for the image, an archive',
      (disk) => ['oci:image', `oci-archive:${disk}/out.tar`],
      4 * MIB,
      32 * MIB,
      /cannot write .*ENOSPC[\s\S]*free some space/,
    ],
  ];
  for (const [name, flags, bytes, enough, says] of cases) {
    test(name, (t) => {
      const cwd = testDir(t);
      sampleImage(join(cwd, 'image'), { layers: [LAYER] });
      const disk = join(cwd, 'disk');
      const run = (size: number) => {
        const command = [process.execPath, BIN, 'optimize', ...flags(disk), '--no-profile', '--no-progress'];
        const [program, ...args] = withDisk(disk, size, ['sh', '-c', THEN_LIST, disk, ...command]);
        return spawnSync(program!, args, { cwd, encoding: 'utf8' });
      };
      const full = run(bytes);
      assert.equal(full.status, 4, full.stderr);
      assert.match(full.stderr, says);
      assert.match(full.stdout, /^left:$/m);
      const wide = run(enough);
      assert.equal(wide.status, 0, wide.stderr);
      assert.match(wide.stdout, /^left:(?:out(?:\.tar)?)?$/m);
    });
  }
});
