import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { keccak256, type Hex } from 'viem';
import { deployRegistry, registryAddress, type DeployOptions } from '../../contracts/deploy.ts';
import { readDeployEnv } from '../../contracts/env.ts';
import { registryAbi, registryBytecode } from '../../contracts/registry.ts';
import { packageRoot } from '../../contracts/root.ts';
import { startAnvil } from '../../dev/anvil.ts';
import { key, startDevnet, type Devnet } from './devnet.ts';

const privateKey: Hex = '0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80';
const create2Proxy = '0x4e59b44847b379578588920cA78FbF26c0B4956C';

describe('deployment of SealRegistry', () => {
  let net: Devnet;
  let options: DeployOptions;
  before(async () => {
    net = await startDevnet({ periodSeconds: 3600, coolingOffSeconds: 86_400 });
    const { rpcUrl, chainId, account } = net;
    options = { rpcUrl, chainId, account, periodSeconds: 60, coolingOffSeconds: 120 };
  });
  after(async () => {
    await net.stop();
  });

  it('puts the contract where its code and lengths say, and tells a verifier what it needs', async () => {
    await net.chain.mine({ blocks: 3 });
    const deployed = await deployRegistry(options);
    const { address } = deployed;
    assert.equal(address, registryAddress(60, 120));
    assert.match(address, /^0x[0-9a-f]{40}$/);
    assert.notEqual(address, net.registry.address, 'other lengths, another contract');
    const code = await net.client.getCode({ address });
    assert.deepEqual(deployed, {
      address,
      codeHash: keccak256(code ?? '0x'),
      fromBlock: Number(await net.client.getBlockNumber()),
      periodSeconds: 60,
    });
    const read = async (functionName: 'PERIOD' | 'COOLING_OFF') =>
      await net.client.readContract({ address, abi: registryAbi, functionName });
    assert.deepEqual([await read('PERIOD'), await read('COOLING_OFF')], [60, 120]);
    const [, name, version, chainId, contract] = await net.client.readContract({
      address,
      abi: registryAbi,
      functionName: 'eip712Domain',
    });
    assert.deepEqual(
      [name, version, chainId, contract.toLowerCase()],
      ['KIFF Seal', '1', BigInt(net.chainId), address],
    );
  });

  for (const [name, chainId] of [
    ['Base Sepolia', 84_532],
    ['Base', 8_453],
  ] as const) {
    it(`puts it at the same address on ${name}'s chain id, with a code hash of its own`, async () => {
      const folder = mkdtempSync(path.join(tmpdir(), 'registry-chain-'));
      const node = await startAnvil({ chainId, logFile: path.join(folder, 'anvil.log') });
      try {
        const there = await deployRegistry({ ...options, ...node });
        const here = await deployRegistry(options);
        assert.equal(there.address, here.address);
        assert.notEqual(there.codeHash, here.codeHash);
      } finally {
        await node.stop();
        rmSync(folder, { recursive: true });
      }
    });
  }

  it('finds what it deployed before, whoever asks, and sends nothing', async () => {
    const first = await deployRegistry({ ...options, periodSeconds: 61 });
    await net.chain.mine({ blocks: 9 });
    const height = await net.client.getBlockNumber();
    const again = await deployRegistry({ ...options, periodSeconds: 61, account: key(1) });
    assert.deepEqual(again, first);
    assert.equal(await net.client.getBlockNumber(), height);
  });

  it("says block 0 when the endpoint has forgotten the deployment's", async () => {
    const first = await deployRegistry({ ...options, periodSeconds: 62 });
    await net.chain.mine({ blocks: 400 });
    const again = await deployRegistry({ ...options, periodSeconds: 62 });
    assert.deepEqual(again, { ...first, fromBlock: 0 });
  });

  it('is one contract when two deploy at once', async () => {
    const lengths = { periodSeconds: 63 };
    const [one, two] = await Promise.all([
      deployRegistry({ ...options, ...lengths }),
      deployRegistry({ ...options, ...lengths, account: await funded(net, 2) }),
    ]);
    assert.equal(one.address, two.address);
    assert.equal(one.codeHash, two.codeHash);
  });

  it('refuses another chain, a chain without the proxy, and lengths that the contract refuses', async () => {
    await assert.rejects(deployRegistry({ ...options, chainId: 8453 }), /serves chain 31337, not 8453/);
    await assert.rejects(deployRegistry({ ...options, periodSeconds: 0 }), /reverted/);
    await assert.rejects(deployRegistry({ ...options, periodSeconds: 2 ** 32 }), /not in safe 32-bit/);
    const proxy = (await net.client.getCode({ address: create2Proxy })) ?? assert.fail();
    await net.chain.setCode({ address: create2Proxy, bytecode: '0x' });
    try {
      await assert.rejects(deployRegistry({ ...options, periodSeconds: 64 }), /no CREATE2 proxy/);
    } finally {
      await net.chain.setCode({ address: create2Proxy, bytecode: proxy });
    }
  });

  it('runs from the command line, and writes what explorers verify with', async function () {
    this.timeout(60_000);
    const folder = mkdtempSync(path.join(tmpdir(), 'registry-deploy-'));
    try {
      const { stdout, stderr } = await promisify(execFile)(
        process.execPath,
        [path.join(packageRoot, 'dist/contracts/deploy.js')],
        {
          env: {
            BASE_RPC_URL: net.rpcUrl,
            CHAIN_ID: String(net.chainId),
            DEPLOYER_PRIVATE_KEY: privateKey,
            PERIOD_SECONDS: '600',
            COOLING_OFF_SECONDS: '7200',
            VERIFICATION_FOLDER: folder,
          },
        },
      );
      const contract = registryAddress(600, 7200);
      const policy = JSON.parse(stdout) as Record<string, unknown>;
      assert.deepEqual(Object.keys(policy), ['chainId', 'contract', 'codeHash', 'fromBlock', 'periodSeconds']);
      assert.equal(policy['contract'], contract);
      assert.match(stderr, /compiler: v0\.8\.37\+commit\.[0-9a-f]{8}\n/);
      assert.match(stderr, /constructor arguments: 0x0{61}258(0{60})1c20$/m);
      // What an explorer does with it: compile it by itself and compare with what was created.
      const input = readFileSync(path.join(folder, 'SealRegistry.standard-input.json'), 'utf8');
      const solc = createRequire(import.meta.url)('solc') as { compile(input: string): string };
      const { contracts } = JSON.parse(solc.compile(input)) as {
        contracts: Record<string, Record<string, { evm: { bytecode: { object: string } } }>>;
      };
      const compiled = contracts['contracts/SealRegistry.sol']?.['SealRegistry']?.evm.bytecode.object;
      assert.equal(`0x${compiled}`, registryBytecode());
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('lists every problem of its environment, and no value', () => {
    const env = {
      BASE_RPC_URL: 'ftp://secret',
      CHAIN_ID: '0',
      DEPLOYER_PRIVATE_KEY: '0xsecret',
      PERIOD_SECONDS: '4294967296',
    };
    assert.throws(
      () => readDeployEnv(env),
      ({ message }: Error) => {
        for (const name of [...Object.keys(env), 'COOLING_OFF_SECONDS'])
          assert.match(message, new RegExp(`- ${name} `));
        assert.doesNotMatch(message, /secret|4294967296/);
        return true;
      },
    );
  });
});

async function funded(net: Devnet, number: number) {
  const account = key(number);
  await net.chain.setBalance({ address: account.address, value: 10n ** 18n });
  return account;
}
