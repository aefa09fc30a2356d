// Our mounts beside other FUSE file systems that show the same directory, and the directory itself.
//   npm run bench:fuse -- [--rounds 5] [--tasks python,node] [--backends …] [--note TEXT] [--quick] [--no-report]
// Needs root, bindfs, fuse-overlayfs, libfuse3-dev, gcc, pkg-config and Debian's python3.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { makeTempDir } from '../src/temp.js';
import { backendsOf, buildPassthrough, type Sources, serve } from './fuse/backends.js';
import { makeImages } from './fuse/images.js';
import { type Measurement, report } from './fuse/report.js';
import { runTask, tasksOf } from './fuse/tasks.js';
import { FULL, makeTree, QUICK } from './fuse/tree.js';
import { rotated } from './startup/rounds.js';
import { isSecluded, runSecluded } from './startup/seclusion.js';

const say = (text: string) => process.stderr.write(`${text}\n`);
process.exitCode = await (isSecluded() ? run() : runSecluded());

async function run(): Promise<number> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '5' },
      tasks: { type: 'string' },
      backends: { type: 'string' },
      note: { type: 'string', default: '' },
      quick: { type: 'boolean', default: false },
      'no-report': { type: 'boolean', default: false },
    },
  });
  const size = values.quick ? QUICK : FULL;
  using temp = makeTempDir(undefined, 'hotlayer-bench');
  const tree = join(temp.path, 'tree');
  const mountpoint = join(temp.path, 'mount');
  for (const dir of [tree, mountpoint]) mkdirSync(dir);
  say('making the tree and its images …');
  makeTree(tree, size);
  const passthrough = buildPassthrough(join(temp.path, 'passthrough'));
  const sources: Sources = { tree, ...makeImages(tree, temp.path), passthrough };
  const named = <T extends { name: string }>(all: T[], names: string | undefined) =>
    names === undefined ? all : all.filter(({ name }) => names.split(',').includes(name));
  const backends = named(backendsOf(sources), values.backends);
  const tasks = named(tasksOf(size), values.tasks);

  // What is read from the tree, the layer or the cache is in memory from here on; only FUSE is measured.
  for (const backend of backends) {
    await using served = await serve(backend, tree, mountpoint);
    await runTask(['sh', '-c', 'find "$1" -type f -print0 | xargs -0 cat >/dev/null', 'sh', served.root]);
  }
  const measured: Measurement[] = [];
  const rounds = Number(values.rounds);
  for (let round = 0; round < rounds; round++) {
    for (const [i, task] of tasks.entries()) {
      for (const backend of rotated(backends, round + i)) {
        await using served = await serve(backend, tree, mountpoint);
        const argv = task.command(served.root);
        const first = await runTask(argv);
        const again = await runTask(argv);
        measured.push({ round, task: task.name, backend: backend.name, first, again });
        say(
          `${round + 1}/${rounds} ${task.name.padEnd(12)} ${backend.name.padEnd(18)} ${first.toFixed(0).padStart(6)} ms, again ${again.toFixed(0)} ms`,
        );
      }
    }
  }
  report({ measured, tasks, backends, rounds, size, note: values.note, dry: values['no-report'] });
  return 0;
}
