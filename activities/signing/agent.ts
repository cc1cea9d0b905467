/**
 * A tenant's own signer (custody `tenant-agent`), which fetches what it is asked for (design section 7). A request is a row of the
 * product database, an answer a command of the tenant's; neither is believed: what counts is a signature that recovers to the signer
 * over the digest that is built here.
 *
 * Crash boundaries: the statement is journaled before it is asked for, so whoever comes next asks for exactly that, and finds the same
 * request. An answer is journaled by the caller before the request is closed; after a crash between the two it is found in the journal
 * and the request is closed then.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Pool } from 'pg';
import { z } from 'zod';
import { hashStruct, typedDigest, type Registry, type Seal, type StructType } from '../../protocol/eip712.ts';
import { fromHex, type Hex } from '../../protocol/hex.ts';
import { recoverSigner, SignatureError } from '../../protocol/signature.ts';
import { typedData } from '../../protocol/typed-data.ts';
import { failure, type Alert } from '../failures.ts';
import type { Statement } from './journal.ts';

/** Seconds without a look for work after which a signer counts as away: it may be busy with what it was asked for. */
const AWAY_AFTER_SECONDS = 40;
/** Milliseconds: how long a signer that is there is waited for at once, and how often is looked. */
const WAIT = 20_000;
const LOOK = 200;

interface AgentDependencies {
  /** The product database, with the signing login. */
  pool: Pool;
  registry: Registry;
  alert: Alert;
}

/** What is asked for. */
export interface Question<T extends { readonly logId: Hex } = { readonly logId: Hex }> {
  tenantId: string;
  kind: 'seal' | 'shadow' | 'proof' | 'handover' | 'accept' | 'cancel';
  /** Null of a seal. */
  migrationId: string | null;
  signer: Hex;
  type: StructType<T>;
  statement: T;
  /** Of a seal. */
  seq?: number;
  /** What the signer's program gets beyond what all kinds have. */
  about: Readonly<Record<string, unknown>>;
}

export interface Asked {
  id: string;
  digest: Hex;
  question: Pick<Question, 'tenantId' | 'signer'>;
}

/** What answers say; who may have written one is the database's word, whether it is good is judged here. */
const answerShape = z.union([z.object({ signature: z.string().max(1024) }), z.object({ declined: z.string() })]);

/** What a request says of a seal: the statement without its log, and the seal before it. */
export function aboutSeal({ seal, epoch }: Statement, before: Statement | null): Question['about'] {
  const previous = before && { treeSize: before.seal.treeSize, root: before.seal.root, sealHash: before.sealHash };
  return { seal: { epoch, ...withoutLog(seal) }, previous };
}

/** A seal as requests show it: its log stands beside it. */
export function withoutLog({ seq, period, treeSize, root, prev }: Seal): Omit<Seal, 'logId'> {
  return { seq, period, treeSize, root, prev };
}

const bytes = (hex: Hex): Buffer => Buffer.from(fromHex(hex));

export function createAgent({ pool, registry, alert }: AgentDependencies) {
  /** Leaves a request for the tenant's signer; the same one however often. */
  async function ask<T extends { readonly logId: Hex }>(question: Question<T>): Promise<Asked> {
    const { tenantId, kind, migrationId, signer, type, statement, seq, about } = question;
    const structHash = hashStruct(type, statement);
    const digest = typedDigest(registry, structHash);
    const request = {
      logId: statement.logId,
      registry,
      signer,
      typedData: typedData(registry, type, statement),
      digest,
      ...about,
    };
    const { rows } = await pool.query<{ id: string }>(
      'SELECT kiff.ask_signer($1, $2, $3, $4, $5, $6, $7, $8, $9) AS id',
      [
        tenantId,
        bytes(statement.logId),
        kind,
        migrationId,
        bytes(signer),
        bytes(structHash),
        bytes(digest),
        seq ?? null,
        JSON.stringify(request),
      ],
    );
    return { id: rows[0]!.id, digest, question: { tenantId, signer } };
  }

  /**
   * The first good answer, or null. Others are refused with a word that the signer's program shows (fault C8).
   * @throws failure signer-declined
   */
  async function answerTo({ id, digest, question }: Asked): Promise<Hex | null> {
    const { tenantId, signer } = question;
    const { rows } = await pool.query<{ command: number; payload: unknown }>('SELECT * FROM kiff.signer_answers($1)', [
      id,
    ]);
    for (const { command, payload } of rows) {
      const answer = answerShape.safeParse(payload).data;
      if (answer !== undefined && 'declined' in answer) {
        await pool.query('SELECT kiff.refuse_signer_answer($1, NULL)', [command]);
        alert('signer-declined', { tenantId });
        throw failure('signer-declined');
      }
      const fault = answer === undefined ? 'malformed' : signatureFault(digest, answer.signature, signer);
      if (answer !== undefined && fault === null) return answer.signature as Hex;
      await pool.query('SELECT kiff.refuse_signer_answer($1, $2)', [command, fault]);
      alert('signer-answer-refused', { tenantId });
    }
    return null;
  }

  /** Whether the signer has looked for work just now: a hint, for nothing is known of it. */
  async function isThere(tenantId: string, withinSeconds = AWAY_AFTER_SECONDS): Promise<boolean> {
    const { rows } = await pool.query<{ there: boolean }>('SELECT kiff.signer_is_there($1, $2) AS there', [
      tenantId,
      withinSeconds,
    ]);
    return rows[0]?.there === true;
  }

  return {
    ask,
    isThere,
    /** The signature is in the journal: nothing more is asked. */
    async close({ id }: Asked): Promise<void> {
      await pool.query('SELECT kiff.close_signer_request($1)', [id]);
    },
    /**
     * Waits for the answer, as long as the signer is there, for some seconds.
     * @returns a signature that recovers to the signer; the caller journals it, and closes the request
     * @throws failure signer-absent, signer-declined
     */
    async waitFor(asked: Asked): Promise<Hex> {
      const until = Date.now() + WAIT;
      for (;;) {
        const signature = await answerTo(asked);
        if (signature !== null) return signature;
        if (Date.now() >= until || !(await isThere(asked.question.tenantId))) throw failure('signer-absent');
        await delay(LOOK);
      }
    },
  };
}

/** A fixed word for what is wrong with a signature, or null. */
function signatureFault(digest: Hex, signature: string, signer: Hex): 'bad-signature' | 'wrong-signer' | null {
  try {
    return recoverSigner(digest, signature) === signer ? null : 'wrong-signer';
  } catch (error) {
    if (error instanceof SignatureError) return 'bad-signature';
    throw error;
  }
}
