import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { hexToBytes, type Hex } from 'viem';
import { registryAbiModule, registryArtifact, registrySource } from '../../contracts/build.ts';
import { compile, type Compilation } from '../../contracts/compile.ts';
import { outcomes, registryAbi, registryBytecode } from '../../contracts/registry.ts';
import { packageRoot } from '../../contracts/root.ts';
import { zero } from './statements.ts';

const interfaceSource = 'contracts/ISealRegistry.sol';
const hostileSource = 'contracts/test/Signers.sol';

describe('SealRegistry: source and artefact', () => {
  let compilation: Compilation;
  before(function () {
    this.timeout(60_000);
    compilation = compile([registrySource]); // by itself: the artefact's AST ids count every source
  });

  it('checked-in artefact is what the source compiles to', () => {
    const text = readFileSync(path.join(packageRoot, 'contracts/artifacts/SealRegistry.json'), 'utf8');
    const built = registryArtifact(compilation);
    assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(built)));
    assert.equal(registryBytecode(), built.bytecode);
    assert.match(built.compiler, /^0\.8\.37\+/);
  });

  it('checked-in ABI module is what the source compiles to', async () => {
    const text = readFileSync(path.join(packageRoot, 'contracts/registry-abi.ts'), 'utf8');
    assert.equal(text, await registryAbiModule(registryArtifact(compilation).abi));
  });

  it('comes out the same whatever comments say', function () {
    this.timeout(60_000);
    const commented = compile([registrySource], (_, source) => `${source}\n// another comment\n`);
    const { bytecode } = commented.contract(registrySource, 'SealRegistry');
    assert.equal(bytecode, registryBytecode());
  });

  it('gives explorers every source', () => {
    const { sources } = compilation.standardInput;
    const imports = Object.values(sources).flatMap(({ content }) => [
      ...content.matchAll(/from ['"]([^'"]+\.sol)['"]/g),
    ]);
    assert.ok(imports.length > 5);
    const units = Object.keys(sources).map((unit) => path.basename(unit));
    for (const [, imported = ''] of imports) assert.ok(units.includes(path.basename(imported)), imported);
  });

  it('declares the statements that the design names, to the letter', () => {
    const text = readFileSync(path.join(packageRoot, registrySource), 'utf8');
    for (const type of [
      'Seal(bytes32 logId,uint32 seq,uint64 period,uint48 treeSize,bytes32 root,bytes32 prev)',
      'Handover(bytes32 logId,uint32 epochTo,address from,address to,uint8 custody,uint64 notBefore,uint64 expiresAt,bytes32 nonce)',
      'HandoverAccept(bytes32 logId,uint32 epochTo,bytes32 handoverHash,uint32 seq,bytes32 head)',
      'HandoverCancel(bytes32 logId,uint32 epochTo,bytes32 handoverHash)',
    ]) {
      assert.equal(text.split(`'${type}'`).length, 2, type);
    }
    const errors = registryAbi.filter((item) => item.type === 'error').map(({ name }) => name);
    for (const name of [
      'ZeroSigner',
      'UnknownLogId',
      'NotNextEpoch',
      'NotCurrentSigner',
      'BadSuccessor',
      'Expired',
      'TooSoon',
      'AlreadyPending',
      'NotPending',
      'CancelledBefore',
      'InvalidSignature',
      'NotEnoughGas',
    ] as const) {
      assert.ok(errors.includes(name), name);
    }
  });

  it('numbers the outcomes as the source does', () => {
    const [declaration] = find(compilation.ast(interfaceSource), (node) => node['nodeType'] === 'EnumDefinition');
    const members = ((declaration ?? assert.fail())['members'] as { name: string }[]).map(({ name }) => name);
    assert.deepEqual(members, outcomes);
  });

  it('documents everything public', () => {
    const kinds = ['FunctionDefinition', 'EventDefinition', 'ErrorDefinition', 'StructDefinition', 'EnumDefinition'];
    const isPublic = (node: Node): boolean =>
      kinds.includes(String(node['nodeType'])) && node['visibility'] !== 'private' && node['visibility'] !== 'internal';
    const nodes = [registrySource, interfaceSource].flatMap((source) => find(compilation.ast(source), isPublic));
    const silent = nodes.filter((node) => node['documentation'] == null).map((node) => node['name']);
    assert.ok(nodes.length > 35);
    assert.deepEqual(silent, []);
  });

  describe('nobody owns it', () => {
    it('has no assembly of its own', function () {
      this.timeout(60_000);
      for (const source of [registrySource, interfaceSource]) {
        assert.deepEqual(find(compilation.ast(source), isAssembly), []);
      }
      assert.ok(
        find(compile([hostileSource]).ast(hostileSource), isAssembly).length > 0,
        'control: there is some to be found',
      );
    });

    it('cannot see who sends, move value, run other code on its storage, create or destroy', () => {
      const code = registryArtifact(compilation).deployedBytecode;
      const forbidden = ['CALLER', 'ORIGIN', 'CALL', 'CALLCODE', 'DELEGATECALL', 'CREATE', 'CREATE2', 'SELFDESTRUCT'];
      assert.deepEqual(
        [...opcodesOf(code)].filter((name) => forbidden.includes(name)),
        [],
      );
      assert.ok(opcodesOf(code).has('STATICCALL'), 'control: what is there is found');
    });

    it('would be seen to read the sender (control)', function () {
      this.timeout(60_000);
      const owned = compile([registrySource], (unit, source) =>
        unit === registrySource
          ? source.replace('if (genesisSigner == address(0))', 'if (genesisSigner != msg.sender)')
          : source,
      );
      const { deployedBytecode } = owned.contract(registrySource, 'SealRegistry');
      assert.ok(opcodesOf(deployedBytecode).has('CALLER'));
    });

    it('takes no value and has no fallback', () => {
      const { abi } = registryArtifact(compilation);
      const open = abi.filter((item) => item.type === 'fallback' || item.type === 'receive');
      const payable = abi.filter((item) => item.type === 'function' && item.stateMutability === 'payable');
      assert.deepEqual([...open, ...payable], []);
    });
  });

  it('keeps its immutables where the artefact says', () => {
    const { deployedBytecode, immutableReferences } = registryArtifact(compilation);
    const places = Object.values(immutableReferences).flat();
    assert.ok(places.length > 0);
    for (const { start, length } of places) {
      const word: Hex = `0x${deployedBytecode.slice(2 + 2 * start, 2 + 2 * (start + length))}`;
      assert.equal(word, zero);
    }
  });
});

