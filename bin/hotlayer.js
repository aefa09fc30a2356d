#!/bin/sh
':' //; s=${0%/*}/../dist/src/start/start.js; case $1 in run|mount) [ -h "$0" ] || [ ! -f "$s" ] || exec node -- "$s" "$@";; esac; exec node -- "$0" "$@" # JavaScript from the next line on. "--" keeps Node from taking our --env-file for its own; a container's start does without the loader of ES modules.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

// A container is to start at once: bin/bundle.js.
const bundle = fileURLToPath(new URL('../dist/src/start/start.js', import.meta.url));
if (['run', 'mount'].includes(process.argv[2]) && existsSync(bundle)) createRequire(import.meta.url)(bundle);
else if (existsSync(new URL('../dist/src/cli/start.js', import.meta.url))) await import('../dist/src/cli/start.js');
else {
  process.stderr.write('error: hotlayer is not compiled yet; run `npm run build` in its directory\n');
  process.exitCode = 4;
}
