/** /v1/records: posting records, reading one, and its receipt. */
import { Router, type RequestHandler, type Response } from 'express';
import type { Registry } from '../../protocol/eip712.ts';
import { parseEntry } from '../../protocol/entry.ts';
import { onlyMethods } from './answer.ts';
import type { Authenticate, Caller } from './authenticate.ts';
import type { Ingest, RecordAnswer } from './ingest.ts';
import type { LogIdentities } from './log-identity.ts';
import { ndjsonLines } from './ndjson.ts';
import { Problem, type ProblemDocument } from './problems.ts';
import { readRecord, RECORD_ID, type RecordDraft } from './record.ts';
import { buildReceipt } from './receipt.ts';
import { bodyBytes, judgeBody, readBody } from './request-body.ts';
import { coveringSeal, leafLevel } from './seals.ts';
import { findRecord, recordBytes, sealTerms } from './stored-record.ts';
import type { TenantPools } from './tenant-pools.ts';

const MAX_RECORDS_PER_REQUEST = 1_000;

export interface RecordsDependencies {
  authenticate: Authenticate;
  pools: TenantPools;
  logIdentity: LogIdentities;
  ingest: Ingest;
  registry: Registry;
  /** Unix milliseconds. */
  now: () => number;
}

/** One line of the answer to NDJSON; `line` counts from 1, blank lines included. */
type LineAnswer =
  ({ line: number } & RecordAnswer) | { line: number; id?: string; status: 'rejected'; problem: ProblemDocument };

export function recordsRoutes({
  authenticate,
  pools,
  logIdentity,
  ingest,
  registry,
  now,
}: RecordsDependencies): Router {
  const router = Router();

  /** Who asks and what the body may be is settled before a byte of it is read. */
  const admit: RequestHandler = async (request, response, next) => {
    response.locals['caller'] = await authenticate(request.get('authorization'), 'ingest');
    judgeBody(request);
    next();
  };

  router
    .route('/v1/records')
    .post(admit, readBody, async (request, response) => {
      const caller = response.locals['caller'] as Caller;
      const body = bodyBytes(request);
      if (judgeBody(request) === 'json') await postOne(caller, body, response);
      else await postLines(caller, body, response);
    })
    .all(onlyMethods('POST'));

  async function postOne(caller: Caller, body: Uint8Array, response: Response): Promise<void> {
    const [answer] = await ingest(caller, [readRecord(body, now())]);
    if (answer === undefined || answer instanceof Problem) throw answer ?? new Error('ingest answered nothing');
    if (answer.status === 'accepted') response.status(201).location(`/v1/records/${answer.id}`);
    response.json(answer);
  }

  /** Every line has its own fate: a bad one takes no other with it. */
  async function postLines(caller: Caller, body: Uint8Array, response: Response): Promise<void> {
    const lines = [...ndjsonLines(body)];
    if (lines.length === 0) throw new Problem('empty-body', 'The body holds no record.');
    if (lines.length > MAX_RECORDS_PER_REQUEST) {
      const detail = `One request may carry ${MAX_RECORDS_PER_REQUEST} records; this one has ${lines.length}.`;
      throw new Problem('too-many-records', detail);
    }

    const time = now();
    const judged = lines.map(({ line, bytes }) => ({ line, draft: draftOf(bytes, time) }));
    const drafts = judged
      .map(({ draft }) => draft)
      .filter((draft): draft is RecordDraft => !(draft instanceof Problem));
    const answers = drafts.length === 0 ? [] : await ingest(caller, drafts);

    let next = 0;
    const items = judged.map(({ line, draft }): LineAnswer => {
      if (draft instanceof Problem) return { line, status: 'rejected', problem: draft.document() };
      const answer = answers[next++]!;
      if (answer instanceof Problem) return { line, id: draft.id, status: 'rejected', problem: answer.document() };
      return { line, ...answer };
    });
    response.type('application/x-ndjson').send(items.map((item) => `${JSON.stringify(item)}\n`).join(''));
  }

  router
    .route('/v1/records/:id')
    .get(async (request, response) => {
      const { log, record, seal } = await lookUp(request.get('authorization'), request.params.id, response);
      const head = {
        id: record.id,
        level: leafLevel(seal),
        leafIndex: record.leafIndex,
        leafHash: record.leafHash,
        receivedAt: record.receivedAt.toISOString(),
        sealBy: sealTerms(record.receivedAt, log.periodSeconds).sealBy,
        key: parseEntry(record.entry).key,
        entry: record.entry,
      };
      // The record goes out as the bytes that came in: parsing and writing it again would change numbers.
      const bytes = record.disclosure === null ? Buffer.from('null') : recordBytes(record.disclosure);
      const opening = Buffer.from(`${JSON.stringify(head).slice(0, -1)},"record":`);
      response.type('application/json').send(Buffer.concat([opening, bytes, Buffer.from('}')]));
    })
    .all(onlyMethods('GET', 'HEAD'));

  router
    .route('/v1/records/:id/receipt')
    .get(async (request, response) => {
      const { caller, log, record, seal } = await lookUp(request.get('authorization'), request.params.id, response);
      const receipt = seal && (await pools.use(caller, (pool) => buildReceipt(pool, log, registry, record, seal)));
      if (receipt !== undefined) {
        response.json(receipt);
        return;
      }
      const { sealBy } = sealTerms(record.receivedAt, log.periodSeconds);
      response.status(202).json({ id: record.id, level: leafLevel(seal), sealBy });
    })
    .all(onlyMethods('GET', 'HEAD'));

  async function lookUp(authorization: string | undefined, id: string, response: Response) {
    const caller = await authenticate(authorization, 'read');
    response.locals['caller'] = caller;
    if (!RECORD_ID.test(id)) {
      throw new Problem('invalid-parameter', 'A record id is 1 to 128 of the characters A-Z a-z 0-9 . _ : -');
    }
    return pools.use(caller, async (pool) => {
      const log = await logIdentity(pool, caller.tenant);
      const record = await findRecord(pool, caller.tenant, id);
      if (record === undefined) throw new Problem('not-found', 'This log has no record with that id.');
      const { period } = sealTerms(record.receivedAt, log.periodSeconds);
      const seal = await coveringSeal(pool, caller.tenant, { leafIndex: record.leafIndex, period });
      return { caller, log, record, seal };
    });
  }

  return router;
}

function draftOf(bytes: Uint8Array, time: number): RecordDraft | Problem {
  try {
    return readRecord(bytes, time);
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
}
