import { z } from 'zod';
import { principalsSchema } from './principal.ts';
import type { KmsOptions } from './server.ts';

const json = z.string().transform((text, context): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    context.addIssue({ code: 'custom', message: 'is not JSON' });
    return z.NEVER;
  }
});

const schema = z.object({
  KMS_STATE_FILE: z.string().min(1).optional(),
  KMS_PRINCIPALS: json.pipe(principalsSchema),
  KMS_PORT: z.coerce.number().int().min(0).max(65_535).default(0),
  KMS_CONTROL_TOKEN: z.string().min(16, 'must have at least 16 characters').optional(),
});

/** The stand-in's options from its environment. Throws one Error that lists every problem; values are never in its text. */
export function readEnv(env: NodeJS.ProcessEnv): KmsOptions {
  const parsed = schema.safeParse(env);
  if (!parsed.success) throw new Error(`kms: bad environment\n${z.prettifyError(parsed.error)}`);
  const { KMS_STATE_FILE, KMS_PRINCIPALS, KMS_PORT, KMS_CONTROL_TOKEN } = parsed.data;
  return {
    principals: KMS_PRINCIPALS,
    port: KMS_PORT,
    ...(KMS_STATE_FILE === undefined ? {} : { stateFile: KMS_STATE_FILE }),
    ...(KMS_CONTROL_TOKEN === undefined ? {} : { controlToken: KMS_CONTROL_TOKEN }),
  };
}
