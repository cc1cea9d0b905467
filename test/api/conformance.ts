/** Compares answers with what an OpenAPI document says of them, to the last member. */
import assert from 'node:assert/strict';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { rfc3339Millis } from '../../protocol/rfc3339.ts';
import type { OpenApiDocument, OperationObject } from '../../api/http/openapi.ts';

export interface Seen {
  method: string;
  /** With its query. */
  path: string;
  status: number;
  contentType: string | null;
  text: string;
}

export interface Conformance {
  /** @throws AssertionError when the document says something else of such an answer, or nothing at all */
  check(seen: Seen): void;
  /** `operationId status`, each that was checked so far. */
  checked: ReadonlySet<string>;
}

export function createConformance(document: OpenApiDocument): Conformance {
  const ajv = new Ajv2020({ strict: true, allErrors: true, keywords: ['components'] });
  ajv.addFormat('date-time', (text: string) => rfc3339Millis(text) !== undefined);
  const { schemas } = document.components;
  ajv.addSchema({ $id: 'document', components: { schemas: closed(schemas) } });
  const validators = new Map<object, ValidateFunction>();
  const checked = new Set<string>();

  function validator(schema: object): ValidateFunction {
    const known = validators.get(schema);
    if (known !== undefined) return known;
    const compiled = ajv.compile(closed(relocated(schema)) as object);
    validators.set(schema, compiled);
    return compiled;
  }

  function check({ method, path, status, contentType, text }: Seen): void {
    const operation = find(document, method, path);
    // Addresses and methods that are not described have the two answers that say so.
    if (operation === undefined) return assert.ok([404, 405, 400].includes(status), `${method} ${path}: ${status}`);
    const where = `${operation.operationId} ${status}`;
    const response = operation.responses[status === 304 ? 200 : status] ?? assert.fail(`${where} is not described`);
    checked.add(where);
    if (method === 'HEAD' || status === 304 || response.content === undefined) return assert.equal(text, '', where);
    const [type = ''] = (contentType ?? '').split(';');
    const { schema } = response.content?.[type] ?? assert.fail(`${where} is not described as ${type}`);
    const values = type.includes('json') ? documentsOf(type, text) : [text];
    for (const value of values) {
      const validate = validator(schema);
      assert.ok(validate(value), `${where} is not as described: ${ajv.errorsText(validate.errors)} in ${text}`);
    }
  }

  return { check, checked };
}

function documentsOf(type: string, text: string): unknown[] {
  const texts = type === 'application/x-ndjson' ? text.trimEnd().split('\n') : [text];
  return texts.map((one) => JSON.parse(one) as unknown);
}

/** The operation at an address: fixed segments win over parameters. */
function find({ paths }: OpenApiDocument, method: string, path: string): OperationObject | undefined {
  const [pathname = ''] = path.split('?');
  const slashed = (template: string, name: string): boolean =>
    Object.values(paths[template] ?? {}).some((operation) =>
      operation.parameters?.some((each) => each['name'] === name && each['x-may-hold-slashes'] === true),
    );
  const matching = Object.keys(paths).filter((template) => {
    const pattern = template
      .replaceAll('.', '\\.')
      .replaceAll(/\{(\w+)\}/g, (_, name: string) => (slashed(template, name) ? '.+' : '[^/]+'));
    return new RegExp(`^${pattern}$`).test(pathname);
  });
  const template = matching.toSorted((a, b) => a.split('{').length - b.split('{').length)[0];
  return template === undefined ? undefined : paths[template]?.[method === 'HEAD' ? 'get' : method.toLowerCase()];
}

/** The document leaves objects open to what may come; today they have these members and no others. */
function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== 'object' || schema === null) return schema;
  const inner = Object.fromEntries(Object.entries(schema).map(([name, value]) => [name, closed(value)]));
  const { properties, additionalProperties } = schema as { properties?: object; additionalProperties?: unknown };
  const named = properties !== undefined && Object.keys(properties).length > 0;
  return named && additionalProperties === undefined ? { ...inner, additionalProperties: false } : inner;
}

function relocated(schema: unknown): unknown {
  return JSON.parse(JSON.stringify(schema).replaceAll('"#/components/', '"document#/components/')) as unknown;
}
