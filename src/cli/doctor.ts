// `hotlayer doctor`: what this machine can do, and the mend for what it cannot.
import type { Command } from 'commander';
import { type Check, probeMachine } from '../container/probe.js';
import { EXIT } from '../errors.js';
import type { GlobalFlags } from './flags.js';
import type { Register } from './main.js';
import { table } from './table.js';

export function addDoctor(program: Command, register: Register): void {
  const command = program
    .command('doctor')
    .description('check what this machine can do, with the mend for what it cannot')
    .summary('what this machine can do, and the mend for what it cannot');
  register<GlobalFlags>(command, async ({ out, tmpdir }) => {
    const checks = await probeMachine(tmpdir);
    const ok = checks.every((check) => check.ok || check.optional);
    out.document({ ok, checks });
    const mark = ({ ok, optional }: Check): string =>
      ok ? out.paint('green', 'ok') : optional ? out.paint('yellow', '–') : out.paint('red', 'FAIL');
    const rows = checks.flatMap((check) => [
      [mark(check), check.label, check.detail],
      ...(check.ok || !check.mend ? [] : [['', '', out.paint('dim', `mend: ${check.mend}`)]]),
    ]);
    for (const line of table([{ title: '' }, { title: '' }, { title: '' }], rows)) out.result(line);
    out.result();
    out.result(
      ok
        ? 'This machine can trace, optimize and verify.'
        : `This machine cannot trace yet; optimize --no-profile, verify and inspect work without it${mounts(checks) ? ', and so does mount (with --trace)' : ''}.`,
    );
    return ok ? EXIT.ok : EXIT.machine;
  });
}

/** Whether one of the transports can be used where we are. */
function mounts(checks: readonly Check[]): boolean {
  return checks.some(({ id, ok }) => id === 'fuse-native' && ok);
}