type Node = Record<string, unknown>;

function isAssembly(node: Node): boolean {
  return node['nodeType'] === 'InlineAssembly';
}

/** Every node of a syntax tree for which `matches` holds. */
function find(tree: unknown, matches: (node: Node) => boolean): Node[] {
  if (typeof tree !== 'object' || tree === null) return [];
  const below = Object.values(tree).flatMap((child) => find(child, matches));
  return matches(tree as Node) ? [tree as Node, ...below] : below;
}

/** The opcodes of a runtime code that this test asks about; what PUSHes carry is no code. */
function opcodesOf(code: Hex): Set<string> {
  const names: Record<number, string> = {
    0x32: 'ORIGIN',
    0x33: 'CALLER',
    0xf0: 'CREATE',
    0xf1: 'CALL',
    0xf2: 'CALLCODE',
    0xf4: 'DELEGATECALL',
    0xf5: 'CREATE2',
    0xfa: 'STATICCALL',
    0xff: 'SELFDESTRUCT',
  };
  const bytes = hexToBytes(code);
  const found = new Set<string>();
  for (let at = 0; at < bytes.length; at += 1) {
    const opcode = bytes[at] ?? 0;
    const name = names[opcode];
    if (name !== undefined) found.add(name);
    if (opcode >= 0x60 && opcode <= 0x7f) at += opcode - 0x5f;
  }
  return found;
}
