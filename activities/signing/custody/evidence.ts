/**
 * Human evidence: what a tenant's admins left through the custody API, each piece judged against the moment at which the database took
 * it in (design section 7, fault C13). Nobody's word is taken for it, and least of all the custody API's: it can insert whatever it
 * likes, but not make a passkey's assertion, nor a session token, nor a passkey that is older than it is. Past 10 KB because the kinds of
 * evidence are judged by each other and are read together.
 */
import pg, { type Pool } from 'pg';
import type { AuthenticationResponseJSON, RegistrationResponseJSON, WebAuthnCredential } from '@simplewebauthn/server';
import { z } from 'zod';
import { CUSTODY_APPROVAL, hashStruct, typedDigest, type Registry } from '../../../protocol/eip712.ts';
import type { PasskeyApproval } from '../../../protocol/certificate.ts';
import { toHex, type Hex } from '../../../protocol/hex.ts';
import { failure } from '../../failures.ts';
import type { Migration } from './migration.ts';
import { asserts, registeredPasskey } from './passkey.ts';
import type { JudgeSession, SessionEvidence, SessionRefusal } from './session.ts';

export type EvidenceRefusal =
  | SessionRefusal
  | 'malformed'
  | 'not-a-member'
  | 'passkey-malformed'
  | 'passkey-known-already'
  | 'passkey-unknown'
  | 'passkey-removed'
  | 'passkey-too-young'
  | 'migration-unknown'
  | 'migration-ended'
  | 'approvals-closed'
  | 'assertion-invalid';

export type Verdict = { ok: true; kind: string; migration: string | null } | { ok: false; reason: EvidenceRefusal };

export interface EvidenceDependencies {
  /** The product database, with the signing login. */
  pool: Pool;
  registry: Registry;
  judgeSession: JudgeSession;
  /** Where the custody API is served: the origin of passkeys, its host name their RP ID. */
  custodyOrigin: string;
  /** Younger passkeys do not count; a day, but on local stacks. */
  passkeyMinAgeSeconds: number;
}

interface Evidence {
  id: number;
  kind: string;
  payload: unknown;
  issued_at: Date;
}

/** What all of an admin's acts have. */
const act = z.object({ token: z.string().max(8192) });
const passkeyAct = z.object({
  token: z.string().max(8192),
  challenge: z.string().min(22).max(128),
  registration: z.looseObject({ id: z.string().min(1).max(1400) }),
});
const removalAct = z.object({ token: z.string().max(8192), passkey: z.string().min(1).max(1400) });
const approvalAct = z.object({
  token: z.string().max(8192),
  migration: z.string(),
  assertion: z.looseObject({ id: z.string().min(1).max(1400) }),
});
const assertionResponse = z.object({
  authenticatorData: z.string(),
  clientDataJSON: z.string(),
  signature: z.string(),
});
const aboutMigration = z.object({ token: z.string().max(8192), migration: z.string() });

interface Passkey {
  credential: WebAuthnCredential;
  userId: string;
  /** By the database's clock, and by Clerk's: neither alone can make it look older. Unix seconds. */
  arrivedAt: number;
  issuedAt: number;
}

/** SQLSTATE check_violation. */
const CHECK_VIOLATION = '23514';

const seconds = (at: Date): number => at.getTime() / 1000;

