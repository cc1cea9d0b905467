import type { Hex } from 'viem';
import { z } from 'zod';

export interface DeployEnv {
  rpcUrl: string;
  chainId: number;
  privateKey: Hex;
  periodSeconds: number;
  coolingOffSeconds: number;
  verificationFolder: string;
}

/** An integer written in decimal digits, within bounds. */
const integer = (least: number, most: number) =>
  z
    .string(`must be an integer from ${least} to ${most}`)
    .regex(/^\d{1,16}$/, `must be an integer from ${least} to ${most}`)
    .transform(Number)
    .refine((value) => value >= least && value <= most, `must be at least ${least} and at most ${most}`);

const UINT32_MAX = 2 ** 32 - 1;

const schema = z.object({
  BASE_RPC_URL: z.string('must be an http(s) URL').regex(/^https?:\/\/[^\s]+$/, 'must be an http(s) URL'),
  CHAIN_ID: integer(1, Number.MAX_SAFE_INTEGER),
  DEPLOYER_PRIVATE_KEY: z
    .string('must be 0x and 64 hex digits')
    .regex(/^0x[0-9a-fA-F]{64}$/, 'must be 0x and 64 hex digits')
    .transform((key) => key as Hex),
  PERIOD_SECONDS: integer(1, UINT32_MAX),
  COOLING_OFF_SECONDS: integer(0, UINT32_MAX),
  VERIFICATION_FOLDER: z.string().default('.kiff'),
});

/**
 * Configuration of the deployment: BASE_RPC_URL, CHAIN_ID, DEPLOYER_PRIVATE_KEY (0x and 64 hex digits), PERIOD_SECONDS
 * and COOLING_OFF_SECONDS (both immutable in the contract, hence without defaults), VERIFICATION_FOLDER (where the
 * explorers' input is written, relative to the package; default `.kiff`).
 *
 * @throws Error that lists every problem, never a value
 */
export function readDeployEnv(env: NodeJS.ProcessEnv = process.env): DeployEnv {
  const parsed = schema.safeParse(env);
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => `${issue.path.join('.')} ${issue.message}`);
    throw new Error(`cannot deploy:\n- ${problems.join('\n- ')}`);
  }
  const { BASE_RPC_URL, CHAIN_ID, DEPLOYER_PRIVATE_KEY, PERIOD_SECONDS, COOLING_OFF_SECONDS, VERIFICATION_FOLDER } =
    parsed.data;
  return {
    rpcUrl: BASE_RPC_URL,
    chainId: CHAIN_ID,
    privateKey: DEPLOYER_PRIVATE_KEY,
    periodSeconds: PERIOD_SECONDS,
    coolingOffSeconds: COOLING_OFF_SECONDS,
    verificationFolder: VERIFICATION_FOLDER,
  };
}
