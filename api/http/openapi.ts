/**
 * The OpenAPI 3.1 document of a list of operations, made of the schemas that validate their requests and type their
 * answers. Schemas with an id of their own (`.meta({ id })`) become components.
 */
import type { z } from 'zod';
import { ruleFor } from '../access/rights.ts';
import { JSON_PROBLEMS } from './json-body.ts';
import { jsonSchema, type JsonSchema } from './json-schema.ts';
import type { Access, Answer, BodyExample, Operation, OperationFacts } from './operation.ts';
import { problemShape, problemStatus, type ProblemSlug } from './problems.ts';

export interface ApiInfo {
  title: string;
  version: string;
  description: string;
  tags: readonly { name: string; description: string }[];
}

export interface OpenApiDocument {
  openapi: '3.1.1';
  info: { title: string; version: string; description: string };
  tags: readonly { name: string; description: string }[];
  paths: Record<string, Record<string, OperationObject>>;
  components: { schemas: Record<string, JsonSchema>; securitySchemes: Record<string, JsonSchema> };
}

export interface OperationObject {
  operationId: string;
  tags: [string];
  summary: string;
  description?: string;
  security: Record<string, string[]>[];
  parameters?: JsonSchema[];
  requestBody?: { required: true; content: Record<string, MediaType> };
  responses: Record<string, ResponseObject>;
}

interface MediaType {
  schema: JsonSchema;
  examples?: Record<string, { summary: string; value: unknown }>;
}

interface ResponseObject {
  description: string;
  headers?: Record<string, { description: string; schema: JsonSchema }>;
  content?: Record<string, MediaType>;
}

/** Its schemas, here and among request bodies, are those of one line. */
const NDJSON = 'application/x-ndjson';

/** Problems of every operation that asks who calls, whatever credential it takes; and of sensitive acts. */
const ACCESS_PROBLEMS = [
  'unauthorized',
  'missing-scope',
  'missing-permission',
  'no-organisation',
  'not-a-member',
] as const;
const TENANT_PROBLEMS = ['rate-limited', 'tenant-not-ready', 'recovering', 'unavailable'] as const;
const SENSITIVE_PROBLEMS = ['second-factor-required', 'reverification-required', 'impersonated'] as const;
const BODY_PROBLEMS = [
  'bad-request',
  'empty-body',
  'malformed-encoding',
  ...JSON_PROBLEMS,
  'body-too-large',
  'unsupported-media-type',
  'unsupported-encoding',
] as const;

/** Every problem that an operation may answer. */
function problemsOf({ access, params, query, body, problems = [] }: OperationFacts): ProblemSlug[] {
  const all: ProblemSlug[] = [...problems, 'internal'];
  if (access !== null) all.push(...ACCESS_PROBLEMS, ...TENANT_PROBLEMS);
  if (access !== null && ruleFor(access.right).sensitive === true) all.push(...SENSITIVE_PROBLEMS);
  // A path that is not valid percent-encoding is no address at all.
  if (params !== undefined) all.push('bad-request');
  if (params !== undefined || query !== undefined) all.push('invalid-parameter');
  if (body !== undefined) all.push(...BODY_PROBLEMS);
  if (body !== undefined && 'schema' in body) all.push('invalid-body');
  return [...new Set(all)];
}

/** @throws Error when two operations share an id or an address, or two schemas a name */
export function openApiDocument({ tags, ...info }: ApiInfo, operations: readonly Operation[]): OpenApiDocument {
  const schemas = new Map<string, JsonSchema>();
  const paths: OpenApiDocument['paths'] = {};
  const ids = new Set<string>();
  for (const operation of operations) {
    const { id, method } = operation;
    const path = operation.path.replaceAll('{+', '{');
    const at = (paths[path] ??= {});
    if (ids.has(id) || at[method] !== undefined) throw new Error(`${id} (${method} ${path}) is described twice`);
    ids.add(id);
    at[method] = operationObject(operation, (schema) => jsonSchema(schema, schemas));
  }
  return {
    openapi: '3.1.1',
    info,
    tags,
    paths,
    components: {
      schemas: Object.fromEntries([...schemas].toSorted(([a], [b]) => (a < b ? -1 : 1))),
      securitySchemes: {
        apiKey: {
          type: 'http',
          scheme: 'bearer',
          description:
            'An API key: kiff_live_<tenant>_<random>. Its scopes are ingest and read; or signer alone, for the program that holds the tenant’s key.',
        },
        session: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'JWT',
          description: 'A session token of Clerk, with the permission that the operation names.',
        },
      },
    },
  };
}

type Describe = (schema: z.ZodType) => JsonSchema;