export function createEvidence(deps: EvidenceDependencies) {
  const { pool, registry, judgeSession, passkeyMinAgeSeconds } = deps;
  const party = { origin: deps.custodyOrigin };

  async function evidence(tenantId: string, kinds: readonly string[]): Promise<Evidence[]> {
    const { rows } = await pool.query<Evidence>(
      'SELECT id, kind, payload, issued_at FROM kiff.custody_evidence($1, $2) ORDER BY id',
      [tenantId, kinds],
    );
    return rows;
  }

  async function asked(question: string, ...values: unknown[]): Promise<boolean> {
    const { rows } = await pool.query<{ yes: boolean }>(`SELECT ${question} AS yes`, values);
    return rows[0]?.yes === true;
  }

  /** Who did this, by the session token of that moment; of this tenant's organisation, and of it still (fault C11). */
  async function person(
    tenantId: string,
    token: string,
    at: Date,
  ): Promise<SessionEvidence | { refused: EvidenceRefusal }> {
    const session = await judgeSession(token, at);
    if ('refused' in session) return session;
    if (!(await asked('kiff.is_organisation_of($1, $2)', tenantId, session.organisation))) {
      return { refused: 'token-other-organisation' };
    }
    if (!(await asked('kiff.is_member($1, $2)', tenantId, session.userId))) return { refused: 'not-a-member' };
    return session;
  }

  /** A passkey's registration: under two factors that were verified just before. */
  async function passkeyOf(
    tenantId: string,
    { payload, issued_at }: Evidence,
  ): Promise<Passkey | { refused: EvidenceRefusal }> {
    const parsed = passkeyAct.safeParse(payload);
    if (!parsed.success) return { refused: 'malformed' };
    const { token, registration, challenge } = parsed.data;
    const session = await person(tenantId, token, issued_at);
    if ('refused' in session) return session;
    if (!session.freshTwoFactor) return { refused: 'not-two-factor' };
    const credential = await registeredPasskey(party, registration as unknown as RegistrationResponseJSON, challenge);
    if (credential === null) return { refused: 'passkey-malformed' };
    return { credential, userId: session.userId, arrivedAt: seconds(issued_at), issuedAt: session.issuedAt };
  }

  /**
   * A passkey taken away, by its owner or another admin, under two fresh factors. Judged by its moment alone: who removed another's
   * passkey and left since has not given it back.
   */
  async function removalOf(
    tenantId: string,
    { payload, issued_at }: Evidence,
  ): Promise<{ credentialId: string } | { refused: EvidenceRefusal }> {
    const parsed = removalAct.safeParse(payload);
    if (!parsed.success) return { refused: 'malformed' };
    const session = await judgeSession(parsed.data.token, issued_at);
    if ('refused' in session) return session;
    if (!(await asked('kiff.is_organisation_of($1, $2)', tenantId, session.organisation))) {
      return { refused: 'token-other-organisation' };
    }
    if (!session.freshTwoFactor) return { refused: 'not-two-factor' };
    return { credentialId: parsed.data.passkey };
  }

  /**
   * The credential with this id as it was first registered. Whoever registers it once more changes nothing, and one that was removed
   * never counts again.
   * @param all registrations and removals
   */
  async function passkeyWith(
    tenantId: string,
    credentialId: string,
    all: readonly Evidence[],
  ): Promise<Passkey | { refused: EvidenceRefusal }> {
    let refused: EvidenceRefusal = 'passkey-unknown';
    for (const row of all) {
      if (row.kind !== REMOVAL) continue;
      const removal = await removalOf(tenantId, row);
      if (!('refused' in removal) && removal.credentialId === credentialId) return { refused: 'passkey-removed' };
    }
    for (const row of all) {
      const parsed = passkeyAct.safeParse(row.payload);
      if (row.kind !== REGISTRATION || !parsed.success || parsed.data.registration.id !== credentialId) continue;
      const passkey = await passkeyOf(tenantId, row);
      if (!('refused' in passkey)) return passkey;
      refused = passkey.refused;
    }
    return { refused };
  }

  /** The digest that an approval's assertion is over; it names the new signer. */
  function approvalDigest({ log, newSigner, custody, nonce, approvalsExpireAt }: Migration & { newSigner: Hex }): Hex {
    const approval = { logId: log.logId, newSigner, custody, nonce, expiresAt: approvalsExpireAt };
    return typedDigest(registry, hashStruct(CUSTODY_APPROVAL, approval));
  }

  async function judgeApproval(
    migration: Migration,
    row: Evidence,
    passkeys: readonly Evidence[],
  ): Promise<{ userId: string; credentialId: string } | { refused: EvidenceRefusal }> {
    const { newSigner, approvalsExpireAt, log } = migration;
    const parsed = approvalAct.safeParse(row.payload);
    if (!parsed.success) return { refused: 'malformed' };
    const { token, assertion } = parsed.data;
    if (parsed.data.migration !== migration.id || newSigner === null) return { refused: 'migration-unknown' };
    if (seconds(row.issued_at) > approvalsExpireAt) return { refused: 'approvals-closed' };
    const session = await person(log.tenantId, token, row.issued_at);
    if ('refused' in session) return session;
    const passkey = await passkeyWith(log.tenantId, assertion.id, passkeys);
    if ('refused' in passkey) return passkey;
    if (passkey.userId !== session.userId) return { refused: 'passkey-unknown' };
    const age = Math.min(seconds(row.issued_at) - passkey.arrivedAt, session.issuedAt - passkey.issuedAt);
    if (age < passkeyMinAgeSeconds) return { refused: 'passkey-too-young' };
    const digest = approvalDigest({ ...migration, newSigner });
    const over = await asserts(party, passkey.credential, assertion as unknown as AuthenticationResponseJSON, digest);
    return over ? { userId: session.userId, credentialId: passkey.credential.id } : { refused: 'assertion-invalid' };
  }

  /** Whom to tell is believed from here on, and of nobody else's word. False when it is no address. */
  async function keptContact(commandId: number, userId: string): Promise<boolean> {
    try {
      await pool.query('SELECT kiff.keep_custody_contact($1, $2)', [commandId, userId]);
      return true;
    } catch (error) {
      if (error instanceof pg.DatabaseError && error.code === CHECK_VIOLATION) return false;
      throw error;
    }
  }

  /** A link's veto is of the migration that its notice was about; it says nothing of a later one. */
  async function judgeLink(tenantId: string): Promise<Verdict> {
    const { rows } = await pool.query<{ id: string }>(
      'SELECT id FROM kiff.custody_migrations WHERE tenant = $1 AND ended_at IS NULL',
      [tenantId],
    );
    const active = rows[0]?.id;
    if (active === undefined || !(await asked('kiff.vetoed_by_link($1)', active))) {
      return { ok: false, reason: 'migration-ended' };
    }
    return { ok: true, kind: 'custody.veto', migration: active };
  }

  return {
    /** Different admins whose approvals of this migration are good now, and the commands that show it. */
    async approvals(migration: Migration): Promise<{ admins: number; commandIds: number[] }> {
      const all = await evidence(migration.log.tenantId, ['custody.approve', ...PASSKEYS]);
      const passkeys = all.filter(({ kind }) => PASSKEYS.includes(kind));
      const users = new Set<string>();
      const credentials = new Set<string>();
      const commandIds: number[] = [];
      for (const row of all) {
        if (row.kind !== 'custody.approve' || !isAbout(row, migration.id)) continue;
        const approval = await judgeApproval(migration, row, passkeys);
        // One person with two passkeys is one, and so is one passkey that two persons have.
        if ('refused' in approval || users.has(approval.userId) || credentials.has(approval.credentialId)) continue;
        users.add(approval.userId);
        credentials.add(approval.credentialId);
        commandIds.push(row.id);
      }
      return { admins: users.size, commandIds };
    },

    /**
     * The public part of approvals that were good when they counted, for a certificate: whoever has left since did approve then.
     * @param commandIds as `approvals` gave them
     */
    async publicParts(
      migration: Migration,
      commandIds: readonly number[],
    ): Promise<{ approval: PasskeyApproval; arrivedAt: number }[]> {
      const all = await evidence(migration.log.tenantId, ['custody.approve', REGISTRATION]);
      const parts: { approval: PasskeyApproval; arrivedAt: number }[] = [];
      for (const row of all) {
        if (row.kind !== 'custody.approve' || !commandIds.includes(row.id) || !isAbout(row, migration.id)) continue;
        const approval = approvalAct.safeParse(row.payload);
        const response = approval.success
          ? assertionResponse.safeParse(approval.data.assertion['response'])
          : undefined;
        if (approval.data === undefined || response?.data === undefined) continue;
        const { id } = approval.data.assertion;
        for (const { kind, payload } of all) {
          const passkey = passkeyAct.safeParse(payload);
          if (kind !== REGISTRATION || passkey.data === undefined || passkey.data.registration.id !== id) continue;
          const { registration, challenge } = passkey.data;
          const known = await registeredPasskey(party, registration as unknown as RegistrationResponseJSON, challenge);
          if (known === null) continue;
          parts.push({
            approval: {
              credentialId: id,
              publicKey: toHex(known.publicKey),
              authenticatorData: toHex(Buffer.from(response.data.authenticatorData, 'base64url')),
              clientDataJSON: Buffer.from(response.data.clientDataJSON, 'base64url').toString('utf8'),
              signature: toHex(Buffer.from(response.data.signature, 'base64url')),
            },
            arrivedAt: Math.floor(seconds(row.issued_at)),
          });
          break;
        }
      }
      return parts;
    },

    /** Whether somebody who may has said no to this migration. */
    async isStopped(migration: Migration): Promise<boolean> {
      // The veto server has a login of its own, and a link that it was sent with a notice can be used once.
      if (migration.stopped || (await asked('kiff.vetoed_by_link($1)', migration.id))) return true;
      for (const row of await evidence(migration.log.tenantId, ['custody.veto', 'custody.cancel'])) {
        const parsed = aboutMigration.safeParse(row.payload);
        if (!parsed.success || parsed.data.migration !== migration.id) continue;
        if (!('refused' in (await person(migration.log.tenantId, parsed.data.token, row.issued_at)))) return true;
      }
      return false;
    },

    /** Judges one command by itself. Of kinds that carry a signer's signature only the form: those the signer checks where it uses them. */
    async judge(
      tenantId: string,
      commandId: number,
      migrationOf: (id: string) => Promise<Migration | null>,
    ): Promise<Verdict> {
      const all = await evidence(tenantId, KINDS);
      const row = all.find(({ id }) => id === commandId);
      if (row === undefined) {
        if (await asked('kiff.is_link_veto($1)', commandId)) return judgeLink(tenantId);
        throw failure('custody-refused');
      }
      const about = aboutMigration.pick({ migration: true }).safeParse(row.payload);
      const migration = about.success ? about.data.migration : null;
      const verdict = (judged: object): Verdict =>
        'refused' in judged
          ? { ok: false, reason: judged.refused as EvidenceRefusal }
          : { ok: true, kind: row.kind, migration };
      const passkeys = all.filter(({ kind }) => PASSKEYS.includes(kind));
      const earlier = passkeys.filter(({ id }) => id < row.id);
      if (row.kind === REGISTRATION) {
        const parsed = passkeyAct.safeParse(row.payload);
        if (parsed.success) {
          const known = await passkeyWith(tenantId, parsed.data.registration.id, earlier);
          if (!('refused' in known) || known.refused === 'passkey-removed') {
            return { ok: false, reason: 'passkey-known-already' };
          }
        }
        return verdict(await passkeyOf(tenantId, row));
      }
      if (row.kind === REMOVAL) {
        const removal = await removalOf(tenantId, row);
        if ('refused' in removal) return verdict(removal);
        const known = await passkeyWith(tenantId, removal.credentialId, earlier);
        // One that does not count for another reason can be removed as well: whoever left may come back.
        const gone = 'refused' in known && ['passkey-unknown', 'passkey-removed'].includes(known.refused);
        return verdict(gone ? known : removal);
      }
      if (NEEDS_MIGRATION.includes(row.kind)) {
        const found = migration === null ? null : await migrationOf(migration);
        if (found === null) return { ok: false, reason: 'migration-unknown' };
        if (found.stopped) return { ok: false, reason: 'migration-ended' };
        if (row.kind === 'custody.approve') {
          return verdict(await judgeApproval(found, row, passkeys));
        }
      }
      const parsed = act.safeParse(row.payload);
      if (!parsed.success) return { ok: false, reason: 'malformed' };
      const by = await person(tenantId, parsed.data.token, row.issued_at);
      if (row.kind === 'custody.contact' && !('refused' in by) && !(await keptContact(row.id, by.userId))) {
        return { ok: false, reason: 'malformed' };
      }
      return verdict(by);
    },
  };
}

const REGISTRATION = 'custody.passkey';
const REMOVAL = 'custody.passkey.remove';
const PASSKEYS: readonly string[] = [REGISTRATION, REMOVAL];

/** Kinds of the custody API that carry a person's session token. */
const KINDS = [...PASSKEYS, 'custody.contact', 'custody.start', 'custody.approve', 'custody.veto', 'custody.cancel'];
const NEEDS_MIGRATION = ['custody.approve', 'custody.veto', 'custody.cancel'];

function isAbout({ payload }: Evidence, migrationId: string): boolean {
  const parsed = aboutMigration.pick({ migration: true }).safeParse(payload);
  return parsed.success && parsed.data.migration === migrationId;
}
