/** How an API process reads its environment: parsed once at start, every problem listed at once. */
import { z } from 'zod';
import type { Hex } from '../../protocol/hex.ts';

/** Hexadecimal bytes, with or without 0x. */
export const hexBytes = (least: number, most: number) =>
  z
    .string()
    .regex(/^(?:0x)?(?:[0-9a-fA-F]{2})+$/, 'must be hexadecimal')
    .transform((text) => Buffer.from(text.replace(/^0x/, ''), 'hex'))
    .refine((bytes) => bytes.length >= least && bytes.length <= most, {
      error: least === most ? `must be ${least} bytes` : `must be at least ${least} bytes`,
    });

export const integer = (least: number, most: number) =>
  z
    .string()
    .regex(/^\d{1,16}$/, 'must be a whole number')
    .transform(Number)
    .refine((value) => value >= least && value <= most, { error: `must be from ${least} to ${most}` });

/** Which registry's statements a process makes and shows: printed and compared, never called. */
export const registry = {
  CHAIN_ID: integer(1, Number.MAX_SAFE_INTEGER),
  /** The SealRegistry's address. */
  CONTRACT: z
    .string()
    .regex(/^0x[0-9a-fA-F]{40}$/, 'must be 0x and 40 hex digits')
    .transform((text) => text.toLowerCase() as Hex),
};

export const postgresUrl = z.string().regex(/^postgres(?:ql)?:\/\/\S+$/, 'must be a postgres:// URL');

/** The name under which the database was opened (docs/recovery.md). Whoever restores a backup gives another one. */
export const incarnation = z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/, 'must be up to 64 of a-z 0-9 -');

/** What Express takes as `trust proxy`. */
export type TrustProxy = false | number | string[];

/** Where a process listens, and how much it says: the same for every API. */
export const listening = {
  API_HOST: z.string().min(1).default('127.0.0.1'),
  /** 0: any free port. */
  API_PORT: integer(0, 65_535).default(8080),
  /**
   * Whose word on the client's address (X-Forwarded-For) is taken: nobody's unless said. A number of proxies in front, or
   * their addresses and networks with commas between. Nothing is decided by it; it is logged where a credential is refused.
   */
  TRUST_PROXY: z
    .string()
    .regex(
      /^(?:|[1-9]|[0-9a-fA-F:./]{2,50}(?:,[0-9a-fA-F:./]{2,50}){0,19})$/,
      'must be a number of proxies, or addresses and networks with commas between',
    )
    .transform((text) => (text === '' ? false : /^\d$/.test(text) ? Number(text) : text.split(',')))
    .default(false),
  LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
};

/**
 * @param process what is being started, for the message
 * @throws Error that lists every problem at once, by name, never with a value
 */
export function readEnv<T extends z.ZodType>(process: string, schema: T, env: NodeJS.ProcessEnv): z.output<T> {
  const parsed = schema.safeParse(env);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message, code }) => {
    const name = path.join('.');
    return `- ${name} ${code === 'invalid_type' && env[name] === undefined ? 'is missing' : message}`;
  });
  throw new Error(`${process} cannot start:\n${problems.join('\n')}`);
}
