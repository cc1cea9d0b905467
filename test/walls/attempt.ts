/** One act tried with one credential: what docs/walls.md has a row for. */
import type { KMSClient } from '@aws-sdk/client-kms';
import type pg from 'pg';
import type { LocalTenant } from '../../dev/tenant.ts';
import type { LocalStack } from '../main-job/local-stack.ts';

/** What attempts are made on: a running stack, and two tenants of it. */
export interface Ground {
  local: LocalStack;
  tenant: LocalTenant;
  other: LocalTenant;
  /** A connection with a credential's own login. */
  database: (credential: string) => Promise<pg.Client>;
  kms: (role: 'signer' | 'relayer' | 'admin' | 'breakGlass') => KMSClient;
}

export interface Attempt {
  /** Of design section 3. */
  wall: 1 | 2 | 3 | 4;
  /** Whose credential it is made with. */
  from: string;
  /** What is tried, as it stands in the table. */
  act: string;
  may: boolean;
  /** @throws Refused when the wall says no; anything else is a fault of the test */
  run: (ground: Ground) => Promise<void>;
}

/** The wall said no, in the way that it has to. */
export class Refused extends Error {
  override readonly name = 'Refused';
}
