// Bytes read by process and directory, as stacks: folded lines for flame graphs, and speedscope's own format.

import { showComm } from './findings.js';
import { parsePath } from './path-parts.js';
import { frame, plain } from './safe-text.js';
import type { Report } from './types.js';

/** One stack: the process that first asked, directories, the file; and distinct bytes read of it. */
interface Stack {
  readonly frames: readonly string[];
  readonly bytes: number;
}

function* stacksOf({ startup, profile }: Report): Generator<Stack> {
  if (!startup) return;
  const { file, bytes, process } = startup.files;
  for (let i = 0; i < file.length; i++) {
    if (bytes[i] === 0) continue;
    const comm = showComm(startup.processes[process[i]!]!.comm);
    yield { frames: [comm, ...parsePath(profile.files[file[i]!]!.path)], bytes: bytes[i]! };
  }
}

/** `sh;usr;lib;libc.so.6 1925120`: what flamegraph.pl, inferno and speedscope read. */
export function* renderFolded(report: Report): Generator<string> {
  for (const { frames, bytes } of stacksOf(report)) yield `${frames.map(frame).join(';')} ${bytes}\n`;
}

/** https://github.com/jlfwong/speedscope/wiki/Importing-from-custom-sources: a sampled profile weighted by bytes. */
export function* renderSpeedscope(report: Report): Generator<string> {
  const numbers = new Map<string, number>();
  const names: string[] = [];
  const samples: number[][] = [];
  const weights: number[] = [];
  let total = 0;
  for (const { frames, bytes } of stacksOf(report)) {
    let key = '';
    samples.push(
      frames.map((name) => {
        // A directory of another parent is another frame, though it has the same name.
        key += `/${name}`;
        let number = numbers.get(key);
        if (number === undefined) {
          number = names.length;
          numbers.set(key, number);
          names.push(plain(name));
        }
        return number;
      }),
    );
    weights.push(bytes);
    total += bytes;
  }
  const name = plain(`${report.image.reference}: bytes read until ready`);
  yield `{"$schema":"https://www.speedscope.app/file-format-schema.json","exporter":${JSON.stringify(report.tool)},`;
  yield `"name":${JSON.stringify(name)},"activeProfileIndex":0,"shared":{"frames":`;
  yield JSON.stringify(names.map((frameName) => ({ name: frameName })));
  yield `},"profiles":[{"type":"sampled","name":${JSON.stringify(name)},"unit":"bytes","startValue":0,"endValue":${total},"samples":`;
  yield JSON.stringify(samples);
  yield `,"weights":${JSON.stringify(weights)}}]}\n`;
}
