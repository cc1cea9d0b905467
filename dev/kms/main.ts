import { readEnv } from './env.ts';
import { startKms } from './server.ts';

try {
  const kms = await startKms(readEnv(process.env));
  // A terminal's Ctrl-C can arrive twice; stop() is idempotent, and nothing keeps the process alive after it.
  const stop = (): void => void kms.stop();
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  console.log(`kms listening on ${kms.url}`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
