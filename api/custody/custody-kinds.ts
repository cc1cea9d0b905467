/** Kinds of custody: as statements number them, as people name them, and what each means for whoever chooses it. */
import { z } from 'zod';

export type Custody = 1 | 2 | 3;

const CUSTODY_NAMES = ['cloud', 'tenant-kms', 'tenant-agent'] as const;
export type CustodyName = (typeof CUSTODY_NAMES)[number];

export const custodyName = z.enum(CUSTODY_NAMES);

/** Said where it is chosen and where it is approved. */
export const MEANINGS: Readonly<Record<CustodyName, string>> = {
  cloud:
    'The key is ours: a fresh key in our own key service, which we alone can sign with. You trust us with it, as you did at the beginning.',
  'tenant-kms':
    'The key is yours, in your own AWS account. We call it, so we can sign with it until you revoke it: every use stands in your CloudTrail, and you can end it at any moment. While it refuses, your records are accepted and wait for their seals.',
  'tenant-agent':
    'The key is with a signer that you run. We can never sign with it. While it is away, your records are accepted and wait for their seals.',
};

export function nameOf(custody: number): CustodyName {
  const name = CUSTODY_NAMES[custody - 1];
  if (name === undefined) throw new RangeError('there is no such custody');
  return name;
}

export function custodyOf(name: CustodyName): Custody {
  return (CUSTODY_NAMES.indexOf(name) + 1) as Custody;
}
