#!/bin/sh
':' //; exec node -- "$0" "$@" # JavaScript from the next line on. "--" keeps Node from taking our --env-file for its own.
import '../dist/src/cli/start.js';
