// Checks a parsed JSON value against a schema and names every place that is wrong. It knows the part of JSON Schema
// (draft 2020-12) that hotlayer's own schemas use, so that the published schema and the check are one and the same;
// tests hold it against ajv.
import { HotlayerError } from '../errors.js';

export interface Schema {
  readonly $schema?: string;
  readonly $id?: string;
  readonly title?: string;
  readonly description?: string;
  readonly $defs?: Readonly<Record<string, Schema>>;
  /** `#/$defs/name` only. */
  readonly $ref?: string;
  readonly type?: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean';
  readonly const?: string | number | boolean;
  readonly enum?: readonly (string | number)[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  /** Schema of the members that `properties` does not name. */
  readonly additionalProperties?: Schema;
  readonly items?: Schema | false;
  readonly prefixItems?: readonly Schema[];
  readonly minItems?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly pattern?: string;
}

export interface Mismatch {
  /** `$`, `$.files[3].size`, `$.layers[0].chunks["/usr/bin/x"]`. */
  readonly at: string;
  readonly expected: string;
  readonly found: string;
}

/** More than this many mismatches are not collected: a file of the wrong kind would list every line. */
const MAX_MISMATCHES = 20;

/** Every mismatch (at most 20), in document order. Empty: the value fits. */
export function checkSchema(value: unknown, schema: Schema): Mismatch[] {
  const found: Mismatch[] = [];
  check(value, schema, schema, '$', found);
  return found;
}

/**
 * The value, when it fits.
 * @param where names the file (and line) for the message
 * @throws HL_ERR_DATA with the JSON path of each mismatch
 */
export function requireSchema<T>(value: unknown, schema: Schema, where: string): T {
  const wrong = checkSchema(value, schema);
  if (wrong.length === 0) return value as T;
  const [first, ...others] = wrong.map((m) => `${m.at}: expected ${m.expected}, found ${m.found}`);
  const more = others.length === 0 ? '' : `; also ${others.slice(0, 4).join('; ')}`;
  const rest = others.length > 4 ? `; and ${others.length - 4} more` : '';
  throw new HotlayerError('HL_ERR_DATA', `${where}: ${first}${more}${rest}`, {
    hint: `it is not ${schema.title ?? 'of the kind that was expected'}; was it written by another program or version?`,
  });
}

function check(value: unknown, schema: Schema, root: Schema, at: string, out: Mismatch[]): void {
  if (out.length >= MAX_MISMATCHES) return;
  if (schema.$ref !== undefined) {
    check(value, resolveRef(schema.$ref, root), root, at, out);
    return;
  }
  const wrong = (expected: string): void => {
    out.push({ at, expected, found: show(value) });
  };
  if (schema.type !== undefined && !hasType(value, schema.type)) {
    wrong(withArticle(schema.type));
  } else if (schema.const !== undefined && value !== schema.const) {
    wrong(JSON.stringify(schema.const));
  } else if (schema.enum !== undefined && !schema.enum.includes(value as string)) {
    wrong(`one of ${schema.enum.map((e) => JSON.stringify(e)).join(', ')}`);
  } else if (typeof value === 'number') {
    if (schema.minimum !== undefined && value < schema.minimum) wrong(`${schema.minimum} or more`);
    if (schema.maximum !== undefined && value > schema.maximum) wrong(`${schema.maximum} or less`);
  } else if (typeof value === 'string') {
    if (schema.minLength !== undefined && value.length < schema.minLength) wrong('a string that is not empty');
    if (schema.pattern !== undefined && !new RegExp(schema.pattern, 'u').test(value)) {
      wrong(`a string that matches ${schema.pattern}`);
    }
  } else if (Array.isArray(value)) {
    checkArray(value, schema, root, at, out, wrong);
  } else if (typeof value === 'object' && value !== null) {
    checkObject(value as Record<string, unknown>, schema, root, at, out);
  }
}

function checkArray(
  value: readonly unknown[],
  schema: Schema,
  root: Schema,
  at: string,
  out: Mismatch[],
  wrong: (expected: string) => void,
): void {
  const fixed = schema.prefixItems?.length ?? 0;
  if (schema.minItems !== undefined && value.length < schema.minItems) wrong(`${schema.minItems} items or more`);
  if (schema.items === false && value.length > fixed) wrong(`${fixed} items`);
  for (let i = 0; i < value.length; i++) {
    const item = i < fixed ? schema.prefixItems![i] : schema.items || undefined;
    if (item) check(value[i], item, root, `${at}[${i}]`, out);
  }
}

function checkObject(value: Record<string, unknown>, schema: Schema, root: Schema, at: string, out: Mismatch[]): void {
  for (const name of schema.required ?? []) {
    if (!Object.hasOwn(value, name)) {
      out.push({ at: member(at, name), expected: describe(schema.properties?.[name]), found: 'nothing' });
    }
  }
  for (const [name, item] of Object.entries(value)) {
    const known = schema.properties && Object.hasOwn(schema.properties, name) ? schema.properties[name] : undefined;
    const itemSchema = known ?? schema.additionalProperties;
    if (itemSchema) check(item, itemSchema, root, member(at, name), out);
  }
}

function resolveRef(ref: string, root: Schema): Schema {
  const target = ref.startsWith('#/$defs/') ? root.$defs?.[ref.slice('#/$defs/'.length)] : undefined;
  if (!target) throw new HotlayerError('HL_ERR_BUG', `schema reference ${ref} leads nowhere`);
  return target;
}

function hasType(value: unknown, type: NonNullable<Schema['type']>): boolean {
  switch (type) {
    case 'object':
      return typeof value === 'object' && value !== null && !Array.isArray(value);
    case 'array':
      return Array.isArray(value);
    case 'integer':
      // A number beyond 2^53 has lost digits on the way in; it must not pass for an exact offset.
      return Number.isSafeInteger(value);
    case 'number':
      return typeof value === 'number';
    default:
      return typeof value === type;
  }
}

function describe(schema: Schema | undefined): string {
  if (schema?.const !== undefined) return JSON.stringify(schema.const);
  return schema?.type === undefined ? 'a value' : withArticle(schema.type);
}

function withArticle(type: string): string {
  return /^[aio]/.test(type) ? `an ${type}` : `a ${type}`;
}

function member(at: string, name: string): string {
  return /^[A-Za-z_]\w*$/.test(name) ? `${at}.${name}` : `${at}[${JSON.stringify(name)}]`;
}

function show(value: unknown): string {
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === 'object' && value !== null) return 'an object';
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}
