// The behaviour suite on the raw transport, in a mount namespace with the rights of root where there are any.
import { test } from 'node:test';
import { rawTransport } from '../../src/fuse/index.js';
import { enterNamespace, isRealRoot } from '../support/namespace.js';
import { behaviourSuite } from './behaviour.js';

const reason = enterNamespace(import.meta.url, 'mount');
if (reason !== undefined) test('raw transport', { skip: reason }, () => {});
else behaviourSuite({ transport: rawTransport, realRoot: isRealRoot() });
