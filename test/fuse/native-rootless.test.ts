// The behaviour suite on fuse-native, as an ordinary user in a user namespace.
import { test } from 'node:test';
import { nativeTransport } from '../../src/fuse/index.js';
import { enterNamespace } from '../support/namespace.js';
import { behaviourSuite } from './behaviour.js';
import { NATIVE_LACKS } from './native.js';

const reason = enterNamespace(import.meta.url, 'rootless');
if (reason !== undefined) test('fuse-native, rootless', { skip: reason }, () => {});
else behaviourSuite({ transport: nativeTransport, realRoot: false, lacks: NATIVE_LACKS });
