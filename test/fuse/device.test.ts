// A held device keeps its place among the descriptors: whoever is killed closes it before the files of its own mount.
import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { test } from 'node:test';
import { holdDevice, takeDevice } from '../../src/fuse/device.js';
import { noFuse } from '../e2e/cli.js';

test('the device that is held is before everything opened after it, and is given once', { skip: noFuse() }, () => {
  holdDevice();
  const file = openSync('/dev/null', 'r');
  const [first, second] = [takeDevice(), takeDevice()];
  for (const fd of [file, first, second]) closeSync(fd);
  assert.ok(first < file && file < second, `${first}, ${file}, ${second}`);
});
