/** /v1/records: posting records, reading one, and its receipt. */
import type { Response } from 'express';
import { z } from 'zod';
import type { Registry } from '../../protocol/eip712.ts';
import { parseEntry } from '../../protocol/entry.ts';
import { tlogProofOf } from '../../protocol/tlog-proof.ts';
import type { Caller, KeyCaller } from '../access/caller.ts';
import type { RateLimits } from '../access/limits.ts';
import { operation, reply, replyBytes, type Operation } from '../http/operation.ts';
import { Problem } from '../http/problems.ts';
import { judgeBody, receiveBody } from '../http/request-body.ts';
import { count, dateTime, hex, unixSeconds } from '../http/shapes.ts';
import type { AttributionsFor } from './attributions.ts';
import { recordAnswer, type Ingest } from './ingest.ts';
import type { LogIdentities } from './log-identity.ts';
import { ofLog } from './logs-routes.ts';
import { answerLines, lineAnswer, storeLines } from './post-lines.ts';
import { RECORD_ID, RECORD_ID_RULE, RECORD_PROBLEMS, recordShape, type RecordDraft } from './record.ts';
import { readPiece, RecordBytes, type RecordPiece } from './record-bytes.ts';
import { buildReceipt } from './receipt.ts';
import { receiptShape } from './receipt-shape.ts';
import type { Refusals } from './refusals.ts';
import { coveringSeal, leafLevel, levelShape } from './seals.ts';
import { findRecord, recordBytes, sealTerms } from './stored-record.ts';
import type { UsageCounts } from './usage-counts.ts';
import type { TenantPools } from '../http/tenant-pools.ts';

interface RecordsDependencies {
  pools: TenantPools;
  logIdentity: LogIdentities;
  ingest: Ingest;
  attributionsFor: AttributionsFor;
  refusals: Refusals;
  limits: RateLimits;
  usageCounts: UsageCounts;
  registry: Registry;
  /** Unix milliseconds. */
  now: () => number;
}

type Read = (piece: RecordPiece) => RecordDraft;

const byId = z.object({ id: z.string().regex(RECORD_ID, RECORD_ID_RULE) });

const storedRecord = z
  .object({
    id: z.string(),
    origin: z.string().describe('The log that it stands in'),
    level: levelShape,
    leafIndex: count,
    leafHash: hex(32),
    receivedAt: dateTime,
    sealBy: unixSeconds,
    key: z.string().describe('The API key that posted it; kiff for records that this service wrote itself'),
    entry: z.string().describe('The leaf, byte for byte'),
    record: recordShape.nullable().describe('The bytes that came in; null once erased'),
  })
  .meta({ id: 'StoredRecord' });

const pendingReceipt = z
  .object({ id: z.string(), level: levelShape, sealBy: unixSeconds })
  .meta({ id: 'PendingReceipt', description: 'There is a receipt from the level included on.' });

const ETAG = { ETag: 'Once the level is final; the answer changes from then on only if the record is erased.' };

const EXAMPLE = {
  id: 'audit-000001',
  kind: 'action_executed',
  entity_id: 'order-1',
  entity_type: 'order',
  created_at: '2026-01-02T03:04:05.678901234Z',
  actor_id: 'support-agent',
  data: { action: 'REFUND_ORDER', amount_cents: 500 },
};

