/**
 * A tenant's admins, as the signing plane hears of them: what they do is a row of kiff.commands, written with the tenant's custody login, with
 * a session token and a passkey's answer of that moment. The custody API, which would write these rows, has tests of its own.
 */
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { CUSTODY_APPROVAL, hashStruct, typedDigest, type Registry } from '../../protocol/eip712.ts';
import { fromHex, toHex } from '../../protocol/hex.ts';
import { randomUser } from '../api/session-tokens.ts';
import { until } from '../main-job/client.ts';
import { createPasskey, type SoftwarePasskey } from '../passkey.ts';

/** Milliseconds: a migration is answered when it has ended. */
const PATIENCE = 180_000;

export interface Admin {
  user: string;
  passkey: SoftwarePasskey;
}

export interface Surroundings {
  tenantId: string;
  /** Of the tenant's custody login. */
  custodyUrl: string;
  /** As superuser in the product database. */
  sql: <Row extends pg.QueryResultRow>(text: string, values?: unknown[]) => Promise<Row[]>;
  registry: Registry;
  /** Where the custody API is served. */
  origin: string;
  /** A session token of the user in the organisation, with fresh second factor. */
  token: (user: string, organisation: string) => string;
}

export interface Answer {
  state: string;
  reason: string | null;
}

export interface People {
  /** A new admin whose passkey is registered and taken. */
  admin(): Promise<Admin>;
  /** Asks for a migration. @returns its id */
  start(by: Admin, ask: { custody: 1 | 2; keyArn?: string; deleteOldKey?: boolean }): Promise<string>;
  /** Approves once the new signer is known. @returns the command's ref */
  approve(by: Admin, migration: string): Promise<string>;
  veto(by: Admin, migration: string, kind?: 'veto' | 'cancel'): Promise<string>;
  leaves(admin: Admin): Promise<unknown>;
  /** What became of a command, once that is said. */
  answer(ref: string): Promise<Answer>;
  /** What stands of a command now. */
  standing(ref: string): Promise<Answer | undefined>;
  stop(): Promise<void>;
}

export async function createPeople(around: Surroundings): Promise<People> {
  const { tenantId, sql, registry, origin } = around;
  const client = new pg.Client({ connectionString: around.custodyUrl });
  client.on('error', () => undefined);
  await client.connect();
  const organisation = `org_${tenantId}`;
  await sql('INSERT INTO kiff.organisations (id, tenant) VALUES ($1, $2) ON CONFLICT DO NOTHING', [
    organisation,
    tenantId,
  ]);

  async function command(kind: string, payload: Record<string, unknown>): Promise<string> {
    const ref = randomUUID();
    await client.query('INSERT INTO kiff.commands (kind, payload) VALUES ($1, $2)', [
      `custody.${kind}`,
      JSON.stringify({ ref, ...payload }),
    ]);
    return ref;
  }
  const token = ({ user }: Admin): string => around.token(user, organisation);

  async function standing(ref: string): Promise<Answer | undefined> {
    const { rows } = await client.query<Answer>('SELECT state, reason FROM kiff.command_results WHERE ref = $1', [ref]);
    return rows[0];
  }
  const answer = (ref: string): Promise<Answer> =>
    until(
      `an answer to ${ref}`,
      async () => {
        const stands = await standing(ref);
        return stands === undefined || stands.state === 'started' ? undefined : stands;
      },
      PATIENCE,
    );

  return {
    async admin() {
      const made = { user: randomUser(), passkey: createPasskey() };
      await sql(
        `INSERT INTO kiff.memberships (organisation, user_id, member, as_of) VALUES ($1, $2, true, now() - interval '1 hour')`,
        [organisation, made.user],
      );
      const challenge = Buffer.from(randomUUID()).toString('base64url');
      const ref = await command('passkey', {
        token: token(made),
        challenge,
        registration: made.passkey.register({ challenge, origin }),
      });
      const { state, reason } = await answer(ref);
      if (state !== 'done') throw new Error(`the passkey was not taken: ${reason}`);
      return made;
    },
    start: (by, ask) => command('start', { token: token(by), ...ask }),
    async approve(by, migration) {
      const row = await until(`the new signer of ${migration}`, async () => {
        const [found] = await sql<{
          log_id: Buffer;
          new_signer: Buffer | null;
          custody: number;
          nonce: Buffer;
          approvals_expire_at: string;
        }>('SELECT * FROM kiff.custody_migrations WHERE id = $1', [migration]);
        return found?.new_signer == null ? undefined : { ...found, new_signer: found.new_signer };
      });
      const approval = {
        logId: toHex(row.log_id),
        newSigner: toHex(row.new_signer),
        custody: row.custody,
        nonce: toHex(row.nonce),
        expiresAt: Number(row.approvals_expire_at),
      };
      const digest = fromHex(typedDigest(registry, hashStruct(CUSTODY_APPROVAL, approval)), 32);
      const challenge = Buffer.from(digest).toString('base64url');
      return command('approve', {
        token: token(by),
        migration,
        assertion: by.passkey.assert({ challenge, origin }),
      });
    },
    veto: (by, migration, kind = 'veto') => command(kind, { token: token(by), migration }),
    leaves: ({ user }) =>
      sql('UPDATE kiff.memberships SET member = false, as_of = now(), changed_at = now() WHERE user_id = $1', [user]),
    answer,
    standing,
    stop: () => client.end(),
  };
}
