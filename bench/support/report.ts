// What a benchmark leaves behind: `reports/NAME.json` with every value, `reports/NAME.md` for people.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { formatBytes } from '../../src/units.js';

/** The repository, from dist/bench/support. */
export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly node: string;
  /** Versions of the programs measured, by name. */
  readonly programs: Readonly<Record<string, string>>;
}

/** @param programs command lines that print a version; of its output the first line is kept */
export function describeMachine(programs: Readonly<Record<string, readonly string[]>>): Machine {
  const versions = Object.entries(programs).map(([name, [program, ...args]]) => {
    const text = execFileSync(program!, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    return [name, text.trim().split('\n')[0]!];
  });
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    kernel: release(),
    node: process.version,
    programs: Object.fromEntries(versions),
  };
}

export function machineLine({ cpu, cores, memoryBytes, kernel, node, programs }: Machine): string {
  const versions = Object.values(programs).join(', ');
  const parts = [`${cpu}, ${cores} cores, ${formatBytes(memoryBytes)}`, `Linux ${kernel}`, `Node ${node}`, versions];
  return `${parts.filter((part) => part !== '').join('; ')}.`;
}

/** Version and commit of what was measured. */
export function describeHotlayer(): { version: string; commit: string } {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  const commit = execFileSync('git', ['rev-parse', '--short=12', 'HEAD'], { cwd: ROOT, encoding: 'utf8' }).trim();
  return { version, commit };
}

/** A Markdown table. */
export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n');
}

/** @returns the paths written. @param directory default: reports/ of the repository */
export function writeReport(name: string, data: object, markdown: string, directory = join(ROOT, 'reports')): string[] {
  mkdirSync(directory, { recursive: true });
  const files = [join(directory, `${name}.json`), join(directory, `${name}.md`)];
  writeFileSync(files[0]!, `${JSON.stringify(data, null, 2)}\n`);
  writeFileSync(files[1]!, markdown);
  return files;
}
