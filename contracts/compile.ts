import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { Abi, Hex } from 'viem';
import { packageRoot } from './root.ts';

/** Everything that decides the bytecode, beside the sources and the compiler's version (pinned in package.json). */
export const compilerSettings = {
  optimizer: { enabled: true, runs: 1_000_000 },
  // Needed: the handover events have more values than the legacy pipeline's stack takes.
  viaIR: true,
  evmVersion: 'prague',
  // No metadata hash: the bytecode depends on what the code does, not on a comment or on a path.
  metadata: { bytecodeHash: 'none', appendCBOR: false },
} as const;

/** Where the compiler put each immutable value: by AST id, byte ranges of the runtime code. */
export type ImmutableReferences = Record<string, readonly { start: number; length: number }[]>;

/** One compiled contract; bytecodes are 0x-hex. */
interface CompiledContract {
  abi: Abi;
  bytecode: Hex;
  deployedBytecode: Hex;
  immutableReferences: ImmutableReferences;
}

/** What one compiler run gave. */
export interface Compilation {
  /** The compiler's full version, as block explorers ask for it. */
  compiler: string;
  /** The complete standard JSON input with every source in it: what an explorer needs to verify the contract. */
  standardInput: StandardInput;
  /** The contract `name` of source unit `source`; throws when there is none. */
  contract(source: string, name: string): CompiledContract;
  /** The syntax tree of a source unit, for tests that look for what must not be there. */
  ast(source: string): unknown;
}

interface StandardInput {
  language: 'Solidity';
  sources: Record<string, { content: string }>;
  settings: typeof compilerSettings & { outputSelection: Record<string, Record<string, string[]>> };
}

interface CompilerOutput {
  errors?: { severity: string; formattedMessage: string }[];
  contracts?: Record<string, Record<string, OutputContract>>;
  sources?: Record<string, { ast: unknown }>;
}

interface OutputContract {
  abi: Abi;
  evm: {
    bytecode: { object: string };
    deployedBytecode: { object: string; immutableReferences: ImmutableReferences };
  };
}

interface Compiler {
  version(): string;
  compile(input: string, callbacks: { import(unit: string): { contents: string } | { error: string } }): string;
}

/**
 * Compiles Solidity source units of this package. Their names are package-relative (`contracts/SealRegistry.sol`), so
 * that the result is the same in every checkout. Synchronous; about two seconds.
 *
 * @param edit changes a source before it is compiled: tests make contracts that lack one rule
 * @throws Error with the compiler's own messages on any error or warning
 */
export function compile(
  units: readonly string[],
  edit = (_unit: string, source: string): string => source,
): Compilation {
  const solc = createRequire(import.meta.url)('solc') as Compiler;
  const sources: StandardInput['sources'] = {};
  for (const unit of units) sources[unit] = { content: edit(unit, readSource(unit)) };
  const imported: StandardInput['sources'] = {};
  const settings = {
    ...compilerSettings,
    outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object', 'evm.deployedBytecode'], '': ['ast'] } },
  };
  const output = JSON.parse(
    solc.compile(JSON.stringify({ language: 'Solidity', sources, settings }), {
      import: (unit) => {
        const content = edit(unit, readSource(unit));
        imported[unit] = { content };
        return { contents: content };
      },
    }),
  ) as CompilerOutput;
  if (output.errors !== undefined && output.errors.length > 0) {
    throw new Error(output.errors.map((error) => error.formattedMessage).join('\n'));
  }

  return {
    compiler: solc.version(),
    standardInput: { language: 'Solidity', sources: { ...sources, ...imported }, settings },
    contract(source, name) {
      const found = output.contracts?.[source]?.[name];
      if (found === undefined) throw new Error(`no contract ${name} in ${source}`);
      return {
        abi: found.abi,
        bytecode: `0x${found.evm.bytecode.object}`,
        deployedBytecode: `0x${found.evm.deployedBytecode.object}`,
        immutableReferences: found.evm.deployedBytecode.immutableReferences,
      };
    },
    ast(source) {
      const found = output.sources?.[source];
      if (found === undefined) throw new Error(`no source ${source}`);
      return found.ast;
    },
  };
}

function readSource(unit: string): string {
  const folder = unit.startsWith('@') ? path.join(packageRoot, 'node_modules') : packageRoot;
  return readFileSync(path.join(folder, unit), 'utf8');
}
