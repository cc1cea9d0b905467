import type { Hex } from 'viem';

export interface DeployEnv {
  rpcUrl: string;
  chainId: number;
  privateKey: Hex;
  periodSeconds: number;
  coolingOffSeconds: number;
  verificationFolder: string;
}

/**
 * Configuration of the deployment: BASE_RPC_URL, CHAIN_ID, DEPLOYER_PRIVATE_KEY (0x and 64 hex digits), PERIOD_SECONDS
 * and COOLING_OFF_SECONDS (both immutable in the contract, hence without defaults), VERIFICATION_FOLDER (where the
 * explorers' input is written, relative to the package; default `.kiff`).
 *
 * @throws Error that lists every problem, never a value
 */
export function readDeployEnv(env: NodeJS.ProcessEnv = process.env): DeployEnv {
  const problems: string[] = [];
  const text = (name: string, pattern: RegExp, expected: string): string => {
    const value = env[name] ?? '';
    if (!pattern.test(value)) problems.push(`${name} must be ${expected}`);
    return value;
  };
  const integer = (name: string, least: number, most: number): number => {
    const value = Number(text(name, /^\d{1,16}$/, `an integer from ${least} to ${most}`));
    if (env[name] !== undefined && (value < least || value > most)) {
      problems.push(`${name} must be at least ${least} and at most ${most}`);
    }
    return value;
  };
  const uint32 = 2 ** 32 - 1;
  const parsed: DeployEnv = {
    rpcUrl: text('BASE_RPC_URL', /^https?:\/\/[^\s]+$/, 'an http(s) URL'),
    chainId: integer('CHAIN_ID', 1, Number.MAX_SAFE_INTEGER),
    privateKey: text('DEPLOYER_PRIVATE_KEY', /^0x[0-9a-fA-F]{64}$/, '0x and 64 hex digits') as Hex,
    periodSeconds: integer('PERIOD_SECONDS', 1, uint32),
    coolingOffSeconds: integer('COOLING_OFF_SECONDS', 0, uint32),
    verificationFolder: env['VERIFICATION_FOLDER'] ?? '.kiff',
  };
  if (problems.length > 0) throw new Error(`cannot deploy:\n- ${problems.join('\n- ')}`);
  return parsed;
}
