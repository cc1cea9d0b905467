/** Many calls of the registry in one block, each with what it returned. */
import assert from 'node:assert/strict';
import {
  decodeErrorResult,
  decodeFunctionResult,
  encodeFunctionData,
  parseAbi,
  parseEventLogs,
  type Abi,
  type Hex,
} from 'viem';
import { compile } from '../../contracts/compile.ts';
import { outcomes, registryAbi } from '../../contracts/registry.ts';
import type { Devnet } from './devnet.ts';

const source = 'contracts/test/Runner.sol';
const abi = parseAbi([
  'event Returned(bool success, bytes data)',
  'function run(address target, bytes[] calls) external',
]);

/** A log as `logState` and `pendingHandover` show it; addresses in lower case. */
export interface Shown {
  state: { signer: Hex; epoch: number; seq: number; period: number; treeSize: number; head: Hex };
  pending: { hash: Hex; eta: number; expiresAt: number };
}

/** One call of the registry, and a log to look at after it. */
export interface Call {
  data: Hex;
  logId: Hex;
}

/** What a call said (outcomes of `anchor`; null or an error's name of the others), and the log after it. */
export interface Told extends Shown {
  said: string[] | string | null;
}

let bytecode: Hex | undefined;

/** Deploys the contract that makes the calls. @returns makes them all in one block, at the time set before */
export async function deployRunner(net: Devnet): Promise<(calls: readonly Call[]) => Promise<Told[]>> {
  bytecode ??= compile([source]).contract(source, 'Runner').bytecode;
  const runner = await net.deploy(bytecode);
  const { address } = net.registry;
  return async (calls) => {
    const all = calls.flatMap(({ data, logId }) => [data, view('logState', logId), view('pendingHandover', logId)]);
    const data = encodeFunctionData({ abi, functionName: 'run', args: [address, all] });
    const receipt = await net.send(data, 29_000_000n, runner);
    assert.equal(receipt.status, 'success', 'the whole block fell');
    const answers = parseEventLogs({ abi, logs: receipt.logs.filter((log) => log.address === runner) });
    return calls.map(({ data: call }, index) => {
      const [made, state, pending] = answers.slice(3 * index).map(({ args }) => args);
      assert.ok(made && state && pending);
      return { said: whatWasSaid(call, made), ...shown(state.data, pending.data) };
    });
  };
}

const view = (functionName: 'logState' | 'pendingHandover', logId: Hex): Hex =>
  encodeFunctionData({ abi: registryAbi, functionName, args: [logId] });

const anchorSelector = encodeFunctionData({ abi: registryAbi, functionName: 'anchor', args: [[]] }).slice(0, 10);

function whatWasSaid(call: Hex, { success, data }: { success: boolean; data: Hex }): Told['said'] {
  if (!success) {
    const { errorName, args = [] } = decodeErrorResult<Abi>({ abi: registryAbi, data });
    return args.length === 0 ? errorName : `${errorName}(${args.join()})`.replace(/\(0x.*/, (all) => all.toLowerCase());
  }
  if (!call.startsWith(anchorSelector)) return null;
  const numbers = decodeFunctionResult({ abi: registryAbi, functionName: 'anchor', data });
  return numbers.map((number) => outcomes[number] ?? assert.fail('an outcome without a name'));
}

function shown(stateData: Hex, pendingData: Hex): Shown {
  const [signer, epoch, seq, period, treeSize, head] = decodeFunctionResult({
    abi: registryAbi,
    functionName: 'logState',
    data: stateData,
  });
  const [hash, eta, expiresAt] = decodeFunctionResult({
    abi: registryAbi,
    functionName: 'pendingHandover',
    data: pendingData,
  });
  return {
    state: { signer: signer.toLowerCase() as Hex, epoch, seq, period: Number(period), treeSize, head },
    pending: { hash, eta: Number(eta), expiresAt: Number(expiresAt) },
  };
}
