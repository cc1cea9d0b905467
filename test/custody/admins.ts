/**
 * Admins of a tenant, and what they leave with the custody API's login: real session tokens, real assertions of software passkeys. The rows
 * are written past that API, which would take only what is good: the signing plane must not believe it. Over HTTP people act in
 * local-people.ts.
 */
import { randomBytes } from 'node:crypto';
import { CUSTODY_APPROVAL, hashStruct, typedDigest } from '../../protocol/eip712.ts';
import { fromHex, toHex, type Hex } from '../../protocol/hex.ts';
import { CUSTODY_ORIGIN, type Plane } from '../activities/plane.ts';
import { randomUser, sessionToken, type TokenOptions } from '../api/session-tokens.ts';
import { until } from '../main-job/client.ts';
import { createPasskey, type SoftwarePasskey } from '../passkey.ts';
import type { TestTenant } from '../product-database.ts';

/** Milliseconds: a migration is answered when it has ended. */
const PATIENCE = 180_000;

export interface Admin {
  user: string;
  organisation: string;
  passkey: SoftwarePasskey;
}

export interface Wanted {
  custody: 1 | 2 | 3;
  keyArn?: string;
  /** The address of the tenant's own signer. */
  signer?: Hex;
  deleteOldKey?: boolean;
}

/** What became of a command. */
export interface Outcome {
  state: string;
  reason: string | null;
}

const newRef = (): string => randomBytes(12).toString('hex');

const token = ({ user, organisation }: Admin, options: TokenOptions = {}) =>
  sessionToken({ user, organisation, ...options });

export type Admins = ReturnType<typeof createAdmins>;

export function createAdmins(plane: Pick<Plane, 'database' | 'registry'>) {
  const { database } = plane;

  /** A row as the custody API inserts it. @returns the command's id */
  async function leave(tenant: TestTenant, kind: string, payload: object): Promise<number> {
    const client = await database.connect(tenant.custodyUrl);
    const full = { ref: newRef(), ...payload };
    await client.query('INSERT INTO kiff.commands (kind, payload) VALUES ($1, $2)', [kind, full]);
    await client.end();
    const [row] = await database.sql<{ id: number }>(`SELECT id FROM kiff.commands WHERE payload ->> 'ref' = $1`, [
      full.ref,
    ]);
    return row!.id;
  }

  async function join(tenant: TestTenant, organisation: string): Promise<Admin> {
    const admin = { user: randomUser(), organisation, passkey: createPasskey() };
    await database.sql(
      'INSERT INTO kiff.memberships (organisation, user_id, member, as_of) VALUES ($1, $2, true, clock_timestamp())',
      [organisation, admin.user],
    );
    await register(tenant, admin);
    return admin;
  }

  async function register(tenant: TestTenant, admin: Admin, options: TokenOptions = {}): Promise<number> {
    const challenge = randomBytes(32).toString('base64url');
    const registration = admin.passkey.register({ challenge, origin: CUSTODY_ORIGIN });
    return leave(tenant, 'custody.passkey', { token: token(admin, options), registration, challenge });
  }

  /** The digest that an approval of a migration is over, as its page shows it; nothing until the new signer is known. */
  async function digestOf(migrationId: string): Promise<Hex | undefined> {
    const [row] = await database.sql<{
      log_id: Buffer;
      new_signer: Buffer | null;
      custody: number;
      nonce: Buffer;
      approvals_expire_at: number;
    }>('SELECT log_id, new_signer, custody, nonce, approvals_expire_at FROM kiff.custody_migrations WHERE id = $1', [
      migrationId,
    ]);
    if (row?.new_signer == null) return undefined;
    const approval = {
      logId: toHex(row.log_id),
      newSigner: toHex(row.new_signer),
      custody: row.custody,
      nonce: toHex(row.nonce),
      expiresAt: row.approvals_expire_at,
    };
    const registry = { chainId: database.chainId, contract: plane.registry.address };
    return typedDigest(registry, hashStruct(CUSTODY_APPROVAL, approval));
  }

  /** Asks for a migration. @returns its id, and its command's */
  async function ask(
    tenant: TestTenant,
    admin: Admin,
    wanted: Wanted,
  ): Promise<{ migration: string; command: number }> {
    const ref = newRef();
    return { migration: ref, command: await leave(tenant, 'custody.start', { ref, token: token(admin), ...wanted }) };
  }

  /** What stands of a command now, if anybody has looked at it. */
  async function standing(ref: string): Promise<Outcome | undefined> {
    const [row] = await database.sql<Outcome>('SELECT state, reason FROM kiff.command_results WHERE ref = $1', [ref]);
    return row;
  }

  return {
    leave,
    token,
    register,
    ask,
    standing,
    /** An organisation of the tenant's with so many admins, each with a passkey. */
    async admins(tenant: TestTenant, count: number): Promise<Admin[]> {
      const organisation = await database.createOrganisation(tenant);
      return Promise.all(Array.from({ length: count }, () => join(tenant, organisation)));
    },
    /** Asks for a migration and opens it as the saga does. @returns its id */
    async start(tenant: TestTenant, admin: Admin, wanted: Wanted): Promise<string> {
      const { migration, command } = await ask(tenant, admin, wanted);
      await database.sql('SELECT kiff.open_custody_migration($1, $2)', [
        command,
        { approvals: 3_600, trialSeals: 2, handoverExpiry: 3_600, observation: 60, deletionWindow: 30 },
      ]);
      return migration;
    },
    /** The new signer, as the saga notes it. */
    async name(migrationId: string, { newSigner, keyRef }: { newSigner: Hex; keyRef: string | null }): Promise<void> {
      await database.sql('SELECT kiff.set_new_signer($1, $2, $3)', [
        migrationId,
        Buffer.from(fromHex(newSigner, 20)),
        keyRef,
      ]);
    },
    /** Approves once the new signer is known. @param digest what the passkey is asked to sign in place of the approval */
    async approve(tenant: TestTenant, admin: Admin, migration: string, digest?: Hex): Promise<number> {
      const over = digest ?? (await until(`the new signer of ${migration}`, () => digestOf(migration)));
      const challenge = Buffer.from(fromHex(over, 32)).toString('base64url');
      const assertion = admin.passkey.assert({ challenge, origin: CUSTODY_ORIGIN });
      return leave(tenant, 'custody.approve', { migration, token: token(admin), assertion });
    },
    /** @returns the command's id */
    remove: (tenant: TestTenant, by: Admin, passkey: string, options?: TokenOptions): Promise<number> =>
      leave(tenant, 'custody.passkey.remove', { token: token(by, options), passkey }),
    /** @returns the command's ref */
    async veto(tenant: TestTenant, admin: Admin, migration: string, kind: 'veto' | 'cancel' = 'veto'): Promise<string> {
      const ref = newRef();
      await leave(tenant, `custody.${kind}`, { ref, token: token(admin), migration });
      return ref;
    },
    async leaves({ user }: Admin): Promise<void> {
      await database.sql(
        'UPDATE kiff.memberships SET member = false, as_of = clock_timestamp(), changed_at = clock_timestamp() WHERE user_id = $1',
        [user],
      );
    },
    /** What became of a command, once that is said. @param ref the command's, or the migration's that it asked for */
    answer: (ref: string): Promise<Outcome> =>
      until(
        `an answer to ${ref}`,
        async () => {
          const stands = await standing(ref);
          return stands === undefined || stands.state === 'started' ? undefined : stands;
        },
        PATIENCE,
      ),
  };
}
