/** The local stack's secrets: made once, kept in the state folder with mode 0600, given to processes one by one. */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { LOGINS } from '../sql/roles.ts';

const schema = z.object({
  logins: z.record(z.enum(LOGINS), z.string()),
  /** 32 bytes of hex each. */
  tenantLogin: z.string(),
  promiseKey: z.string(),
  kms: z.record(z.enum(['signer', 'relayer', 'admin', 'breakGlass']), z.string()),
  kmsControl: z.string(),
  /** As Clerk writes it: `whsec_` and base64. */
  webhookSigning: z.string(),
});

const secret = (): string => randomBytes(32).toString('hex');

export type Secrets = z.output<typeof schema>;

/** Reads the file, and makes it, or what an older version did not have in it. */
export function loadSecrets(file: string): Secrets {
  const known = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Partial<Secrets>) : {};
  const made: Secrets = {
    logins: Object.fromEntries(LOGINS.map((login) => [login, secret()])) as Secrets['logins'],
    tenantLogin: secret(),
    promiseKey: secret(),
    kms: { signer: secret(), relayer: secret(), admin: secret(), breakGlass: secret() },
    kmsControl: secret(),
    webhookSigning: `whsec_${randomBytes(32).toString('base64')}`,
  };
  const secrets = schema.parse({ ...made, ...known, logins: { ...made.logins, ...known.logins } });
  writeFileSync(`${file}.new`, `${JSON.stringify(secrets, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${file}.new`, file);
  return secrets;
}
