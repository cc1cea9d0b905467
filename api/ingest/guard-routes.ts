/**
 * /v1/guard: where the guard SDKs of KIFF report that they run, and what they see. Connects and observations are audit
 * facts: each becomes a record in the tenant's log, written by this service around the exact words of the request.
 */
import { createHash, randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { KeyCaller } from '../access/caller.ts';
import type { RateLimits } from '../access/limits.ts';
import { operation, reply, type Operation } from '../http/operation.ts';
import { Problem } from '../http/problems.ts';
import { count, dateTime } from '../http/shapes.ts';
import type { TenantPools } from '../http/tenant-pools.ts';
import type { AttributionsFor } from './attributions.ts';
import { listRuntimes, seeRuntime, type Runtime } from './guard-runtimes.ts';
import { recordAnswer, type Ingest } from './ingest.ts';
import { RECORD_PROBLEMS, readRecord } from './record.ts';

interface GuardDependencies {
  pools: TenantPools;
  ingest: Ingest;
  attributionsFor: AttributionsFor;
  limits: RateLimits;
  /** Unix milliseconds. */
  now: () => number;
}

const TAG = 'Clients of KIFF';

/** A record of ours has no faults of form, but its request may be nested too deep or be too long. */
const PROBLEMS = [...RECORD_PROBLEMS, 'overloaded', 'tenant-ended', 'log-frozen'] as const;

/** Key id in the entries of records that this service writes itself (design section 2). */
const OWN_KEY = 'kiff';

/** The record around it takes some bytes more, and has 64 KiB. */
const MAX_BODY_BYTES = 60 * 1024;

/** As the SDKs send it every so often while they run. */
const HEARTBEAT = '60s';

const name = z.string().max(256);
/** An empty one means the same as none: the SDKs of different versions do either. */
const named = (otherwise: string) => name.optional().transform((text) => text || otherwise);

const guard = {
  agent_id: name.optional().describe('Whom it guards; the API key’s id unless given'),
  adapter: name.min(1, 'must not be empty').describe('The agent framework that it is part of'),
  mode: z.enum(['observe', 'enforce']),
  project: named('default'),
  environment: named('dev'),
  workflow: named('default'),
  sdk_version: named(''),
};

const tool = z.looseObject({
  name: name.min(1, 'must not be empty'),
  description: z.string().optional(),
  parameter_schema: z.record(z.string(), z.unknown()).optional(),
  entity_arg: z.string().optional(),
  action: z.string().optional(),
  entity_type: z.string().optional(),
  required: z.array(z.string()).optional(),
  observed_call_count: count.optional(),
});

const connectBody = z.object(guard).meta({ id: 'GuardConnect' });
const observationBody = z.object({ ...guard, tools: z.array(tool).max(1_000) }).meta({ id: 'GuardObservations' });

const place = {
  tenant_id: z.string(),
  project: z.string(),
  environment: z.string(),
  agent_id: z.string(),
  workflow: z.string(),
};
const record = recordAnswer.describe('The record that this became');

const connection = z
  .object({
    ...place,
    runtime_id: z.string(),
    heartbeat_interval: z.string().describe('How often to connect again'),
    adapter: z.string(),
    mode: z.string(),
    sdk_version: z.string(),
    first_seen_at: dateTime,
    last_seen_at: dateTime,
    seen_count: count,
    record,
  })
  .meta({ id: 'GuardConnection' });

const observed = z
  .object({
    observation: z.object({ ...place, tools: z.array(tool), observed_at: dateTime, updated_at: dateTime }),
    record,
  })
  .meta({ id: 'GuardObserved' });

const runtimes = z.object({
  runtimes: z.array(
    z
      .object({
        runtime_id: z.string(),
        agent_id: z.string(),
        adapter: z.string(),
        mode: z.string(),
        project: z.string(),
        environment: z.string(),
        last_seen_at: dateTime,
        seen_count: count,
      })
      .meta({ id: 'GuardRuntime' }),
  ),
});

const CONNECT = { agent_id: 'support-agent', adapter: 'agno', mode: 'observe', project: 'shop', environment: 'prod' };

export function guardOperations({ pools, ingest, attributionsFor, limits, now }: GuardDependencies): Operation[] {
  /** Appends one record of ours that holds the request's JSON as it came. */
  async function append(caller: KeyCaller, kind: string, runtime: Runtime, request: string) {
    const { runtime_id, agent_id, project, environment, workflow } = runtime;
    const data = JSON.stringify({ api_key: caller.keyId, project, environment, workflow }).slice(0, -1);
    const head = JSON.stringify({
      id: `${kind}:${randomUUID()}`,
      kind,
      entity_id: runtime_id,
      entity_type: 'guard_runtime',
      actor_id: agent_id,
      created_at: new Date(now()).toISOString(),
    }).slice(0, -1);
    const text = `${head},"data":${data},"request":${request}}}`;
    const draft = readRecord(Buffer.from(text), now(), await attributionsFor(caller));
    const [answer] = await ingest({ ...caller, keyId: OWN_KEY }, [draft]);
    if (answer === undefined || answer instanceof Problem) throw answer ?? new Error('ingest answered nothing');
    return answer;
  }

  return [
    operation({
      id: 'connectGuard',
      method: 'post',
      path: '/v1/guard/connect',
      tag: TAG,
      summary: 'A guard reports that it runs, at its start and every minute.',
      description: 'Each call becomes a record of kind guard_connected in the log.',
      access: { right: 'ingest' },
      body: { schema: connectBody, maxBytes: MAX_BODY_BYTES },
      answers: { 200: { description: 'It is known, and in the log.', schema: connection } },
      problems: PROBLEMS,
      examples: { bodies: [{ summary: 'A guard in observe mode', type: 'application/json', value: CONNECT }] },
      async handle({ caller, body, bodyText, response }) {
        const runtime = runtimeOf(caller, body);
        limits.charge(caller, 1, response);
        const answer = await append(caller, 'guard_connected', runtime, bodyText);
        const seen = await pools.use(caller, (pool) => seeRuntime(pool, runtime));
        const connected = {
          ...runtime,
          ...seen,
          tenant_id: caller.tenant,
          heartbeat_interval: HEARTBEAT,
          record: answer,
        };
        return reply(200, connected);
      },
    }),

    operation({
      id: 'postGuardObservations',
      method: 'post',
      path: '/v1/guard/observations',
      tag: TAG,
      summary: 'A guard reports the tools that its agent was seen to call.',
      description: 'Each call becomes a record of kind guard_observed in the log. Nothing is derived from it.',
      access: { right: 'ingest' },
      body: { schema: observationBody, maxBytes: MAX_BODY_BYTES },
      answers: { 200: { description: 'It is in the log.', schema: observed } },
      problems: PROBLEMS,
      examples: {
        bodies: [
          {
            summary: 'One tool, called twice',
            type: 'application/json',
            value: {
              ...CONNECT,
              tools: [
                {
                  name: 'refund_order',
                  parameter_schema: { type: 'object', properties: { order_id: {} } },
                  observed_call_count: 2,
                },
              ],
            },
          },
        ],
      },
      async handle({ caller, body, bodyText, response }) {
        const runtime = runtimeOf(caller, body);
        limits.charge(caller, 1, response);
        const answer = await append(caller, 'guard_observed', runtime, bodyText);
        const { project, environment, agent_id, workflow } = runtime;
        const at = { observed_at: answer.receivedAt, updated_at: answer.receivedAt };
        const observation = {
          tenant_id: caller.tenant,
          project,
          environment,
          agent_id,
          workflow,
          tools: body.tools,
          ...at,
        };
        return reply(200, { observation, record: answer });
      },
    }),

    operation({
      id: 'listGuardRuntimes',
      method: 'get',
      path: '/v1/guard/runtimes',
      tag: TAG,
      summary: 'The guards that have connected, last seen first; at most 1,000.',
      access: { right: 'read' },
      answers: { 200: { description: 'The guards.', schema: runtimes } },
      handle: async ({ caller }) => reply(200, { runtimes: await pools.use(caller, listRuntimes) }),
    }),
  ];
}

/** A guard is known by where it runs; its adapter, mode and version may change. */
function runtimeOf(
  { tenant, keyId }: KeyCaller,
  { agent_id, adapter, mode, project, environment, workflow, sdk_version }: z.output<typeof connectBody>,
): Runtime {
  // Nobody is named: the key is all that is known of who it is.
  const agent = agent_id || keyId;
  const known = createHash('sha256').update(JSON.stringify([tenant, project, environment, agent, workflow]));
  const runtime_id = `rt_${known.digest('hex').slice(0, 24)}`;
  return { runtime_id, agent_id: agent, adapter, mode, project, environment, workflow, sdk_version };
}
