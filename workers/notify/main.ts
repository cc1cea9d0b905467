/** The notifier: sends notices about custody by mail and webhook, and can do nothing else. SIGTERM and SIGINT stop it. */
import { createPool } from '../../activities/database.ts';
import { createAlert, createLog } from '../log.ts';
import { start } from '../run.ts';
import { startDelivering } from './deliver.ts';
import { readNotifyEnv } from './env.ts';
import { createMailSender } from './mail.ts';

const env = readNotifyEnv();
const log = createLog('notify', env.LOG_LEVEL);

start(log, async () => {
  const pool = createPool(env.DATABASE_URL, 4, { schema: 'kiff', name: env.KIFF_INCARNATION });
  const mail = createMailSender(env.MAIL_URL, env.MAIL_FROM);
  try {
    // A database that is not ours ends the start.
    await pool.query('SELECT');
    const delivering = startDelivering({
      pool,
      mail,
      vetoOrigin: env.VETO_ORIGIN,
      custodyOrigin: env.CUSTODY_ORIGIN,
      allowLoopback: env.WEBHOOKS_TO_LOOPBACK,
      log,
      alert: createAlert(log),
    });
    log.info('ready');
    await new Promise<void>((resolve) => {
      process.once('SIGTERM', () => resolve()).once('SIGINT', () => resolve());
    });
    await delivering.stop();
  } finally {
    mail.close();
    await pool.end();
  }
});
