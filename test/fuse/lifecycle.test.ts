// How mounts begin and end: refusals, busy mounts, copies in other namespaces, every way the server can die.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, readlinkSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { HotlayerError } from '../../src/errors.js';
import { type FuseTransport, nativeTransport, probeFuse, rawTransport } from '../../src/fuse/index.js';
import { deviceMend, explainMount } from '../../src/fuse/mount-command.js';
import { type MemoryFsArgs, memoryFsModule } from '../support/memory-fs.js';
import { command, errnoFrom, mountLines, withMount } from '../support/mount.js';
import { enterNamespace, isRealRoot } from '../support/namespace.js';

const SLOW: MemoryFsArgs = {
  nodes: [{ path: 'f', type: 'reg', content: { size: 40 * 2 ** 20, seed: 1 } }],
  readDelayMs: 300,
};

function ended(child: ChildProcess): Promise<{ status: number | null; signal: string | null; stderr: string }> {
  let stderr = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  return new Promise((resolve) => child.on('close', (status, signal) => resolve({ status, signal, stderr })));
}

/** For what comes by itself: only a machine that is stuck takes so long. */
const PATIENCE_MS = 60_000;

function within<T>(what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing after ${PATIENCE_MS} ms`)), PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** A process that reads; it has the file open when this resolves. */
async function reader(path: string): Promise<{ readonly done: ReturnType<typeof ended> }> {
  const child = spawn('dd', [`if=${path}/f`, 'of=/dev/null', 'bs=64k'], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, LC_ALL: 'C' },
  });
  const done = ended(child);
  for (let tries = 0; !opened(child.pid!, `${path}/f`); tries++) {
    assert.ok(tries < PATIENCE_MS / 20 && child.exitCode === null, 'the reader does not read');
    await pause(20);
  }
  return { done };
}

function opened(pid: number, file: string): boolean {
  const fds = `/proc/${pid}/fd`;
  return readdirSync(fds).some((fd) => {
    try {
      return readlinkSync(join(fds, fd)) === file;
    } catch {
      return false; // closed meanwhile
    }
  });
}

/** Runs `body` with a server process of its own. */
async function withServer(
  how: string,
  args: MemoryFsArgs,
  body: (server: ChildProcess, path: string, end: ReturnType<typeof ended>) => Promise<void>,
): Promise<void> {
  const path = mkdtempSync(join(tmpdir(), 'hotlayer-serve-'));
  const script = fileURLToPath(new URL('../support/serve-child.js', import.meta.url));
  const server = spawn(process.execPath, [script, path, how, JSON.stringify(args)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const end = ended(server);
  try {
    await within('mount', new Promise((resolve) => server.stdout!.once('data', resolve)));
    await body(server, path, end);
  } finally {
    server.kill('SIGKILL');
    await end;
    if (mountLines(path).length > 0) command('umount', ['-i', '-l', path]);
    rmdirSync(path);
  }
}

/** What every transport does alike. */
function commonTests(transport: FuseTransport): void {
  test(`${transport.name}: a busy mount can be ended: the reader gets an error, not a hang`, () =>
    withMount(transport, SLOW, async ({ path, end }) => {
      const { done } = await reader(path);
      const result = await within('unmount', end());
      const { status, stderr } = await within('reader', done);
      assert.equal(status, 1, stderr);
      assert.match(stderr, /aborted|not connected|Input\/output error/);
      assert.ok(result.log.some((entry) => entry.op === 'open'));
      assert.deepEqual(mountLines(path), []);
    }));

  test(`${transport.name}: an open file does not keep the mount`, () =>
    withMount(transport, { nodes: [{ path: 'f', type: 'reg', content: { text: 'x' } }] }, async ({ path, end }) => {
      const fd = openSync(join(path, 'f'), 'r');
      try {
        await within('unmount', end());
        assert.deepEqual(mountLines(path), []);
      } finally {
        closeSync(fd);
      }
    }));

  test(`${transport.name}: a copy of the mount in another namespace does not keep the server`, () =>
    withMount(transport, { nodes: [{ path: 'f', type: 'reg', content: { text: 'x' } }] }, async ({ path, end }) => {
      const holder = spawn('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', 'echo in; cat'], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      const done = ended(holder);
      try {
        await new Promise((resolve) => holder.stdout!.once('data', resolve));
        assert.equal(mountLines(path, `/proc/${holder.pid}/mountinfo`).length, 1);
        await within('unmount', end());
      } finally {
        holder.stdin!.end();
        await done;
      }
    }));

  test(`${transport.name}: something else unmounts it: closed resolves, unmount is content`, () =>
    withMount(transport, { nodes: [] }, async ({ path, mounted }) => {
      assert.equal(command('umount', ['-i', path]).status, 0);
      await within('closed', mounted.closed);
      await within('unmount', mounted.unmount());
    }));

  test(`${transport.name}: errors of the file system module reach the caller with their code, and nothing stays mounted`, async () => {
    const path = mkdtempSync(join(tmpdir(), 'hotlayer-fuse-'));
    const module = (code: string) => `data:text/javascript,${encodeURIComponent(code)}`;
    const mount = (url: string, args: unknown = 1) => transport.mount({ mountpoint: path, module: url, args });
    const errors = new URL('../../src/errors.js', import.meta.url).href;
    try {
      await assert.rejects(
        mount(
          `${module(`import { HotlayerError } from '${errors}';
          export function createFs() { throw new HotlayerError('HL_ERR_DIGEST', 'layer 2 is damaged', { hint: 'pull it again' }); }`)}`,
        ),
        (error) => error instanceof HotlayerError && error.code === 'HL_ERR_DIGEST' && error.hint === 'pull it again',
      );
      await assert.rejects(mount(module('export const x = 1;')), /does not export createFs/);
      await assert.rejects(mount('file:///nonexistent/module.js'), /Cannot find module/);
      await assert.rejects(mount(memoryFsModule, { nodes: [() => 1] }), /could not be cloned/);
      await assert.rejects(
        mount(memoryFsModule, { nodes: [{ path: 'l', type: 'reg', hardlinkTo: 'nope' }] }),
        /no nope/,
      );
      assert.deepEqual(mountLines(path), []);
    } finally {
      rmdirSync(path);
    }
    await assert.rejects(mount(memoryFsModule), { code: 'HL_ERR_NOT_FOUND' });
  });

  test(`${transport.name}: closeFs decides what closed gives; without it the file system is closed`, async () => {
    const path = mkdtempSync(join(tmpdir(), 'hotlayer-fuse-'));
    const memory = `import { createFs as make } from '${memoryFsModule}';`;
    const mount = async (code: string) => {
      const module = `data:text/javascript,${encodeURIComponent(memory + code)}`;
      const mounted = await transport.mount({ mountpoint: path, module, args: { nodes: [] } });
      await mounted.unmount();
      return mounted.closed;
    };
    try {
      assert.equal(await mount('export const createFs = make; export async function closeFs(fs) { return 42; }'), 42);
      const closing = `export function createFs(a) { const fs = make(a); fs.close = () => { throw new Error('closed was called'); }; return fs; }`;
      await assert.rejects(mount(closing), /closed was called/);
    } finally {
      rmdirSync(path);
    }
  });

  test(`${transport.name}: several mounts of one process do not disturb each other`, () =>
    withMount(transport, { nodes: [{ path: 'f', type: 'reg', content: { text: 'one' } }] }, async (one) => {
      await withMount(transport, { nodes: [{ path: 'f', type: 'reg', content: { text: 'two' } }] }, (two) => {
        assert.equal(readFileSync(join(one.path, 'f'), 'utf8') + readFileSync(join(two.path, 'f'), 'utf8'), 'onetwo');
      });
      assert.equal(command('cat', [join(one.path, 'f')]).stdout, 'one');
      assert.equal((await one.end()).log.filter((entry) => entry.op === 'read').length, 1, 'the page cache is shared');
    }));

  test(`${transport.name}: without onFault the first defect is a process warning`, async () => {
    const warned = new Promise<Error>((resolve) => process.once('warning', resolve));
    await withMount(
      transport,
      { nodes: [{ path: 'bad', type: 'reg', broken: 'throws', content: { text: 'x' } }] },
      ({ path }) => {
        assert.equal(
          errnoFrom(() => readFileSync(join(path, 'bad'))),
          'EIO',
        );
      },
    );
    const warning = (await within('warning', warned)) as Error & { code?: string };
    assert.equal(warning.code, 'HL_WARN_FS_FAULT');
    assert.match(warning.message, /READ failed .* told to break/);
  });
}

function tests(): void {
  test('kill -9 of the server: readers in flight and later ones get errors, unmounting works', () =>
    withServer('stay', SLOW, async (server, path, end) => {
      const { done } = await reader(path);
      server.kill('SIGKILL');
      await within('server', end);
      const { status, stderr } = await within('reader', done);
      assert.equal(status, 1, stderr);
      assert.match(stderr, /aborted|not connected|Input\/output error/);
      assert.equal(
        errnoFrom(() => readFileSync(join(path, 'f'))),
        'ENOTCONN',
      );
      assert.equal(command('umount', ['-i', path]).status, 0);
    }));

  test('SIGTERM, process.exit() and an uncaught error end the server promptly', async () => {
    await withServer('stay', { nodes: [] }, async (server, _path, end) => {
      server.kill('SIGTERM');
      assert.equal((await within('SIGTERM', end)).signal, 'SIGTERM');
    });
    await withServer('exit', { nodes: [] }, async (_server, path, end) => {
      assert.equal((await within('exit', end)).status, 7);
      assert.deepEqual(mountLines(path), []);
    });
    await withServer('throw', { nodes: [] }, async (_server, path, end) => {
      assert.equal((await within('throw', end)).status, 1);
      assert.deepEqual(mountLines(path), []);
    });
  });

  test('a killed server leaves no mount behind: its namespace is gone with it', async () => {
    const path = mkdtempSync(join(tmpdir(), 'hotlayer-serve-'));
    const script = fileURLToPath(new URL('../support/serve-child.js', import.meta.url));
    const argv = ['--mount', '--propagation', 'private', process.execPath, script, path, 'stay', '{"nodes":[]}'];
    const server = spawn('unshare', argv, { stdio: ['ignore', 'pipe', 'inherit'] });
    const end = ended(server);
    try {
      await new Promise((resolve) => server.stdout!.once('data', resolve));
      assert.equal(mountLines(path, `/proc/${server.pid}/mountinfo`).length, 1);
      assert.deepEqual(mountLines(path), [], 'nobody else ever sees it');
    } finally {
      server.kill('SIGKILL');
      await end;
      rmdirSync(path);
    }
  });

  test('a serving thread that dies takes its mount with it, and says so', async () => {
    const path = mkdtempSync(join(tmpdir(), 'hotlayer-fuse-'));
    const code = `import { createFs as make } from '${memoryFsModule}';
      export function createFs(a) { const fs = make(a); fs.lookup = () => process.exit(3); return fs; }`;
    const module = `data:text/javascript,${encodeURIComponent(code)}`;
    try {
      const mounted = await rawTransport.mount({ mountpoint: path, module, args: { nodes: [] } });
      const { status, stderr } = await within(
        'stat',
        ended(spawn('stat', [`${path}/x`], { stdio: ['ignore', 'ignore', 'pipe'] })),
      );
      assert.equal(status, 1, stderr);
      await assert.rejects(within('closed', mounted.closed), { code: 'HL_ERR_BUG', message: /status 3/ });
      await within('unmount', mounted.unmount());
      assert.deepEqual(mountLines(path), []);
    } finally {
      rmdirSync(path);
    }
  });

  test('without rights to mount or to open /dev/fuse: HL_ERR_MACHINE and what to do', { skip: !isRealRoot() }, () => {
    const path = mkdtempSync(join(tmpdir(), 'hotlayer-fuse-'));
    const index = new URL('../../src/fuse/index.js', import.meta.url).href;
    const code = `import { rawTransport, probeFuse } from '${index}';
      const e = await rawTransport.mount({ mountpoint: '${path}', module: '${memoryFsModule}', args: { nodes: [] } }).catch((e) => e);
      console.log(JSON.stringify({ code: e.code, exit: e.exitCode, message: e.message, hint: e.hint }));`;
    const asNobody = (prepare: string) => {
      const drop = 'exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all -- "$@"';
      const script = `set -e; mount -t tmpfs -o mode=755 t /mnt; ${prepare}; mount --bind /mnt/fuse /dev/fuse; ${drop}`;
      const inner = [process.execPath, '--input-type=module', '-e', code];
      const { stdout, stderr } = command('unshare', [
        '-m',
        '--propagation',
        'private',
        'sh',
        '-c',
        script,
        'sh',
        ...inner,
      ]);
      return JSON.parse(stdout || `"${stderr}"`) as { code: string; exit: number; message: string; hint: string };
    };
    try {
      const closed = asNobody('mknod -m 600 /mnt/fuse c 10 229');
      assert.deepEqual([closed.code, closed.exit], ['HL_ERR_MACHINE', 4]);
      assert.match(closed.message, /cannot open \/dev\/fuse: EACCES/);
      assert.match(closed.hint, /chmod 666 \/dev\/fuse/);
      const open = asNobody('mknod -m 666 /mnt/fuse c 10 229');
      assert.deepEqual([open.code, open.exit], ['HL_ERR_MACHINE', 4]);
      assert.match(open.message, /cannot mount a file system on/);
      assert.match(open.hint, /unshare -Urm/);
      const wrong = asNobody('mknod -m 666 /mnt/fuse c 10 999');
      assert.match(wrong.message, /cannot open/);
      assert.match(wrong.hint, /modprobe fuse/);
    } finally {
      rmdirSync(path);
    }
  });

  test('probeFuse says which namespaces a mount needs', () => {
    const { ok, namespace, detail } = probeFuse();
    assert.equal(ok, true, detail);
    assert.equal(namespace, process.getuid!() === 0 ? 'mount' : 'user');
  });
}

const reason = enterNamespace(import.meta.url, 'mount');
if (reason !== undefined) test('mounts begin and end', { skip: reason }, () => {});
else {
  for (const transport of [rawTransport, nativeTransport]) commonTests(transport);
  tests();
}

test('each refusal has its mend', () => {
  const noMount = Object.assign(new Error('spawn mount ENOENT'), { code: 'ENOENT' });
  assert.match(explainMount({ status: null, stderr: '', error: noMount }).hint, /apt-get install mount/);
  assert.match(
    explainMount({ status: 32, stderr: "mount: /x: unknown filesystem type 'fuse'." }).hint,
    /modprobe fuse/,
  );
  assert.match(explainMount({ status: 1, stderr: 'mount: /x: must be superuser to use mount.' }).hint, /unshare -m/);
  assert.match(explainMount({ status: 32, stderr: 'mount: /x: special device is strange.' }).why, /strange/);
  assert.match(deviceMend('ENOENT'), /--device \/dev\/fuse/);
  assert.match(deviceMend('EPERM'), /--device \/dev\/fuse/);
});
