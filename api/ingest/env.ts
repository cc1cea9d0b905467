/** Configuration of the ingest API. Nothing else in this process reads the environment. */
import { z } from 'zod';
import type { Hex } from '../../protocol/hex.ts';
import { authorizedParties, clerkJwtKey } from '../access/clerk-settings.ts';

const hexBytes = (least: number, most: number) =>
  z
    .string()
    .regex(/^(?:0x)?(?:[0-9a-fA-F]{2})+$/, 'must be hexadecimal')
    .transform((text) => Buffer.from(text.replace(/^0x/, ''), 'hex'))
    .refine((bytes) => bytes.length >= least && bytes.length <= most, {
      error: least === most ? `must be ${least} bytes` : `must be at least ${least} bytes`,
    });

const integer = (least: number, most: number) =>
  z
    .string()
    .regex(/^\d{1,16}$/, 'must be a whole number')
    .transform(Number)
    .refine((value) => value >= least && value <= most, { error: `must be from ${least} to ${most}` });

const schema = z.object({
  /** The product database with the login kiff_api. */
  DATABASE_URL: z.string().regex(/^postgres(?:ql)?:\/\/\S+$/, 'must be a postgres:// URL'),
  /** Tenant logins' passwords are derived from it; shared with the migration job. */
  TENANT_LOGIN_SECRET: hexBytes(32, 1024),
  /** Seed of the Ed25519 key that signs promises (RFC 8032 section 5.1.5). */
  PROMISE_KEY: hexBytes(32, 32),
  /** Public keys that the policy names besides that of PROMISE_KEY: earlier ones, and the next one before it comes. */
  PROMISE_PUBLIC_KEYS: z
    .string()
    .regex(
      /^(?:0x[0-9a-f]{64}(?:,0x[0-9a-f]{64}){0,49})?$/,
      'must be public keys of 0x and 64 hex digits, with commas between',
    )
    .transform((text) => (text === '' ? [] : (text.split(',') as Hex[])))
    .default([]),
  API_HOST: z.string().min(1).default('127.0.0.1'),
  /** 0: any free port. */
  API_PORT: integer(0, 65_535).default(8080),
  CHAIN_ID: integer(1, Number.MAX_SAFE_INTEGER),
  /** The SealRegistry's address. */
  CONTRACT: z
    .string()
    .regex(/^0x[0-9a-fA-F]{40}$/, 'must be 0x and 40 hex digits')
    .transform((text) => text.toLowerCase() as Hex),
  CLERK_JWT_KEY: clerkJwtKey,
  CLERK_AUTHORIZED_PARTIES: authorizedParties,
  LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
});

export type IngestEnv = z.output<typeof schema>;

/** @throws Error that lists every problem at once, by name, never with a value */
export function readEnv(env: NodeJS.ProcessEnv = process.env): IngestEnv {
  const parsed = schema.safeParse(env);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message, code }) => {
    const name = path.join('.');
    return `- ${name} ${code === 'invalid_type' && env[name] === undefined ? 'is missing' : message}`;
  });
  throw new Error(`the ingest API cannot start:\n${problems.join('\n')}`);
}
