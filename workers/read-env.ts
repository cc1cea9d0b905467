/** Environment variables, parsed once at start; every problem is listed at once. */
import { z } from 'zod';
import type { KeyRoles } from '../activities/kms/policy.ts';

export class EnvironmentError extends Error {
  override name = 'EnvironmentError';
}

/** @throws EnvironmentError that names every variable that is missing or wrong (never its value) */
export function readEnv<T extends z.ZodType>(schema: T, source: NodeJS.ProcessEnv): z.output<T> {
  const parsed = schema.safeParse(source);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `  ${issue.path.join('.')}: ${issue.message}`);
  throw new EnvironmentError(`These environment variables are missing or wrong:\n${problems.join('\n')}`);
}

export const postgresUrl = z.string().regex(/^postgres(ql)?:\/\//, 'must be a postgres:// URL');
export const httpUrl = z.string().regex(/^https?:\/\//, 'must be an http(s):// URL');
/** One or several, separated by commas: endpoints of different providers that are read as one. */
export const httpUrls = z
  .string()
  .transform((list) => list.split(',').map((url) => url.trim()))
  .pipe(z.array(httpUrl).min(1))
  .refine((urls) => new Set(urls).size === urls.length, 'must not name an endpoint twice');
export const address = z
  .string()
  .regex(/^0x[0-9a-fA-F]{40}$/, 'must be a 0x address')
  .transform((value) => value.toLowerCase() as `0x${string}`);
export const whole = z.coerce.number().int().nonnegative();
export const positive = z.coerce.number().int().positive();
/** Where origins begin, for example `kiff.dev`. Changing it makes new logs. */
export const host = z.string().regex(/^[a-z0-9.-]+(:\d+)?$/, 'must be a host name');
/** The name under which the databases were opened (docs/recovery.md). Whoever restores a backup gives another one. */
export const incarnation = z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/, 'must be up to 64 of a-z 0-9 -');
const roleArn = z.string().regex(/^arn:aws[a-z-]*:iam::\d{12}:(role|user)\/.+$/, 'must be an IAM role ARN');

/** The roles that the key policies name. */
export const keyRoles = {
  KMS_SIGNER_ARN: roleArn,
  KMS_RELAYER_ARN: roleArn,
  KMS_ADMIN_ARN: roleArn,
  KMS_BREAK_GLASS_ARN: roleArn,
};
/** The same, as the key policies take them. */
export function rolesOf(env: z.output<z.ZodObject<typeof keyRoles>>): KeyRoles {
  return {
    signer: env.KMS_SIGNER_ARN,
    relayer: env.KMS_RELAYER_ARN,
    admin: env.KMS_ADMIN_ARN,
    breakGlass: env.KMS_BREAK_GLASS_ARN,
  };
}
export const LOG_LEVEL = z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info');
