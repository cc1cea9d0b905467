/** Who asks, as the directory knew it within the last seconds: an API key or a person, of one tenant. */

import type { Limits } from './limits.ts';

interface OfTenant {
  tenant: string;
  loginVersion: number;
  /** The key's or the user's id: who stands in logs and in the audit trail. */
  by: string;
}

export interface KeyCaller extends OfTenant {
  keyId: string;
  limits: { tenant: Limits; key: Limits };
  scopes: readonly string[];
  /** `kiff.tenants.links_version`: the tenant's wallet links changed when it does. */
  linksVersion: number;
  /** Which of its logs the tenant writes to; null while it has none. */
  logOrdinal: number | null;
  userId?: undefined;
}

export interface UserCaller extends OfTenant {
  limits: { tenant: Limits };
  /** Clerk's id of the person. */
  userId: string;
  /** The origin that the session token was issued to: one of ours. */
  party: string;
  /** Whether the person may manage keys, and with them speak for all actors of the tenant. */
  managesKeys: boolean;
  keyId?: undefined;
}

export type Caller = KeyCaller | UserCaller;
