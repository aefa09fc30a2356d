// The behaviour suite on fuse-native, in a mount namespace with the rights of root where there are any.
import { test } from 'node:test';
import { nativeTransport } from '../../src/fuse/index.js';
import { enterNamespace, isRealRoot } from '../support/namespace.js';
import { behaviourSuite } from './behaviour.js';
import { NATIVE_LACKS } from './native.js';

const reason = enterNamespace(import.meta.url, 'mount');
if (reason !== undefined) test('fuse-native', { skip: reason }, () => {});
else behaviourSuite({ transport: nativeTransport, realRoot: isRealRoot(), lacks: NATIVE_LACKS });
