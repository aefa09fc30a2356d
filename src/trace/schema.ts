// JSON Schemas of the three kinds of line in a trace file (events.ts has the types).
import { TRACE_SCHEMA } from './events.js';
import type { Schema } from './json-schema.js';

const DIALECT = 'https://json-schema.org/draft/2020-12/schema';

export const traceHeaderSchema: Schema = {
  $schema: DIALECT,
  title: 'the first line of a hotlayer trace',
  type: 'object',
  required: ['schemaVersion', 'tool', 'image', 'workload', 'precision', 'until'],
  properties: {
    schemaVersion: { type: 'integer', const: TRACE_SCHEMA },
    tool: { type: 'string', minLength: 1 },
    image: {
      type: 'object',
      required: ['reference'],
      properties: { reference: { type: 'string' }, digest: { type: 'string', pattern: '^sha256:[0-9a-f]{64}$' } },
    },
    platform: {
      type: 'object',
      required: ['os', 'architecture'],
      properties: { os: { type: 'string' }, architecture: { type: 'string' }, variant: { type: 'string' } },
    },
    workload: {
      type: 'object',
      required: ['args', 'user', 'cwd'],
      properties: {
        args: { type: 'array', items: { type: 'string' } },
        user: { type: 'string' },
        cwd: { type: 'string' },
      },
    },
    precision: { type: 'string', enum: ['exact', 'fast'] },
    until: { type: 'array', items: { type: 'string' } },
    imported: { type: 'string', description: 'what recorded it, when hotlayer did not' },
  },
};

export const traceEventSchema: Schema = {
  $schema: DIALECT,
  title: 'an event of a hotlayer trace',
  type: 'object',
  required: ['t', 'op', 'path', 'pid', 'dur'],
  properties: {
    t: { type: 'integer', description: 'ns since the workload was started' },
    op: { type: 'string', enum: ['lookup', 'getattr', 'open', 'read', 'readlink', 'readdir', 'getxattr'] },
    path: { type: 'string', pattern: '^/' },
    offset: { type: 'integer', minimum: 0 },
    length: { type: 'integer', minimum: 0 },
    pid: { type: 'integer', minimum: 0 },
    comm: { type: 'string' },
    parent: { type: 'integer', minimum: 1, description: 'pid of the process it came from; first event of a pid only' },
    errno: { type: 'integer', minimum: 1 },
    exec: { type: 'boolean', const: true },
    dur: { type: 'integer', minimum: 0 },
  },
};

export const traceEndSchema: Schema = {
  $schema: DIALECT,
  title: 'the last line of a hotlayer trace',
  type: 'object',
  required: ['end', 'events', 'complete', 'endedAt'],
  properties: {
    end: { type: 'boolean', const: true },
    events: { type: 'integer', minimum: 0 },
    complete: { type: 'boolean' },
    incompleteBecause: { type: 'string' },
    ready: {
      type: 'object',
      required: ['t', 'by'],
      properties: { t: { type: 'integer', minimum: 0 }, by: { type: 'string' } },
    },
    endedAt: { type: 'integer' },
    exitCode: { type: 'integer', minimum: 0 },
    signal: { type: 'string' },
  },
};
