import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DEFAULT_PATH, makeProcessSpec, mergeEnv, parseEnvFile } from '../../src/container/process/process-spec.js';
import { HotlayerError } from '../../src/errors.js';

const IMAGE = {
  Entrypoint: ['/entry', '--flag'],
  Cmd: ['serve', ''],
  Env: ['PATH=/opt/bin:/bin', 'A=image', 'EMPTY=', 'BARE'],
  WorkingDir: '/srv/app',
  User: 'node',
};

const usage = (text: RegExp) => (e: unknown) =>
  e instanceof HotlayerError && e.code === 'HL_ERR_USAGE' && text.test(e.message);

describe('image config and flags to a process', () => {
  test('the image as it is', () => {
    assert.deepEqual(makeProcessSpec(IMAGE, { hostname: 'box' }, { BARE: 'secret of the caller' }), {
      args: ['/entry', '--flag', 'serve', ''],
      env: ['PATH=/opt/bin:/bin', 'HOSTNAME=box', 'A=image', 'EMPTY='],
      cwd: '/srv/app',
      user: 'node',
    });
  });

  for (const [what, overrides, args] of [
    ['arguments replace cmd', { args: ['x', 'y'] }, ['/entry', '--flag', 'x', 'y']],
    ['an entrypoint drops cmd', { entrypoint: ['sh'] }, ['sh']],
    ['an entrypoint and arguments', { entrypoint: ['sh', '-c'], args: ['id'] }, ['sh', '-c', 'id']],
    ['an empty entrypoint and arguments', { entrypoint: [''], args: ['id'] }, ['id']],
    ['no arguments leave cmd', { args: [] }, ['/entry', '--flag', 'serve', '']],
  ] as const) {
    test(what, () => assert.deepEqual(makeProcessSpec(IMAGE, overrides).args, args));
  }

  test('nothing to run is an error, not an empty command', () => {
    for (const config of [undefined, {}, { Entrypoint: null, Cmd: null }, { Entrypoint: [], Cmd: [] }, { Cmd: [''] }]) {
      assert.throws(() => makeProcessSpec(config), usage(/has no command/));
    }
    assert.throws(() => makeProcessSpec(IMAGE, { entrypoint: [''] }), usage(/has no command/));
  });

  test('an image that says nothing else', () => {
    assert.deepEqual(makeProcessSpec({ Cmd: ['sh'] }), {
      args: ['sh'],
      env: [`PATH=${DEFAULT_PATH}`],
      cwd: '/',
      user: '',
    });
  });

  test('flags win over the file, the file over the image; a bare name is taken from the caller or removes', () => {
    const spec = makeProcessSpec(
      IMAGE,
      { envFile: ['A=file', 'B=file'], env: ['B=flag', 'HOME', 'EMPTY', 'C=a=b'], user: '5:6', workdir: '/x/../y' },
      { HOME: '/home/me' },
    );
    assert.deepEqual(spec.env, ['PATH=/opt/bin:/bin', 'A=file', 'B=flag', 'HOME=/home/me', 'C=a=b']);
    assert.equal(spec.user, '5:6');
    assert.equal(spec.cwd, '/y');
  });

  test('working directories', () => {
    assert.equal(makeProcessSpec({ Cmd: ['a'], WorkingDir: 'app/../srv' }).cwd, '/srv');
    assert.throws(() => makeProcessSpec(IMAGE, { workdir: 'app' }), usage(/"app" is not absolute/));
  });

  test('what execve(2) cannot take is refused', () => {
    assert.throws(() => makeProcessSpec({ Cmd: ['a\0b'] }), usage(/NUL/));
    assert.throws(() => mergeEnv([['=x']]), usage(/no name/));
    assert.throws(() => mergeEnv([['A=\0']]), usage(/NUL/));
  });

  test('env files', () => {
    const text = '\ufeff# comment\n\n  A=1\nB= spaced \nC="quoted"\r\nHOME\nD=#not a comment\n';
    assert.deepEqual(parseEnvFile(text, 'x.env'), ['A=1', 'B= spaced ', 'C="quoted"', 'HOME', 'D=#not a comment']);
    assert.throws(() => parseEnvFile('A=1\nB C=2\n', 'x.env'), usage(/^x\.env:2: "B C" is not a variable name/));
    assert.throws(() => parseEnvFile('=2', 'x.env'), usage(/^x\.env:1:/));
    assert.throws(() => parseEnvFile('A =2', 'x.env'), usage(/^x\.env:1:/));
  });
});
