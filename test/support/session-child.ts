// `node session-child.js PLAN`: one session in a process of its own, to be killed or to be somebody else. PLAN is a
// SessionPlan as JSON; the workload's output goes to stdout as it comes, the result or the error to stderr as JSON.
import { HotlayerError } from '../../src/errors.js';
import { run, type SessionPlan } from './session.js';

try {
  const plan = JSON.parse(process.argv[2]!) as SessionPlan;
  const { fs, fsResult: _, ...result } = await run(plan, { onOutput: (chunk) => process.stdout.write(chunk) });
  const text = JSON.stringify({ ...result, accesses: fs.log.length }, (_key, value) =>
    typeof value === 'bigint' ? String(value) : value,
  );
  process.stderr.write(`${text}\n`);
} catch (error) {
  if (!(error instanceof HotlayerError)) throw error;
  process.stderr.write(`${JSON.stringify({ code: error.code, message: error.message, hint: error.hint })}\n`);
  process.exitCode = error.exitCode;
}
