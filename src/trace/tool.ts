// The name and version that every saved form carries, so that a file says which program wrote it.
import { readFileSync } from 'node:fs';

// From dist/src/trace/ to the package's own root.
const { name, version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as {
  name: string;
  version: string;
};

/** `hotlayer 0.1.0`. */
export const TOOL = `${name} ${version}`;
