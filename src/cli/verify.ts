// `hotlayer verify ORIGINAL OPTIMIZED`: proves that only order and compression changed.
import type { Command } from 'commander';
import { readPlan } from '../analyze/saved.js';
import { EXIT } from '../errors.js';
import { formatPlatform, type ImageIndex, openIndex } from '../image/index.js';
import { showPath } from '../paths.js';
import { isSingle } from '../rewrite/optimize-index.js';
import type { Mismatch, VerifyReport } from '../rewrite/verify/findings.js';
import { type IndexReport, verifyIndexes } from '../rewrite/verify/verify-index.js';
import { addPlatformOption, flag, type GlobalFlags, type PlatformFlags } from './flags.js';
import type { CommandContext, Register } from './main.js';
import type { Output } from './output.js';
import { openingOf } from './profiling.js';
import { table } from './table.js';

/** Mismatches shown per check without --verbose; the count says how many there are, --json has all. */
const SHOWN = 10;

interface VerifyFlags extends GlobalFlags, PlatformFlags {
  plan?: string;
}

export function addVerify(program: Command, register: Register): void {
  const command = program
    .command('verify')
    .argument('<original>', 'image before')
    .argument('<optimized>', 'image after')
    .description(
      'Recomputes everything from the bytes of both images and proves that only order and compression differ.\nExit status 1 when anything else does.',
    )
    .summary('prove that only order and compression changed')
    .addOption(flag('--plan <file>', 'also check that this plan was carried out'));
  addPlatformOption(command);
  register<VerifyFlags>(command, async (context, [original, optimized], flags) => {
    const { report, single } = await verify(context, original!, optimized!, flags);
    const [one] = report.platforms;
    if (single && one) {
      const { platform: _, ...only } = one;
      context.out.document(only);
      showVerification(context.out, only);
    } else {
      context.out.document(report);
      showIndexVerification(context.out, report);
    }
    return report.ok ? EXIT.ok : EXIT.no;
  });
}

/** Of all platforms that both have. */
export async function verify(
  context: CommandContext,
  original: string,
  optimized: string,
  flags: VerifyFlags,
): Promise<{ report: IndexReport; single: boolean }> {
  const plan = flags.plan === undefined ? undefined : await readPlan(flags.plan);
  const open = (reference: string, platform: string | undefined) =>
    openIndex(reference, openingOf(context, platform ? { platform } : {}));
  const opened: ImageIndex[] = [];
  try {
    let before = await open(original, flags.platform);
    opened.push(before);
    let after = await open(optimized, flags.platform);
    opened.push(after);
    // One platform of an index was optimized alone: it is compared with that one.
    if (isSingle(after) !== isSingle(before)) {
      const [one] = isSingle(after) ? after.images : before.images;
      const platform = formatPlatform(one!.platform);
      const other = await open(isSingle(after) ? original : optimized, platform);
      opened.push(other);
      if (isSingle(after)) before = other;
      else after = other;
    }
    const report = await verifyIndexes(before, after, {
      signal: context.signal,
      ...(plan ? { plan } : {}),
      ...(context.tmpdir ? { tempParent: context.tmpdir } : {}),
    });
    return { report, single: isSingle(before) && isSingle(after) };
  } finally {
    for (const index of opened) await index.close();
  }
}

function showIndexVerification(out: Output, report: IndexReport): void {
  for (const { platform, ...one } of report.platforms) {
    out.result(platform);
    showVerification(out, one);
    out.result();
  }
  for (const mismatch of report.mismatches) out.result(`${out.paint('red', 'FAIL')}  index  ${mismatchText(mismatch)}`);
  const count = (n: number, what: string) => `${n} ${what}${n === 1 ? '' : 's'}`;
  const { platforms, unchanged } = report;
  const beside = unchanged === 0 ? '' : `, ${count(unchanged, 'other manifest')} the same`;
  out.result(
    report.ok
      ? `verified: ${count(platforms.length, 'platform')}${beside}, and the index around them`
      : out.paint('red', 'NOT the same index'),
  );
}

export function showVerification(out: Output, report: VerifyReport): void {
  const rows = report.checks.map((check) => [
    check.ok ? out.paint('green', 'PASS') : out.paint('red', 'FAIL'),
    check.label,
    check.ok
      ? check.detail
      : `${check.mismatches.length} mismatch${check.mismatches.length === 1 ? '' : 'es'} · ${check.detail}`,
  ]);
  for (const line of table([{ title: '' }, { title: '' }, { title: '' }], rows, '')) out.result(line);
  for (const check of report.checks) {
    const shown = out.verbose ? check.mismatches : check.mismatches.slice(0, SHOWN);
    if (shown.length > 0) out.result(`\n${check.label}:`);
    for (const mismatch of shown) out.result(`  ${mismatchText(mismatch)}`);
    const more = check.mismatches.length - shown.length;
    if (more > 0) out.result(`  … and ${more} more (--verbose shows all, --json has them)`);
  }
  if (report.exceptions.length > 0) {
    out.result(
      `\n${report.exceptions.length} difference${report.exceptions.length === 1 ? '' : 's'} that the format demands, each checked for being equivalent:`,
    );
    for (const e of report.exceptions.slice(0, out.verbose ? undefined : SHOWN)) {
      out.result(`  layer ${e.layer} ${showPath(e.entry)}: ${e.message}`);
    }
  }
  out.result();
  out.result(report.ok ? 'verified: only order and compression differ' : out.paint('red', 'NOT the same image'));
}

function mismatchText(mismatch: Mismatch): string {
  const where = [
    mismatch.layer === undefined ? '' : `layer ${mismatch.layer}`,
    mismatch.entry === undefined ? '' : showPath(mismatch.entry),
  ];
  const sides =
    mismatch.expected === undefined && mismatch.found === undefined
      ? ''
      : `: before ${mismatch.expected ?? 'absent'}, after ${mismatch.found ?? 'absent'}`;
  return `${[...where, mismatch.message].filter((part) => part !== '').join(' ')}${sides}`;
}