export function recordsOperations({
  pools,
  logIdentity,
  ingest,
  attributionsFor,
  refusals,
  limits,
  usageCounts,
  registry,
  now,
}: RecordsDependencies): Operation[] {
  /** How records of this caller are read: with what is known of their actors now. */
  async function readerFor(caller: KeyCaller): Promise<Read> {
    const attributionOf = await attributionsFor(caller);
    return (piece) => readPiece(piece, now(), attributionOf);
  }

  async function postOne(caller: KeyCaller, chunks: AsyncIterable<Uint8Array>, read: Read, response: Response) {
    const record = new RecordBytes();
    for await (const chunk of chunks) record.add(chunk);
    limits.charge(caller, 1, response);
    const [answer] = await ingest(caller, [read(record.take())]);
    if (answer === undefined || answer instanceof Problem) throw answer ?? new Error('ingest answered nothing');
    return answer.status === 'accepted'
      ? reply(201, answer, { headers: { Location: `/v1/records/${answer.id}` } })
      : reply(200, answer);
  }

  async function postLines(caller: KeyCaller, chunks: AsyncIterable<Uint8Array>, read: Read, response: Response) {
    const store = (drafts: readonly RecordDraft[]) => {
      limits.charge(caller, drafts.length, response);
      return ingest(caller, drafts);
    };
    await answerLines(await storeLines(chunks, store, read), response);
    return 'sent' as const;
  }

  /** In the current log, else in the newest one of those that have ended; or in the one that is named. */
  async function lookUp(caller: Caller, id: string, ordinal: number | undefined) {
    const found = await pools.use(caller, async (pool) => {
      const { tenant } = caller;
      const logs =
        ordinal === undefined ? await logIdentity.all(pool, tenant) : [await logIdentity.one(pool, tenant, ordinal)];
      for (const log of logs) {
        const record = await findRecord(pool, log.schema, id);
        if (record === undefined) continue;
        const { period } = sealTerms(record.receivedAt.getTime(), log.periodSeconds);
        const seal = await coveringSeal(pool, log.schema, { leafIndex: record.leafIndex, period });
        return { log, record, seal };
      }
      return undefined;
    });
    if (found === undefined) throw await refusals.notFound(caller, 'record', id);
    return found;
  }

  /** The record's receipt, or how far the record has come while there is none. */
  async function receiptOf(caller: Caller, id: string, ordinal: number | undefined) {
    const { log, record, seal } = await lookUp(caller, id, ordinal);
    const receipt = seal && (await pools.use(caller, (pool) => buildReceipt(pool, log, registry, record, seal)));
    if (receipt !== undefined) usageCounts.receiptRead(caller);
    const { sealBy } = sealTerms(record.receivedAt.getTime(), log.periodSeconds);
    return { receipt, pending: { id: record.id, level: leafLevel(seal), sealBy } };
  }

  return [
    operation({
      id: 'postRecords',
      method: 'post',
      path: '/v1/records',
      tag: 'Records',
      summary: 'Append one record, or up to 1,000 as NDJSON, to the log.',
      description:
        'It is stored durably when it is answered, and the answer holds a signed promise by when a seal covers it. The same id with the same bytes is a duplicate and changes nothing, so any request may be repeated.\n\nOf NDJSON every line has its own fate. The status speaks for the whole body: unless it is 200, nothing is acknowledged, and what was stored all the same is a duplicate when it is sent again. Bodies may be compressed with gzip; 5 MiB at most, also as they come out.',
      access: { right: 'ingest' },
      body: {
        streamed: {
          'application/json': { schema: recordShape, description: 'One record.' },
          'application/x-ndjson': { schema: recordShape, description: 'One record per line.' },
        },
      },
      answers: {
        201: {
          description: 'Appended.',
          schema: recordAnswer,
          headers: { Location: 'Where the record can be read.' },
        },
        200: {
          description: 'It stood there already; or, of NDJSON, one line for each line that is not blank, in order.',
          schema: recordAnswer,
          lines: lineAnswer,
        },
      },
      problems: [...RECORD_PROBLEMS, 'too-many-records', 'overloaded', 'tenant-ended', 'log-frozen'],
      examples: {
        bodies: [
          { summary: 'One record', type: 'application/json', value: EXAMPLE },
          {
            summary: 'Two records',
            type: 'application/x-ndjson',
            text: [2, 3].map((at) => `${JSON.stringify({ ...EXAMPLE, id: `audit-00000${at}` })}\n`).join(''),
          },
        ],
      },
      async handle({ caller, request, response }) {
        // Judged before a byte of the body is read.
        const { kind, encoding } = judgeBody(request);
        const read = await readerFor(caller);
        const chunks = receiveBody(request, encoding);
        return kind === 'json'
          ? await postOne(caller, chunks, read, response)
          : await postLines(caller, chunks, read, response);
      },
    }),

    operation({
      id: 'getRecord',
      method: 'get',
      path: '/v1/records/{id}',
      tag: 'Records',
      summary: 'A record, and how far it has come.',
      access: { right: 'read' },
      params: byId,
      query: ofLog,
      answers: { 200: { description: 'The record stands in the log.', schema: storedRecord, headers: ETAG } },
      problems: ['not-found'],
      examples: { params: { id: EXAMPLE.id }, query: { log: '1' } },
      async handle({ caller, params, query }) {
        const { log, record, seal } = await lookUp(caller, params.id, query.log);
        const level = leafLevel(seal);
        const head = {
          id: record.id,
          origin: log.origin,
          level,
          leafIndex: record.leafIndex,
          leafHash: record.leafHash,
          receivedAt: record.receivedAt.toISOString(),
          sealBy: sealTerms(record.receivedAt.getTime(), log.periodSeconds).sealBy,
          key: parseEntry(record.entry).key,
          entry: record.entry,
        };
        // The record goes out as the bytes that came in: parsing and writing it again would change numbers.
        const bytes = record.disclosure === null ? Buffer.from('null') : recordBytes(record.disclosure);
        const opening = Buffer.from(`${JSON.stringify(head).slice(0, -1)},"record":`);
        return replyBytes(200, Buffer.concat([opening, bytes, Buffer.from('}')]), { immutable: level === 'final' });
      },
    }),

    operation({
      id: 'getReceipt',
      method: 'get',
      path: '/v1/records/{id}/receipt',
      tag: 'Records',
      summary: 'The record’s receipt: one file that proves it with nothing but the chain.',
      access: { right: 'read' },
      params: byId,
      query: ofLog,
      answers: {
        200: { description: 'From the level included on.', schema: receiptShape, headers: ETAG },
        202: { description: 'Not yet.', schema: pendingReceipt },
      },
      problems: ['not-found', 'log-damaged'],
      examples: { params: { id: EXAMPLE.id }, query: { log: '1' } },
      async handle({ caller, params, query }) {
        const { receipt, pending } = await receiptOf(caller, params.id, query.log);
        return receipt === undefined
          ? reply(202, pending)
          : reply(200, receipt, { immutable: receipt.anchor.level === 'final' });
      },
    }),

    operation({
      id: 'getTlogProof',
      method: 'get',
      path: '/v1/records/{id}/tlog-proof',
      tag: 'Records',
      summary: 'The receipt’s proof for transparency-log tools (c2sp.org/tlog-proof@v1).',
      description:
        'The leaf’s inclusion in the tree of a published checkpoint, with the entry as extra data. It proves less than the receipt: neither what the record says nor that the seal stands on chain. npx kiff tlog proof makes the same of a receipt.',
      access: { right: 'read' },
      params: byId,
      query: ofLog,
      answers: {
        200: { description: 'From the level included on.', type: 'text/plain', schema: z.string(), headers: ETAG },
        202: { description: 'Not yet.', schema: pendingReceipt },
      },
      problems: ['not-found', 'log-damaged'],
      examples: { params: { id: EXAMPLE.id }, query: { log: '1' } },
      async handle({ caller, params, query }) {
        const { receipt, pending } = await receiptOf(caller, params.id, query.log);
        if (receipt === undefined) return reply(202, pending);
        return replyBytes(200, Buffer.from(tlogProofOf(receipt)), {
          headers: { 'Content-Type': 'text/plain; charset=utf-8' },
          immutable: receipt.anchor.level === 'final',
        });
      },
    }),
  ];
}