function operationObject(operation: Operation, describe: Describe): OperationObject {
  const { id, tag, summary, description, path, access, params, query, body, answers, examples = {} } = operation;
  const slashed = [...path.matchAll(/\{\+(\w+)\}/g)].map(([, name]) => name);
  const parameters = [
    // OpenAPI has no word for it.
    ...parametersOf('path', params, describe, examples.params).map((parameter) =>
      slashed.includes(parameter['name'] as string) ? { ...parameter, 'x-may-hold-slashes': true } : parameter,
    ),
    ...parametersOf('query', query, describe, examples.query),
  ];
  const responses = Object.entries(answers).map(([status, answer]) => [status, responseOf(answer, describe)] as const);
  return {
    operationId: id,
    tags: [tag],
    summary,
    ...(description === undefined ? {} : { description }),
    security: securityOf(access),
    ...(parameters.length > 0 && { parameters }),
    ...(body && { requestBody: { required: true, content: contentOf(body, describe, examples.bodies) } }),
    responses: { ...problemResponses(operation, describe), ...Object.fromEntries(responses) },
  };
}

function securityOf(access: Access): Record<string, string[]>[] {
  if (access === null) return [];
  const { scope, permission } = ruleFor(access.right);
  return [
    ...(access.optional ? [{}] : []),
    ...apiKeysOf(scope),
    ...(permission === null ? [] : [{ session: permission === 'member' ? [] : [permission] }]),
  ];
}

/** Each scope that suffices is a way in of its own. */
function apiKeysOf(scope: ReturnType<typeof ruleFor>['scope']): { apiKey: string[] }[] {
  if (scope === null) return [];
  if (scope === 'any') return [{ apiKey: [] }];
  return [scope].flat().map((each) => ({ apiKey: [each] }));
}

function parametersOf(
  place: 'path' | 'query',
  shape: z.ZodObject | undefined,
  describe: Describe,
  examples: Record<string, string> = {},
): JsonSchema[] {
  return Object.entries(shape?.shape ?? {}).map(([name, schema]) => {
    const { description, ...rest } = describe(schema as z.ZodType);
    return {
      name,
      in: place,
      required: place === 'path' || !(schema as z.ZodType).safeParse(undefined).success,
      ...(description !== undefined && { description }),
      schema: rest,
      ...(examples[name] !== undefined && { example: examples[name] }),
    };
  });
}

function contentOf(
  body: NonNullable<Operation['body']>,
  describe: Describe,
  examples: readonly BodyExample[] = [],
): Record<string, MediaType> {
  const forms = 'schema' in body ? { 'application/json': { schema: body.schema, description: '' } } : body.streamed;
  return Object.fromEntries(
    Object.entries(forms).map(([type, { schema, description }]) => {
      const shown = examples.filter((example) => example.type === type);
      const described = describe(schema);
      return [
        type,
        {
          schema: description === '' ? described : { description, ...wrapped(described) },
          ...(shown.length > 0 && {
            examples: Object.fromEntries(
              shown.map((example, index) => [
                `example${index + 1}`,
                { summary: example.summary, value: 'text' in example ? example.text : example.value },
              ]),
            ),
          }),
        },
      ];
    }),
  );
}

/** A reference takes no description beside it that every reader would see. */
function wrapped(schema: JsonSchema): JsonSchema {
  return '$ref' in schema ? { allOf: [schema] } : schema;
}

function responseOf({ description, schema, type = 'application/json', lines, headers }: Answer, describe: Describe) {
  return {
    description,
    ...(headers && { headers: headersOf(headers) }),
    ...(schema && {
      content: {
        [type]: { schema: describe(schema) },
        ...(lines && { [NDJSON]: { schema: describe(lines) } }),
      },
    }),
  };
}

const RETRY = { 'Retry-After': 'Seconds.' };
const LIMITS = {
  'RateLimit-Policy': 'Each limit that applies: its quota q within a window of w seconds. Every answer has it.',
  RateLimit: 'What is left of each (r), and in how many seconds it is whole again (t). Every answer has it.',
};

function headersOf(headers: Record<string, string>): NonNullable<ResponseObject['headers']> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, says]) => [name, { description: says, schema: { type: 'string' } }]),
  );
}

function problemResponses(operation: OperationFacts, describe: Describe): Record<string, ResponseObject> {
  const byStatus = new Map<number, ProblemSlug[]>();
  for (const slug of problemsOf(operation)) {
    byStatus.set(problemStatus(slug), [...(byStatus.get(problemStatus(slug)) ?? []), slug]);
  }
  return Object.fromEntries(
    [...byStatus].map(([status, slugs]) => [
      String(status),
      {
        description: slugs.join(', '),
        ...((status === 429 || status === 503) && { headers: headersOf({ ...RETRY, ...(status === 429 && LIMITS) }) }),
        content: {
          'application/problem+json': { schema: describe(problemShape(slugs as [ProblemSlug, ...ProblemSlug[]])) },
        },
      },
    ]),
  );
}
