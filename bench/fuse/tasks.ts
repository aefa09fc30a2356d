// What is done on each mount. A task is one process, started on the mount from outside, that ends when it is done.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { PLACES, type TreeSize } from './tree.js';

export interface Task {
  readonly name: string;
  readonly about: string;
  /** Counts for "start-up". */
  readonly startup?: boolean;
  /** Bytes that one run reads, where a rate is wanted. */
  readonly bytes?: number;
  command(root: string): string[];
}

const MODULES =
  'json, ssl, sqlite3, asyncio, http.server, email.mime.text, unittest, xml.dom.minidom, logging.config, concurrent.futures';

/** Each of four processes reads pieces of 4 to 64 KiB of the big file and whole small files, and stats others, by turns. */
const RANDOM = `
import os, random, sys
root, seed, big, small = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
r = random.Random(seed)
for child in range(3):
    if os.fork() == 0:
        r.seed(seed + 1 + child)
        break
else:
    child = -1
fd = os.open(root + '/${PLACES.big}', os.O_RDONLY)
for i in range(600):
    n = r.randrange(4096, 65536)
    assert len(os.pread(fd, n, r.randrange(big - n))) == n
    k = r.randrange(small)
    path = '%s/${PLACES.small}/d%04d/f%06d.txt' % (root, k // 100, k)
    with open(path, 'rb') as f: f.read()
    os.stat('%s/${PLACES.walk}/d%04d/f%06d.txt' % (root, k // 100 % 20, k % 2000))
if child >= 0: os._exit(0)
for _ in range(3):
    if os.wait()[1] != 0: sys.exit(1)
`;

export function tasksOf(size: TreeSize): Task[] {
  return [
    {
      name: 'walk',
      about: `find -printf of size, mode, owner and time of ${size.entries} files`,
      command: (root) => [
        'sh',
        '-c',
        `find "$1" -printf '%s %m %U %T@ %p\\n' >/dev/null`,
        'sh',
        join(root, PLACES.walk),
      ],
    },
    {
      name: 'small files',
      about: `cat of ${size.small} files of 0.5 to 16 KiB`,
      command: (root) => [
        'sh',
        '-c',
        'find "$1" -type f -print0 | xargs -0 cat >/dev/null',
        'sh',
        join(root, PLACES.small),
      ],
    },
    {
      name: 'sequential',
      about: `dd of one file of ${size.big / 2 ** 20} MiB`,
      bytes: size.big,
      command: (root) => ['dd', `if=${join(root, PLACES.big)}`, 'of=/dev/null', 'bs=1M', 'status=none'],
    },
    {
      name: 'python',
      about: `chroot, python3 that imports ${MODULES}`,
      startup: true,
      command: (root) => ['chroot', root, '/usr/bin/python3', '-c', `import ${MODULES}`],
    },
    {
      name: 'node',
      about: 'chroot, node that loads five packages of some hundred files',
      startup: true,
      command: (root) => ['chroot', root, '/usr/bin/node', `/${PLACES.app}/main.js`],
    },
    {
      name: 'random',
      about: '4 processes, each 600 × (a piece of 4 to 64 KiB of the big file, a small file, a stat)',
      command: (root) => ['/usr/bin/python3', '-c', RANDOM, root, '7', String(size.big), String(size.small)],
    },
  ];
}

/** ms from start to end. Never blocks this process: a mount may be served by it. @throws when the status is not 0 */
export function runTask(argv: readonly string[]): Promise<number> {
  const [program, ...args] = argv;
  const env = { PATH: process.env.PATH, LC_ALL: 'C' };
  const began = performance.now();
  const child = spawn(program!, args, { cwd: '/', env, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-2000);
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => {
      const took = performance.now() - began;
      if (status === 0) resolve(took);
      else reject(new Error(`${argv.join(' ')}: status ${status}\n${said}`));
    });
  });
}
