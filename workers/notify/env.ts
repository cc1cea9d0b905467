/** What the notifier is given: its login, where links lead, and how mail leaves. */
import { z } from 'zod';
import { httpUrl, incarnation, LOG_LEVEL, postgresUrl, readEnv } from '../read-env.ts';

/** `smtp://` or `smtps://` with user and password, or `file:///folder`, where each mail becomes a file (development). */
const mailUrl = z
  .string()
  .regex(/^(smtps?:\/\/\S+|file:\/\/\/\S+)$/, 'must be an smtp://, smtps:// or file:/// URL')
  .refine((text) => URL.canParse(text), 'must be a URL');

export function readNotifyEnv(source: NodeJS.ProcessEnv = process.env) {
  return readEnv(
    z.object({
      /** The product database with the login kiff_notify. */
      DATABASE_URL: postgresUrl,
      KIFF_INCARNATION: incarnation,
      /** Where the veto server is found: scheme, host and port. */
      VETO_ORIGIN: httpUrl.transform((url) => new URL(url).origin),
      /** Where admins look at a migration. */
      CUSTODY_ORIGIN: httpUrl.transform((url) => new URL(url).origin),
      MAIL_URL: mailUrl,
      /** `Name <address>` that mail comes from. */
      MAIL_FROM: z.string().min(3).max(320),
      /** Local stacks only: webhooks may go to this machine, also over http. */
      WEBHOOKS_TO_LOOPBACK: z
        .enum(['true', 'false'])
        .default('false')
        .transform((text) => text === 'true'),
      LOG_LEVEL,
    }),
    source,
  );
}
