// Converting layers, side by side with the peer's library and its converter, and with the least that has to be done.
//   npm run bench:convert -- [--rounds 5] [--layers debian,small,big] [--programs …] [--directory DIR] [--fresh] [--report-only] [--no-report]
// Needs root, the packages of .ci/run, and libdeflate-tools. Layers and measurements are kept in DIR (default: TMPDIR/hotlayer-bench-convert), so that a run can be done in parts.
import { mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { makeTempDir } from '../src/temp.js';
import { formatBytes } from '../src/units.js';
import { SHAPES, sampleLayer } from './convert/layers.js';
import { PROGRAMS, type Program, Workshop } from './convert/programs.js';
import { type Measurement, report } from './convert/report.js';
import { NeighbourMeter } from './support/cpu.js';
import { Journal } from './support/journal.js';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    layers: { type: 'string', default: SHAPES.map((shape) => shape.name).join() },
    programs: { type: 'string', default: PROGRAMS.join() },
    directory: { type: 'string', default: join(process.env.TMPDIR || tmpdir(), 'hotlayer-bench-convert') },
    fresh: { type: 'boolean', default: false },
    'report-only': { type: 'boolean', default: false },
    'no-report': { type: 'boolean', default: false },
  },
});
const say = (text: string) => process.stderr.write(`${text}\n`);
const chosen = PROGRAMS.filter((program) => values.programs.split(',').includes(program));
mkdirSync(values.directory, { recursive: true });
const journal = new Journal<Measurement>(join(values.directory, 'measurements.jsonl'), { fresh: values.fresh });

for (const shape of SHAPES.filter(({ name }) => values.layers.split(',').includes(name))) {
  if (values['report-only']) break;
  const layer = await sampleLayer(join(values.directory, 'layers'), shape, say);
  using temp = makeTempDir(values.directory, 'work');
  await using shop = await Workshop.open(layer, temp.path);
  await shop.check();
  const { bytes, files, entries, hotBytes } = layer;
  const about = { ...shape, bytes, files, entries, hot: layer.hot.length, hotBytes };
  const done = journal.entries().filter((one) => one.layer.name === shape.name);
  for (let round = Math.max(0, ...done.map((one) => one.round + 1)); round < Number(values.rounds); round++) {
    // Who goes first changes, so that nobody always finds what the same other has left in the caches.
    const order = chosen.map((_, i) => chosen[(i + round) % chosen.length]!);
    const costs = {} as Record<Program, Measurement['costs'][Program]>;
    for (const program of order) {
      const neighbours = new NeighbourMeter();
      const cost = await shop.convert(program);
      costs[program] = { ...cost, othersMs: neighbours.read() };
      const { wallMs, cpuMs, peakBytes, size } = cost;
      say(
        `${shape.name} ${round + 1}/${values.rounds} ${program.padEnd(10)} ${(wallMs / 1000).toFixed(2)} s, cpu ${(cpuMs / 1000).toFixed(2)} s, ${formatBytes(peakBytes)}, blob ${size}, others ${(costs[program].othersMs / 1000).toFixed(1)} s`,
      );
    }
    journal.add({ layer: about, round, costs });
  }
}
const holds = report(journal.entries(), !values['no-report'], say);
process.exitCode = holds ? 0 : 1;
