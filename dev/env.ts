/** What `npm start` may be told. Every embedded part yields to a real one that is named here. */
import { z } from 'zod';
import { address, host, httpUrl, incarnation, positive, postgresUrl, readEnv, whole } from '../workers/read-env.ts';

const roleArn = z.string().startsWith('arn:');

const schema = z
  .object({
    KIFF_STATE_DIR: z.string().min(1).optional(),
    /** 60 unless given; with CONTRACT it is the contract's, and another one is refused. */
    KIFF_PERIOD_SECONDS: positive.optional(),
    /** Of the local contract, from a handover's proposal to its acceptance; 24 periods unless given. */
    KIFF_COOLING_OFF_SECONDS: positive.optional(),
    KIFF_HOST: host.default('kiff.dev'),
    KIFF_INCARNATION: incarnation.default('local'),
    /** A superuser's URL on a PostgreSQL 17 or newer; the databases kiff and kiff_journal are made there. */
    DATABASE_URL: postgresUrl.optional(),
    TEMPORAL_ADDRESS: z.string().min(1).optional(),
    BASE_RPC_URL: httpUrl.optional(),
    CHAIN_ID: positive.default(31337),
    CONTRACT: address.optional(),
    FROM_BLOCK: whole.default(0),
    DEPLOYER_PRIVATE_KEY: z
      .string()
      .regex(/^0x[0-9a-fA-F]{64}$/, 'must be 32 bytes of 0x hex')
      .transform((key) => key as `0x${string}`)
      .optional(),
    AWS_ENDPOINT_URL_KMS: httpUrl.optional(),
    AWS_REGION: z.string().min(1).default('eu-central-1'),
    KMS_SIGNER_ARN: roleArn.optional(),
    KMS_RELAYER_ARN: roleArn.optional(),
    KMS_ADMIN_ARN: roleArn.optional(),
    KMS_BREAK_GLASS_ARN: roleArn.optional(),
    /** Credentials of each role, as `<access key id>:<secret access key>`. */
    KMS_SIGNER_KEY: z.string().includes(':').optional(),
    KMS_RELAYER_KEY: z.string().includes(':').optional(),
    KMS_ADMIN_KEY: z.string().includes(':').optional(),
  })
  .superRefine((env, context) => {
    const need = (name: keyof typeof env, why: string) => {
      if (env[name] === undefined) context.addIssue({ code: 'custom', path: [name], message: `is needed ${why}` });
    };
    if (env.AWS_ENDPOINT_URL_KMS !== undefined) {
      for (const role of ['SIGNER', 'RELAYER', 'ADMIN'] as const) {
        need(`KMS_${role}_ARN`, 'with AWS_ENDPOINT_URL_KMS');
        need(`KMS_${role}_KEY`, 'with AWS_ENDPOINT_URL_KMS');
      }
      need('KMS_BREAK_GLASS_ARN', 'with AWS_ENDPOINT_URL_KMS');
    }
    if (env.BASE_RPC_URL !== undefined && env.CHAIN_ID !== 31337 && env.CONTRACT === undefined) {
      need('DEPLOYER_PRIVATE_KEY', 'to deploy the contract, unless CONTRACT is given');
    }
  });

/** `temporal` holds what Temporal's own standard variables say, for the workers. */
export type StackEnv = z.output<typeof schema> & { temporal: Readonly<Record<string, string>> };

/** @throws EnvironmentError that lists every problem at once */
export function readStackEnv(source: NodeJS.ProcessEnv = process.env): StackEnv {
  const temporal = Object.entries(source).filter(
    (entry): entry is [string, string] => entry[0].startsWith('TEMPORAL_') && entry[1] !== undefined,
  );
  return { ...readEnv(schema, source), temporal: Object.fromEntries(temporal) };
}
