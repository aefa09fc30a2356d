// `hotlayer demo`: the whole flow on a sample image made from this machine, and what came of it.
import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { Command } from 'commander';
import { planImage } from '../analyze/plan.js';
import { writePlan, writeProfile } from '../analyze/saved.js';
import type { Plan, Profile } from '../analyze/types.js';
import { EXIT } from '../errors.js';
import { hostPlatform, MEDIA, openImage, openSink, packLayer, serialize } from '../image/index.js';
import type { Descriptor, ImageSink } from '../image/types.js';
import { writeOutput } from '../report/outputs.js';
import { assembleReport } from '../report/report.js';
import { simulateStarts } from '../report/simulate-starts.js';
import { inspectImage } from '../rewrite/inspect/inspect.js';
import { type OptimizeResult, optimizeImage } from '../rewrite/optimize.js';
import { verifyImages } from '../rewrite/verify/verify.js';
import { spoolImage } from '../rootfs/spooled-image.js';
import { DEFAULT_CHUNK_SIZE, DEFAULT_CODEC } from '../stargz/index.js';
import { formatBytes, formatCount, formatNanos, formatShare } from '../units.js';
import { addWorkloadOptions, flag, type GlobalFlags, type WorkloadFlags } from './flags.js';
import { showInspection } from './inspect.js';
import type { CommandContext, Register } from './main.js';
import { showResult } from './optimize.js';
import { showProfile } from './profile-summary.js';
import { profileSpooled, tempParentOf } from './profiling.js';
import { showReport } from './report-summary.js';
import { type SampleLayer, sampleImage } from './sample-image.js';
import { table } from './table.js';
import { showVerification } from './verify.js';
import { writeProgress } from './write-progress.js';

interface DemoFlags extends GlobalFlags, WorkloadFlags {
  output: string;
}

export function addDemo(program: Command, register: Register): void {
  const command = program
    .command('demo')
    .description(
      'Builds a sample image from this machine (Node, its libraries, npm, our own node_modules), then profile → optimize → verify → inspect → report.',
    )
    .summary('the whole flow on a sample image made from this machine')
    .addOption(flag('-o, --output <dir>', 'where everything is written').default('reports/demo'));
  addWorkloadOptions(command);
  register<DemoFlags>(command, (context, _, flags) => demo(context, flags));
}

async function demo(context: CommandContext, flags: DemoFlags): Promise<number> {
  const { out, signal } = context;
  const started = process.hrtime.bigint();
  const at = (name: string): string => join(flags.output, name);
  mkdirSync(flags.output, { recursive: true });
  const [before, after] = [`oci:${at('sample')}:before`, `oci:${at('sample')}:hot`];
  const heading = (text: string): void => out.result(`\n${out.paint('bold', text)}`);

  const sample = sampleImage();
  heading(`1  A sample image: ${before}`);
  for (const line of await writeSample(before, sample.layers, sample.args)) out.result(line);

  await using image = await openImage(before);
  using spooled = await spoolImage(image, { ...tempParentOf(context), signal });

  heading(`2  hotlayer profile ${before} -r ${flags.runs}   (${sample.workload})`);
  const { profile } = await profileSpooled(context, spooled, [], flags);
  await writeProfile(at('profile.json'), profile);
  showProfile(out, profile);

  heading(`3  hotlayer optimize ${before} ${after} -p ${at('profile.json')}`);
  const plan = planImage(spooled, { profile });
  await writePlan(at('plan.json'), plan);
  const sink = await openSink(after);
  const writing = process.hrtime.bigint();
  const result = await optimizeImage(image, sink, plan, {
    spooled: spooled.layers,
    codec: DEFAULT_CODEC,
    chunkSize: DEFAULT_CHUNK_SIZE,
    ...tempParentOf(context),
    signal,
    onProgress: writeProgress(out),
  });
  showResult(out, result, after, Number(process.hrtime.bigint() - writing));

  heading(`4  hotlayer verify ${before} ${after} --plan ${at('plan.json')}`);
  await using optimized = await openImage(after);
  const report = await verifyImages(image, optimized, {
    plan,
    spooled: spooled.layers,
    ...tempParentOf(context),
    signal,
  });
  showVerification(out, report);

  heading(`5  hotlayer inspect ${after}`);
  showInspection(out, await inspectImage(optimized, { ...tempParentOf(context), signal }));

  heading(`6  hotlayer report ${at('profile.json')} --before ${before} --after ${after} --html ${at('report.html')}`);
  const looking = { profile, files: true, ...tempParentOf(context), signal };
  const [was, is] = [await inspectImage(image, looking), await inspectImage(optimized, looking)];
  const whole = assembleReport({
    profile,
    before: was,
    after: is,
    plan,
    simulation: simulateStarts(profile, was, is),
    verification: report,
  });
  await writeOutput('html', whole, at('report.html'));
  await writeOutput('report', whole, at('report.json'));
  showReport(out, whole);

  heading('What it comes to');
  const summary = summarize(
    profile,
    plan,
    result,
    image.layers.reduce((sum, layer) => sum + layer.descriptor.size, 0),
  );
  for (const line of table(
    [{ title: '' }, { title: 'files', align: 'right' }, { title: 'bytes', align: 'right' }, { title: '' }],
    summary.rows,
  ))
    out.result(line);
  out.result();
  out.result(
    `Written: ${at('sample')} (the image, tags before and hot), ${at('profile.json')}, ${at('plan.json')}, ${at('report.html')}, ${at('report.json')}`,
  );
  out.result(`Took ${formatNanos(Number(process.hrtime.bigint() - started))}.`);
  out.document({ profile, plan, result, verification: report, summary: summary.numbers });
  return report.ok ? EXIT.ok : EXIT.no;
}

