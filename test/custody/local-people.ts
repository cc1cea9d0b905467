/**
 * A tenant's admins on the local stack. Clerk says that they are members, and what they do goes over HTTP to the custody API, with the
 * calls of its page and of `kiff custody`. While the API is down they try again, as people do.
 */
import { createPrivateKey, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { KMSClient } from '@aws-sdk/client-kms';
import { createCustodyApi, Unreachable } from '../../cli/custody-api.ts';
import { LOCAL_PARTY, localOrganisation } from '../../dev/clerk.ts';
import { ACCESS_KEYS } from '../../dev/kms-roles.ts';
import { custodyOrigin } from '../../dev/processes.ts';
import type { Stack } from '../../dev/stack.ts';
import type { LocalTenant } from '../../dev/tenant.ts';
import type { Hex } from '../../protocol/hex.ts';
import { randomUser, sessionToken } from '../api/session-tokens.ts';
import { deliverTo, membershipEvent } from '../api/webhooks-app.ts';
import { until } from '../main-job/client.ts';
import { createPasskey, type SoftwarePasskey } from '../passkey.ts';
import { createTenantKey, type TenantKey } from '../tenant-kms.ts';

export interface LocalAdmin {
  user: string;
  passkey: SoftwarePasskey;
}

/** What a migration's page shows, of what is looked at here. */
export interface MigrationSeen {
  state: 'requested' | 'active' | 'undoing' | 'completed' | 'undone';
  reason: string | null;
  newSigner: Hex | null;
  approval: { challenge: string } | null;
  approvals: { user: string; state: string }[];
  certificate: object | null;
}

export interface LocalPeople {
  /** Of the custody API. */
  url: string;
  /** A new admin whose passkey is registered and verified. */
  admin(): Promise<LocalAdmin>;
  /** A session token of now, both factors fresh. */
  token(of: LocalAdmin): string;
  /** Asks for a migration. @returns its id */
  start(by: LocalAdmin, ask: { custody: 'cloud' } | { custody: 'tenant-kms'; keyArn: string }): Promise<string>;
  /** The migration that is under way, as soon as there is one. */
  current(by: LocalAdmin): Promise<string>;
  /** Approves as soon as the new signer is known. */
  approve(by: LocalAdmin, migration: string): Promise<void>;
  veto(by: LocalAdmin, migration: string): Promise<void>;
  see(by: LocalAdmin, migration: string): Promise<MigrationSeen>;
  /** Waits for its end, and asks as often as `kiff custody watch` does. @throws Error when it was undone */
  completed(by: LocalAdmin, migration: string): Promise<void>;
}

/** Milliseconds: a migration takes minutes where periods are long or processes are killed. */
const PATIENCE = 180_000;

export function localPeople({ around }: Pick<Stack, 'around'>, tenant: LocalTenant): LocalPeople {
  const origin = custodyOrigin(around);
  const url = `http://127.0.0.1:${around.custodyPort}`;
  const organisation = localOrganisation(tenant.id);
  const signature: KeyObject = createPrivateKey(readFileSync(join(around.state, 'clerk.pem'), 'utf8'));
  const token = ({ user }: LocalAdmin): string =>
    sessionToken({ user, organisation, signature, claims: { azp: LOCAL_PARTY } });

  function ask<T>(by: LocalAdmin, method: 'GET' | 'POST', path: string, body?: object): Promise<T> {
    return until(
      'an answer of the custody API',
      async () => {
        try {
          const api = createCustodyApi({ url, token: token(by), tokenCommand: undefined });
          return (await api(method, path, body)) as T;
        } catch (error) {
          if (error instanceof Unreachable) return undefined;
          throw error;
        }
      },
      PATIENCE,
    );
  }

  const see = (by: LocalAdmin, migration: string) =>
    ask<MigrationSeen>(by, 'GET', `/v1/custody/migrations/${migration}`);

  return {
    url,
    token,
    see,
    async admin() {
      const made = { user: randomUser(), passkey: createPasskey() };
      const webhooks = `http://127.0.0.1:${around.webhooksPort}`;
      const event = membershipEvent('created', organisation, made.user, Date.now());
      const { status, text } = await deliverTo(webhooks, around.secrets.webhookSigning, event);
      if (status !== 200) throw new Error(`the membership was not taken: ${text}`);
      const passkeys = '/v1/custody/passkeys';
      const { challenge } = await ask<{ challenge: string }>(made, 'POST', `${passkeys}/options`);
      const registration = made.passkey.register({ challenge, origin });
      const { result } = await ask<{ result: string }>(made, 'POST', passkeys, { challenge, registration });
      await until('the passkey to be verified', async () => {
        const { state } = await ask<{ state: string }>(made, 'GET', result);
        return state === 'done' ? true : undefined;
      });
      return made;
    },
    veto: async (by, migration) => void (await ask(by, 'POST', `/v1/custody/migrations/${migration}/veto`)),
    start: async (by, wanted) => (await ask<{ ref: string }>(by, 'POST', '/v1/custody/migrations', wanted)).ref,
    current: (by) =>
      until('a migration', async () => {
        const { migration } = await ask<{ migration: string | null }>(by, 'GET', '/v1/custody');
        return migration ?? undefined;
      }),
    completed: (by, migration) =>
      until(
        'the migration to end',
        async () => {
          const { state, reason } = await see(by, migration);
          if (state === 'undone') throw new Error(`the migration was undone: ${reason}`);
          return state === 'completed' ? true : undefined;
        },
        PATIENCE,
        1_000,
      ).then(() => undefined),
    async approve(by, migration) {
      const path = `/v1/custody/migrations/${migration}/approve`;
      await until(
        `${by.user} to have approved`,
        async () => {
          // Whose answer was lost with the API finds here that it was taken.
          const { approval, approvals } = await see(by, migration);
          if (approvals.some(({ user }) => user === by.user)) return true;
          if (approval === null) return undefined;
          const { challenge } = await ask<{ challenge: string }>(by, 'POST', `${path}/options`);
          if (challenge !== approval.challenge) throw new Error('it asks to sign something else than it shows');
          await ask(by, 'POST', path, { assertion: by.passkey.assert({ challenge, origin }) });
          return undefined;
        },
        PATIENCE,
      );
    },
  };
}

/** A key in the tenant's own account of the stand-in. */
export async function localTenantKey({ around }: Pick<Stack, 'around'>, tenant: LocalTenant): Promise<TenantKey> {
  const { kms, secrets } = around;
  const credentials = { accessKeyId: ACCESS_KEYS.tenant, secretAccessKey: secrets.kms.tenant };
  const owner = new KMSClient({ endpoint: kms.url, region: kms.region, credentials });
  return createTenantKey(owner, tenant.origin);
}
