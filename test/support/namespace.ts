// Runs a test file inside a private mount namespace: the file starts itself again through unshare(1), and the copy's
// results flow into the same report. What it mounts is gone when it ends, however it ends.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { probeFuse, UNSHARE } from '../../src/fuse/index.js';

/** `mount`: the rights of this user (root where possible). `rootless`: an ordinary user in a user namespace. */
export type NamespaceKind = 'mount' | 'rootless';

const INSIDE = 'HOTLAYER_TEST_NAMESPACE';

/** uid and gid of the ordinary user when root runs the tests. */
const NOBODY = '65534';

/**
 * A private /dev/fuse that everybody may open ($1: a directory to put it), then the rest of the command as nobody.
 * The node must lie on a file system that allows devices, and be bound in this namespace only.
 */
const AS_NOBODY = `set -e
mount -t tmpfs -o mode=755 hotlayer-test /mnt
mknod -m 666 /mnt/fuse c 10 229
mount --bind /mnt/fuse /dev/fuse
exec setpriv --reuid ${NOBODY} --regid ${NOBODY} --clear-groups --inh-caps=-all -- "$@"`;

/** The command that runs `argv` in a namespace of that kind. */
export function namespaceCommand(kind: NamespaceKind, argv: readonly string[]): string[] {
  if (process.getuid!() !== 0) return ['unshare', ...UNSHARE.user, '--', ...argv];
  if (kind === 'mount') return ['unshare', ...UNSHARE.mount, '--', ...argv];
  const inner = ['unshare', ...UNSHARE.user, '--', ...argv];
  return ['unshare', ...UNSHARE.mount, '--', 'sh', '-c', AS_NOBODY, 'sh', ...inner];
}

/**
 * Call it before any test is declared: `if (!(await enterNamespace(import.meta.url, 'mount'))) …` is not needed, the
 * outer process never returns from it. Returns undefined inside the namespace, or a reason why the tests of the
 * file cannot run on this machine (then declare them skipped with it). With HOTLAYER_REQUIRE_E2E=1 a reason throws.
 */
export function enterNamespace(testFile: string, kind: NamespaceKind): string | undefined {
  if (process.env[INSIDE] === kind) return undefined;
  const probe = probeFuse();
  if (!probe.ok) {
    const reason = `${probe.detail}; ${probe.mend ?? ''}`;
    if (process.env.HOTLAYER_REQUIRE_E2E === '1') throw new Error(`FUSE is required here: ${reason}`);
    return reason;
  }
  if (kind === 'rootless' && process.getuid!() === 0 && !existsSync('/mnt')) return 'there is no /mnt to prepare in';
  const [program, ...args] = namespaceCommand(kind, [process.execPath, ...process.execArgv, fileURLToPath(testFile)]);
  const env = { ...process.env, [INSIDE]: kind, TMPDIR: '/tmp' };
  const { status, error } = spawnSync(program!, args, { stdio: 'inherit', env });
  if (error) throw error;
  process.exit(status ?? 1);
}

/** True where device nodes, foreign owners and the like can be tested. */
export function isRealRoot(): boolean {
  return process.getuid!() === 0 && process.env[INSIDE] !== 'rootless' && probeFuse().namespace === 'mount';
}