function summarize(profile: Profile, plan: Plan, result: OptimizeResult, compressed: number) {
  const hot = profile.files.filter((file) => file.type === 'reg' && file.openedIn > 0);
  const touchedBytes = hot.reduce((sum, file) => sum + Math.round(file.bytesRead.median), 0);
  const planned = plan.layers.reduce((sum, layer) => sum + layer.hot.filter((entry) => entry.size > 0).length, 0);
  const plannedBytes = plan.layers.reduce((sum, layer) => sum + layer.hotBytes, 0);
  const prefetch = result.layers.reduce((sum, layer) => sum + layer.prefetchBytes, 0);
  const numbers = {
    files: profile.image.files,
    bytes: profile.image.bytes,
    compressed,
    touchedFiles: hot.length,
    touchedBytes,
    prefetchedFiles: planned,
    prefetchedBytes: plannedBytes,
    prefetchCompressed: prefetch,
  };
  const rows = [
    ['in the image', formatCount(numbers.files), formatBytes(numbers.bytes), `${formatBytes(compressed)} compressed`],
    [
      'touched at startup',
      formatCount(numbers.touchedFiles),
      formatBytes(touchedBytes),
      `${formatShare(touchedBytes, numbers.bytes)} of the bytes`,
    ],
    [
      'prefetched',
      formatCount(planned),
      formatBytes(plannedBytes),
      `${formatBytes(prefetch)} compressed, one range request a layer`,
    ],
  ];
  return { numbers, rows };
}

/** @returns lines for people, one a layer */
async function writeSample(
  reference: string,
  layers: readonly SampleLayer[],
  args: readonly string[],
): Promise<string[]> {
  const sink = await openSink(reference);
  try {
    const written: { descriptor: Descriptor; diffId: string; createdBy: string; items: number }[] = [];
    for (const layer of layers)
      written.push({ ...(await writeLayer(sink, layer)), createdBy: layer.createdBy, items: layer.items.length });
    const platform = hostPlatform();
    const config = serialize({
      ...platform,
      config: { Cmd: args, WorkingDir: '/app', Env: ['PATH=/usr/local/bin:/usr/bin:/bin'] },
      rootfs: { type: 'layers', diff_ids: written.map((layer) => layer.diffId) },
      history: written.map((layer) => ({ created_by: layer.createdBy })),
    });
    const manifest = serialize({
      schemaVersion: 2,
      mediaType: MEDIA.manifest,
      config: { mediaType: MEDIA.config, ...(await sink.putBytes(config)) },
      layers: written.map((layer) => layer.descriptor),
    });
    await sink.commit({ mediaType: MEDIA.manifest, ...(await sink.putBytes(manifest)), platform });
    const rows = written.map((layer, i) => [
      String(i),
      layer.createdBy,
      formatCount(layer.items),
      formatBytes(layer.descriptor.size),
    ]);
    return table(
      [{ title: 'layer' }, { title: '' }, { title: 'entries', align: 'right' }, { title: 'size', align: 'right' }],
      rows,
    );
  } finally {
    await sink.abort();
  }
}

async function writeLayer(sink: ImageSink, layer: SampleLayer): Promise<{ descriptor: Descriptor; diffId: string }> {
  const diff = createHash('sha256');
  const blob = await sink.createBlob();
  await pipeline(
    packLayer(layer.items),
    async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        diff.update(chunk);
        yield chunk;
      }
    },
    createGzip({ level: 6 }),
    async (chunks: AsyncIterable<Buffer>) => {
      for await (const chunk of chunks) await blob.write(chunk);
    },
  );
  return {
    descriptor: { mediaType: MEDIA.layerGzip, ...(await blob.finish()) },
    diffId: `sha256:${diff.digest('hex')}`,
  };
}
