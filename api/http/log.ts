/** Structured logs on stderr: event names and ids; never a body, a key, a token or a database's words about content. */
import pino, { type Logger } from 'pino';

export function createLog(level: string): Logger {
  return pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ fd: 2, sync: false, minLength: 0 }),
  );
}

/**
 * What of an error may be logged: its class, its code and where it was thrown. Messages stay out, since those of a
 * database or a parser may quote what they were given.
 */
export function errorFacts(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { error: typeof error };
  const code = 'code' in error && typeof error.code === 'string' ? { code: error.code } : {};
  const frames = error.stack?.split('\n').filter((line) => /^ {4}at /.test(line));
  return {
    error: error.name,
    ...code,
    ...(frames && frames.length > 0 && { at: frames.slice(0, 5).map((line) => line.trim()) }),
    ...(error.cause === undefined ? {} : { cause: errorFacts(error.cause) }),
  };
}
