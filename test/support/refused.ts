// Expecting a HotlayerError: its code, and what its message must name.
import assert from 'node:assert/strict';
import { type ErrorCode, HotlayerError } from '../../src/errors.js';

/** For assert.throws and assert.rejects. */
export function refused(code: ErrorCode, ...mentions: (string | RegExp)[]): (error: unknown) => true {
  return (error) => {
    assert.ok(error instanceof HotlayerError, `expected a HotlayerError, got ${(error as Error)?.stack ?? error}`);
    assert.equal(error.code, code, error.message);
    for (const mention of mentions) {
      const text = `${error.message} | ${error.hint ?? ''}`;
      assert.ok(
        typeof mention === 'string' ? text.includes(mention) : mention.test(text),
        `"${text}" should mention ${mention}`,
      );
    }
    return true;
  };
}
