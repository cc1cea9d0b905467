/** The local stack's secrets: made once, kept in the state folder with mode 0600, given to processes one by one. */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { LOGINS } from '../sql/roles.ts';

/** Made where it is missing: a state folder of an earlier version knows fewer. */
const secret = z.string().default(() => randomBytes(32).toString('hex'));

const schema = z.object({
  logins: z
    .object(
      Object.fromEntries(LOGINS.map((login) => [login, secret])) as Record<(typeof LOGINS)[number], typeof secret>,
    )
    .prefault({}),
  /** 32 bytes of hex each. */
  tenantLogin: secret,
  custodyLogin: secret,
  promiseKey: secret,
  kms: z.object({ signer: secret, relayer: secret, admin: secret, breakGlass: secret, tenant: secret }).prefault({}),
  kmsControl: secret,
  /** As Clerk writes it. */
  webhookSigning: z.string().default(() => `whsec_${randomBytes(32).toString('base64')}`),
});

export type Secrets = z.output<typeof schema>;

/** Reads the file, and makes what is not in it. */
export function loadSecrets(file: string): Secrets {
  const known = existsSync(file) ? readFileSync(file, 'utf8') : '{}';
  const secrets = schema.parse(JSON.parse(known));
  const text = `${JSON.stringify(secrets, null, 2)}\n`;
  if (text !== known) {
    writeFileSync(`${file}.new`, text, { mode: 0o600 });
    renameSync(`${file}.new`, file);
  }
  return secrets;
}
