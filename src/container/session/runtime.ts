// runc and crun: a bundle in the session's private directory, run in its namespaces. A hook stops the runtime when the
// container is there and its program is not: that is where the built-in runner waits, too.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { HotlayerError } from '../../errors.js';
import { quote, runScript, type Step, script, toolEnv } from '../machine/shell.js';
import { findTool, type Tools } from '../machine/tools.js';
import { type BundlePlan, ociConfig } from '../process/oci-config.js';
import type { Runtime } from '../types.js';
import type { WorkloadStart } from './workload.js';

const CGROUPS = '/sys/fs/cgroup';
/** Of the container, to the runtime: there is one in each private directory. */
const NAME = 'container';

/** @throws HL_ERR_MACHINE when the runtime is not installed, or the bundle cannot be made */
export async function runtimeStart(
  runtime: Exclude<Runtime, 'builtin'>,
  tools: Tools,
  dir: string,
  plan: Omit<BundlePlan, 'hook'>,
): Promise<WorkloadStart> {
  const program = findTool(runtime);
  if (program === undefined) {
    throw new HotlayerError('HL_ERR_MACHINE', `--runtime ${runtime}: there is no ${runtime} command`, {
      hint: `install it (apt-get install ${runtime}), or use --runtime builtin`,
    });
  }
  const [bundle, said, go, log] = [`${dir}/bundle`, `${dir}/said`, `${dir}/go`, `${dir}/runtime.log`];
  mkdirSync(bundle);
  const hook = ['sh', '-c', `{ cat; echo; echo ready; } > ${quote(said)}; read -r go < ${quote(go)}`];
  writeFileSync(`${bundle}/config.json`, ociConfig({ ...plan, hook }));
  const steps: Step[] = [{ command: [tools.mkfifo, said, go] }, ...hideCgroups(runtime, tools)];
  await runScript(tools, script(steps), 'make a bundle', dir);
  const flags = ['--root', `${dir}/${runtime}`, '--log', log, '--log-format', 'json'];
  // runc is told that it may not make a cgroup: it then goes on where that fails.
  flags.push(runtime === 'runc' ? '--rootless=true' : '--cgroup-manager=disabled');
  return {
    command: [tools.setpriv, '--pdeathsig', 'KILL', '--', program, ...flags, 'run', '--bundle', bundle, NAME],
    env: { ...toolEnv(), XDG_RUNTIME_DIR: dir },
    control: { kind: 'fifos', said, go },
    complaints: () => messagesOf(log),
  };
}

/**
 * No cgroup is asked for, and one that is made would stay behind when everything is killed. runc makes none where all
 * of them are read-only; crun does not want to see both versions at once.
 */
function hideCgroups(runtime: 'runc' | 'crun', tools: Tools): Step[] {
  if (!existsSync(CGROUPS)) return [];
  if (runtime === 'crun')
    return [{ command: [tools.mount, '-n', '-t', 'tmpfs', '-o', 'ro,mode=755', 'hotlayer', CGROUPS], orWarn: 'x' }];
  const points = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((point) => point === CGROUPS || point.startsWith(`${CGROUPS}/`));
  return points.map((point) => ({ command: [tools.mount, '-n', '-o', 'remount,bind,ro', point], orWarn: 'x' }));
}

/** What the runtime logged as errors. */
function messagesOf(log: string): string {
  let text: string;
  try {
    text = readFileSync(log, 'utf8');
  } catch {
    return '';
  }
  return text
    .split('\n')
    .flatMap((line) => {
      try {
        const { level, msg } = JSON.parse(line) as { level?: string; msg?: string };
        return level === 'error' || level === 'fatal' || level === undefined ? [String(msg)] : [];
      } catch {
        return [];
      }
    })
    .join('\n');
}

/** What a shell would have ended with, had it not been able to execute the program; undefined: it was something else. */
export function execFailure(messages: string): 126 | 127 | undefined {
  if (/executable file .*not found|: no such file or directory|: not a directory/i.test(messages)) return 127;
  return /permission denied|exec format error/i.test(messages) ? 126 : undefined;
}
