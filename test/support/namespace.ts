// Runs a test file inside a private mount namespace: the file starts itself again through unshare(1), and the copy's
// results flow into the same report. What it mounts is gone when it ends, however it ends.
import { type SpawnSyncOptions, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { probeFuse, UNSHARE } from '../../src/fuse/index.js';
import { lacking, notHere } from './tools.js';

/** `mount`: the rights of this user (root where possible). `rootless`: an ordinary user in a user namespace. */
export type NamespaceKind = 'mount' | 'rootless';

const INSIDE = 'HOTLAYER_TEST_NAMESPACE';

/** uid and gid of the ordinary user when root runs the tests. */
const NOBODY = '65534';

/**
 * A private /dev/fuse that everybody may open, then the command in "$@" as nobody. The node has to lie on a file
 * system that allows devices; the tmpfs and the bind mount exist in this namespace only.
 */
const AS_NOBODY = `set -e
mount -t tmpfs -o mode=755 hotlayer-test /mnt
mknod -m 666 /mnt/fuse c 10 229
mount --bind /mnt/fuse /dev/fuse
exec setpriv --reuid ${NOBODY} --regid ${NOBODY} --clear-groups --inh-caps=-all -- "$@"`;

/** First uid and gid of the machine that WITH_RANGES gives. */
export const SUB_ID = 200_000;

/** The same, and /etc/subuid and /etc/subgid give nobody two ranges. */
const WITH_RANGES = AS_NOBODY.replace(
  'exec ',
  `printf 'other:1:9\\nnobody:${SUB_ID}:1000\\n${NOBODY}:300000:64536\\n' > /mnt/ids
mount --bind /mnt/ids /etc/subuid
mount --bind /mnt/ids /etc/subgid
exec `,
);

/** The command that runs `argv` in a namespace of that kind. */
export function namespaceCommand(kind: NamespaceKind, argv: readonly string[]): string[] {
  if (process.getuid!() !== 0) return ['unshare', ...UNSHARE.user, '--', ...argv];
  if (kind === 'mount') return ['unshare', ...UNSHARE.mount, '--', ...argv];
  return ordinaryUserCommand(['unshare', ...UNSHARE.user, '--', ...argv]);
}

/** The command that runs `argv` as an ordinary user who may open /dev/fuse; for an ordinary user that is `argv` itself. */
export function ordinaryUserCommand(argv: readonly string[]): string[] {
  if (process.getuid!() !== 0) return [...argv];
  return ['unshare', ...UNSHARE.mount, '--', 'sh', '-c', AS_NOBODY, 'sh', ...argv];
}

/** The same with ranges of ids; only root can arrange it. */
export function userWithRangesCommand(argv: readonly string[]): string[] {
  return ['unshare', ...UNSHARE.mount, '--', 'sh', '-c', WITH_RANGES, 'sh', ...argv];
}

/** For `{ skip: lackingRanges() }`. @throws when there are none and HOTLAYER_REQUIRE_E2E=1 */
export function lackingRanges(): string | false {
  if (process.getuid!() !== 0) return notHere(['root, to give an ordinary user ranges of ids']);
  return lacking('newuidmap', 'newgidmap');
}

/**
 * Call it before any test is declared. The first process starts the file again inside the namespace and does not
 * return. Returns undefined inside, or the reason why this machine cannot run the file's tests: declare them
 * skipped with it. With HOTLAYER_REQUIRE_E2E=1 a reason is an error.
 */
export function enterNamespace(testFile: string, kind: NamespaceKind): string | undefined {
  if (process.env[INSIDE] === kind) return undefined;
  const reason = whyNot(kind);
  if (reason !== undefined) {
    if (process.env.HOTLAYER_REQUIRE_E2E === '1') throw new Error(`FUSE is required here: ${reason}`);
    return reason;
  }
  const env = { ...process.env, [INSIDE]: kind, TMPDIR: '/tmp' };
  const argv = [process.execPath, ...process.execArgv, fileURLToPath(testFile)];
  const { status, error } = start(namespaceCommand(kind, argv), { stdio: 'inherit', env });
  if (error) throw error;
  process.exit(status ?? 1);
}

function whyNot(kind: NamespaceKind): string | undefined {
  const probe = probeFuse();
  if (!probe.ok) return `${probe.detail}; ${probe.mend ?? ''}`;
  const { status, stderr } = start(namespaceCommand(kind, ['test', '-w', '/dev/fuse']), { encoding: 'utf8' });
  return status === 0
    ? undefined
    : `no ${kind} namespace here: ${String(stderr).trim() || '/dev/fuse is closed in it'}`;
}

function start([program, ...args]: readonly string[], options: SpawnSyncOptions) {
  return spawnSync(program!, args, options);
}

/** True where device nodes, foreign owners and the like can be tested. */
export function isRealRoot(): boolean {
  return process.getuid!() === 0 && process.env[INSIDE] !== 'rootless' && probeFuse().namespace === 'mount';
}
