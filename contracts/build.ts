/**
 * Builds the checked-in artefact and ABI of SealRegistry: `node dist/contracts/build.js`.
 * A test compiles again and compares, so neither can drift from the source.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Abi, Hex } from 'viem';
import { compile, compilerSettings, type Compilation, type ImmutableReferences } from './compile.ts';
import { packageRoot } from './root.ts';

/** Source unit of the contract. */
export const registrySource = 'contracts/SealRegistry.sol';

/** `contracts/artifacts/SealRegistry.json`. Immutables read as zeros in `deployedBytecode`. */
export interface RegistryArtifact {
  contractName: 'SealRegistry';
  compiler: string;
  settings: typeof compilerSettings;
  abi: Abi;
  bytecode: Hex;
  deployedBytecode: Hex;
  immutableReferences: ImmutableReferences;
}

/** The artefact of a compilation that holds the registry. */
export function registryArtifact(compilation: Compilation): RegistryArtifact {
  const contract = compilation.contract(registrySource, 'SealRegistry');
  return { contractName: 'SealRegistry', compiler: compilation.compiler, settings: compilerSettings, ...contract };
}

/**
 * `contracts/registry-abi.ts`: the ABI as a literal type, from which viem infers arguments and results. Enum and struct
 * names (`internalType`) are left to the artefact.
 */
export async function registryAbiModule(abi: Abi): Promise<string> {
  const prettier = await import('prettier');
  const literal = JSON.stringify(abi, (key, value: unknown) => (key === 'internalType' ? undefined : value));
  const text = `// Generated from contracts/SealRegistry.sol by contracts/build.ts, and long because a literal type must be.\nexport const registryAbi = ${literal} as const;\n`;
  const config = await prettier.resolveConfig(path.join(packageRoot, 'contracts/registry-abi.ts'));
  return await prettier.format(text, { ...config, parser: 'typescript' });
}

async function main(): Promise<void> {
  const artifact = registryArtifact(compile([registrySource]));
  mkdirSync(path.join(packageRoot, 'contracts/artifacts'), { recursive: true });
  const artifactFile = path.join(packageRoot, 'contracts/artifacts/SealRegistry.json');
  writeFileSync(artifactFile, `${JSON.stringify(artifact, null, 2)}\n`);
  writeFileSync(path.join(packageRoot, 'contracts/registry-abi.ts'), await registryAbiModule(artifact.abi));
  console.log(`${artifactFile}: ${artifact.deployedBytecode.length / 2 - 1} bytes of code, solc ${artifact.compiler}`);
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) await main();
