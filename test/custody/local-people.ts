/** The same people and keys for a tenant of the local stack. */
import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { KMSClient } from '@aws-sdk/client-kms';
import { LOCAL_PARTY } from '../../dev/clerk.ts';
import { ACCESS_KEYS } from '../../dev/kms-roles.ts';
import type { LocalTenant } from '../../dev/tenant.ts';
import { custodyLogin } from '../../sql/login.ts';
import { PRODUCT } from '../../sql/prepare.ts';
import { sessionToken } from '../api/session-tokens.ts';
import type { LocalStack } from '../main-job/local-stack.ts';
import { createTenantKey, type TenantKey } from '../tenant-kms.ts';
import { createPeople, type People } from './people.ts';

export function localPeople(local: Pick<LocalStack, 'stack' | 'sql'>, tenant: LocalTenant): Promise<People> {
  const { around } = local.stack;
  const { user, password } = custodyLogin(Buffer.from(around.secrets.custodyLogin, 'hex'), tenant.id, 1);
  const url = new URL(around.superuserUrl);
  url.pathname = `/${PRODUCT}`;
  url.username = user;
  url.password = password;
  const signature = createPrivateKey(readFileSync(join(around.state, 'clerk.pem'), 'utf8'));
  return createPeople({
    tenantId: tenant.id,
    custodyUrl: url.href,
    sql: (text, values) => local.sql(text, values),
    registry: { chainId: around.chainId, contract: around.contract },
    origin: `http://localhost:${around.custodyPort}`,
    token: (of, organisation) => sessionToken({ user: of, organisation, signature, claims: { azp: LOCAL_PARTY } }),
  });
}

/** A key in the tenant's own account of the stand-in. */
export async function localTenantKey(local: Pick<LocalStack, 'stack'>, tenant: LocalTenant): Promise<TenantKey> {
  const { kms, secrets } = local.stack.around;
  const credentials = { accessKeyId: ACCESS_KEYS.tenant, secretAccessKey: secrets.kms.tenant };
  const owner = new KMSClient({ endpoint: kms.url, region: kms.region, credentials });
  return createTenantKey(owner, tenant.origin);
}
