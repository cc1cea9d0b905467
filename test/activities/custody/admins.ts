/** Admins of a tenant, and what they leave through the custody API's login: real session tokens, real assertions of software passkeys. */
import { randomBytes } from 'node:crypto';
import { CUSTODY_APPROVAL, hashStruct, typedDigest } from '../../../protocol/eip712.ts';
import { fromHex, toHex, type Hex } from '../../../protocol/hex.ts';
import { randomUser, sessionToken, type TokenOptions } from '../../api/session-tokens.ts';
import { createPasskey, type SoftwarePasskey } from '../../passkey.ts';
import type { TestTenant } from '../../product-database.ts';
import { CUSTODY_ORIGIN, type Plane } from '../plane.ts';

export interface Admin {
  user: string;
  organisation: string;
  passkey: SoftwarePasskey;
}

const token = ({ user, organisation }: Admin, options: TokenOptions = {}) =>
  sessionToken({ user, organisation, ...options });

/** What saga and API would have begun for a tenant, with the evidence that admins leave. */
export function createAdmins(plane: Plane) {
  const { database } = plane;

  /** A row as the custody API inserts it. @returns the command's id */
  async function leave(tenant: TestTenant, kind: string, payload: object): Promise<number> {
    const client = await database.connect(tenant.custodyUrl);
    const full = { ref: randomBytes(12).toString('hex'), ...payload };
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

  /** The digest that an approval of a migration is over, as its page shows it. */
  async function approvalDigest(migrationId: string): Promise<Hex> {
    const [row] = await database.sql<{
      log_id: Buffer;
      new_signer: Buffer;
      custody: number;
      nonce: Buffer;
      approvals_expire_at: number;
    }>('SELECT log_id, new_signer, custody, nonce, approvals_expire_at FROM kiff.custody_migrations WHERE id = $1', [
      migrationId,
    ]);
    const approval = {
      logId: toHex(row!.log_id),
      newSigner: toHex(row!.new_signer),
      custody: row!.custody,
      nonce: toHex(row!.nonce),
      expiresAt: row!.approvals_expire_at,
    };
    const registry = { chainId: database.chainId, contract: plane.registry.address };
    return typedDigest(registry, hashStruct(CUSTODY_APPROVAL, approval));
  }

  return {
    leave,
    token,
    register,
    join,
    approvalDigest,
    /** An organisation of the tenant's with so many admins, each with a passkey. */
    async admins(tenant: TestTenant, count: number): Promise<Admin[]> {
      const organisation = await database.createOrganisation(tenant);
      return Promise.all(Array.from({ length: count }, () => join(tenant, organisation)));
    },
    /** Asks for a migration and opens it as the saga does. @returns its id */
    async start(
      tenant: TestTenant,
      admin: Admin,
      wanted: { custody: 1 | 2; keyArn?: string },
      policy: object = {},
    ): Promise<string> {
      const ref = randomBytes(12).toString('hex');
      const command = await leave(tenant, 'custody.start', { ref, token: token(admin), ...wanted });
      await database.sql('SELECT kiff.open_custody_migration($1, $2)', [
        command,
        { approvals: 3_600, trialSeals: 2, handoverExpiry: 3_600, observation: 60, deletionWindow: 30, ...policy },
      ]);
      return ref;
    },
    /** The new signer, as the saga notes it. */
    async name(migrationId: string, { newSigner, keyRef }: { newSigner: Hex; keyRef: string }): Promise<void> {
      await database.sql('SELECT kiff.set_new_signer($1, $2, $3)', [
        migrationId,
        Buffer.from(fromHex(newSigner, 20)),
        keyRef,
      ]);
    },
    /** @param digest what the passkey is asked to sign, unless it is the migration's approval */
    async approve(tenant: TestTenant, admin: Admin, migration: string, digest?: Hex): Promise<number> {
      const over = digest ?? (await approvalDigest(migration));
      const challenge = Buffer.from(fromHex(over, 32)).toString('base64url');
      const assertion = admin.passkey.assert({ challenge, origin: CUSTODY_ORIGIN });
      return leave(tenant, 'custody.approve', { migration, token: token(admin), assertion });
    },
  };
}
