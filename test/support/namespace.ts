// Runs a test file inside a private mount namespace: the file starts itself again through unshare(1), and the copy's
// results flow into the same report. What it mounts is gone when it ends, however it ends.
import { type SpawnSyncOptions, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { isLack, nativeSupport, probeFuse, UNSHARE } from '../../src/fuse/index.js';
import { lacking, notHere } from './tools.js';

/**
 * `mount`: the rights of this user (root where possible). `rootless`: an ordinary user in a user namespace. `denied`:
 * an ordinary user who gets no user namespace, with a setuid fusermount.
 */
export type NamespaceKind = 'mount' | 'rootless' | 'denied';

const INSIDE = 'HOTLAYER_TEST_NAMESPACE';

/** uid and gid of the ordinary user when root runs the tests. */
const NOBODY = '65534';

/**
 * A private /dev/fuse that everybody may open. The node has to lie on a file system that allows devices; the tmpfs and
 * the bind mount exist in this namespace only.
 */
const OPEN_DEVICE = `set -e
mount -t tmpfs -o mode=755 hotlayer-test /mnt
mknod -m 666 /mnt/fuse c 10 229
mount --bind /mnt/fuse /dev/fuse`;

/** Then the command in "$@" as nobody. */
const AS_NOBODY = `${OPEN_DEVICE}
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
/**
 * In a user namespace in which everybody is who they are, setuid programs included, and which allows no other in it. (On
 * the machine itself that limit would be everybody's.) Root of the new namespace is who execs after its map is written.
 */
const NO_NAMESPACES = `${OPEN_DEVICE}
unshare --user --mount --propagation private -- sh -c '
until grep -q . /proc/self/uid_map && grep -q . /proc/self/gid_map; do sleep 0.01; done; exec "$@"' sh \
sh -c 'echo 0 > /proc/sys/user/max_user_namespaces || exit 125
exec setpriv --reuid ${NOBODY} --regid ${NOBODY} --clear-groups --inh-caps=-all -- "$@"' sh "$@" <&0 &
for map in uid_map gid_map; do until echo "0 0 4294967295" > /proc/$!/$map; do sleep 0.01; done 2>/dev/null; done
wait $!`;

/** The command that runs `argv` as an ordinary user who gets no user namespace. Of an ordinary user it is nothing else. */
export function deniedCommand(argv: readonly string[]): string[] {
  return process.getuid!() === 0
    ? ['unshare', ...UNSHARE.mount, '--', 'sh', '-c', NO_NAMESPACES, 'sh', ...argv]
    : [...argv];
}

/** The command that runs `argv` in a namespace of that kind. */
export function namespaceCommand(kind: NamespaceKind, argv: readonly string[]): string[] {
  if (kind === 'denied') return deniedCommand(argv);
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

/** For `{ skip: lackingNamespace(kind) }`. @throws when it cannot be had and HOTLAYER_REQUIRE_E2E=1 */
export function lackingNamespace(kind: NamespaceKind): string | false {
  const reason = whyNot(kind);
  return reason === undefined ? false : notHere([reason]);
}

function whyNot(kind: NamespaceKind): string | undefined {
  if (kind === 'denied') {
    const support = nativeSupport();
    if (isLack(support)) return `${support.why}; ${support.mend}`;
    const { status, stderr } = start(deniedCommand(['sh', '-c', '! unshare --user true']), { encoding: 'utf8' });
    return status === 0 ? undefined : `user namespaces cannot be denied here: ${String(stderr).trim()}`;
  }
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
