// A profile of any size: files in directories, each opened once and read in a few pieces.
import { assembleProfile } from '../../src/analyze/profile.js';
import type { RecordedFile, RecordedRun } from '../../src/analyze/recorded-run.js';
import { newColumns, REPLAY_OPS } from '../../src/analyze/replay.js';
import type { Profile } from '../../src/analyze/types.js';
import { HEADER, random } from '../analyze/support.js';

const OPEN = REPLAY_OPS.indexOf('open');
const READ = REPLAY_OPS.indexOf('read');

/** @param events of each run, at least one a file */
export function largeProfile(files: number, runs: number, events: number): Profile {
  const list = Array.from({ length: files }, (_, i): RecordedFile => {
    const name = `module-${(i * 2654435761) % 4294967296}`;
    return {
      path: `/usr/lib/dir${i % 97}/part${i % 1009}/${name}.js`,
      type: 'reg',
      layer: i % 12,
      size: 8192 + (i % 200) * 4096,
    };
  });
  return assembleProfile(
    Array.from({ length: runs }, (_, run) => runOf(list, run, events)),
    { files: 2 * files, bytes: files * 1_000_000 },
  );
}

function runOf(files: readonly RecordedFile[], run: number, events: number): RecordedRun {
  const draw = random(run + 1);
  const processes = Array.from({ length: 8 }, (_, i) => ({
    pid: 100 + i,
    comm: `worker-${i}`,
    ...(i > 0 ? { parent: 0 } : {}),
  }));
  const replay = newColumns(events, processes);
  let t = 0;
  for (let i = 0; i < events; i++) {
    const round = Math.floor(i / files.length);
    const file = i % files.length;
    t += 500 + draw(1500);
    replay.t[i] = t;
    replay.process[i] = file % 8;
    replay.file[i] = file;
    replay.op[i] = round === 0 ? OPEN : READ;
    replay.offset[i] = round === 0 ? 0 : Math.min(files[file]!.size - 4096, (round - 1) * 4096);
    replay.bytes[i] = round === 0 ? 0 : 4096;
    replay.duration[i] = 100 + draw(400);
  }
  const id = run.toString(16).padStart(16, '0');
  const facts = { id, complete: true, events, ready: { t: t + 1000, by: 'exit' }, endedAt: t + 2000, exitCode: 0 };
  return {
    header: HEADER,
    run: { ...facts, filesRead: files.length, bytesRead: files.length * 4096 },
    files,
    replay,
    misses: new Map([['/usr/lib', 1000]]),
  };
}
