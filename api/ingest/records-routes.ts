/** /v1/records: posting records, reading one, and its receipt. */
import { Router, type RequestHandler, type Response } from 'express';
import type { Registry } from '../../protocol/eip712.ts';
import { parseEntry } from '../../protocol/entry.ts';
import type { KeyCaller } from '../access/caller.ts';
import { onlyMethods } from '../http/answer.ts';
import { Problem } from '../http/problems.ts';
import { judgeBody, receiveBody } from '../http/request-body.ts';
import type { Authenticate } from './authenticate.ts';
import type { Ingest } from './ingest.ts';
import type { LogIdentities } from './log-identity.ts';
import { answerLines, storeLines } from './post-lines.ts';
import { RECORD_ID } from './record.ts';
import { readPiece, RecordBytes } from './record-bytes.ts';
import { buildReceipt } from './receipt.ts';
import { coveringSeal, leafLevel } from './seals.ts';
import { findRecord, recordBytes, sealTerms } from './stored-record.ts';
import type { TenantPools } from '../http/tenant-pools.ts';

export interface RecordsDependencies {
  authenticate: Authenticate;
  pools: TenantPools;
  logIdentity: LogIdentities;
  ingest: Ingest;
  registry: Registry;
  /** Unix milliseconds. */
  now: () => number;
}

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
    .post(admit, async (request, response) => {
      const caller = response.locals['caller'] as KeyCaller;
      const { kind, encoding } = judgeBody(request);
      const chunks = receiveBody(request, encoding);
      if (kind === 'json') await postOne(caller, chunks, response);
      else await answerLines(await storeLines(chunks, (drafts) => ingest(caller, drafts), now), response);
    })
    .all(onlyMethods('POST'));

  async function postOne(caller: KeyCaller, chunks: AsyncIterable<Uint8Array>, response: Response): Promise<void> {
    const record = new RecordBytes();
    for await (const chunk of chunks) record.add(chunk);
    const [answer] = await ingest(caller, [readPiece(record.take(), now())]);
    if (answer === undefined || answer instanceof Problem) throw answer ?? new Error('ingest answered nothing');
    if (answer.status === 'accepted') response.status(201).location(`/v1/records/${answer.id}`);
    response.json(answer);
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
