import { readEnv } from './env.ts';
import { startKms } from './server.ts';

try {
  const kms = await startKms(readEnv(process.env));
  // A terminal's Ctrl-C can arrive twice: stop() is idempotent, and exit() rather than a drained loop, because while Node winds down by itself
  // its signal handlers are gone already and a second signal would kill.
  const stop = (): void => void kms.stop().then(() => process.exit(0));
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  console.log(`kms listening on ${kms.url}`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
