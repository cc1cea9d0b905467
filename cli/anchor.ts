/**
 * `kiff anchor`: sends a signed seal to the contract with any funded key. Who sends it gives it no weight, so nobody
 * depends on the operator's wallet. Besides protocol/ this uses what the contract itself publishes (contracts/), and viem.
 */
import { setTimeout as delay } from 'node:timers/promises';
import {
  createPublicClient,
  custom,
  decodeFunctionResult,
  encodeFunctionData,
  keccak256,
  parseEventLogs,
  TransactionReceiptNotFoundError,
  type PublicClient,
  type TransactionReceipt,
} from 'viem';
import { outcomes, registryAbi, type Outcome } from '../contracts/registry.ts';
import { RpcRefused, RpcUnreachable, type Hex } from '../protocol/index.ts';
import { readArguments, USAGE, type Arguments, type RelayedSeal } from './anchor-input.ts';
import { printable, UsageError, type Command, type Terminal } from './command.ts';
import { createHttpRpc } from './rpc.ts';

/** How it ended. `anchored` also when somebody else was first. */
type Ending =
  | { result: 'anchored'; transaction: Hex | null; block: number | null }
  | { result: 'refused'; reason: string; transaction: Hex | null }
  | { result: 'unknown'; reason: string; transaction: Hex | null };

const EXIT_CODES: Readonly<Record<Ending['result'], number>> = { anchored: 0, refused: 1, unknown: 3 };

const POLL_MS = 1_000;
/** Half a minute of Base, and then some. */
const POLLS = 120;

/** A contract that signs may be asked with so much gas; an estimate may not have seen it asked. */
const SPARE_GAS = 135_000n;

const REASONS: Readonly<Record<Exclude<Outcome, 'Sealed' | 'Stale'>, string>> = {
  UnknownLog: 'the contract does not know this log: it has to be registered first',
  Gap: 'an earlier seal of this log has to be anchored first',
  BadPeriod: 'its period does not follow the log’s last one',
  TooEarly: 'its period is not over yet, by the chain’s clock',
  BadTreeSize: 'its tree is smaller than the log’s last one',
  BadSignature: 'it is not signed by the log’s signer over the log’s head',
};

async function anchor({ seal, rpc, account }: Arguments, say: (line: string) => void): Promise<Ending> {
  const call = createHttpRpc(rpc);
  const request = async ({ method, params }: { method: string; params?: unknown }) =>
    call(method, (params ?? []) as readonly unknown[]);
  const chain = createPublicClient({ transport: custom({ request }, { retryCount: 0 }) });
  const { chainId, contract } = seal.registry;
  const served = await chain.getChainId();
  if (served !== chainId) throw new UsageError(`the seal is for chain ${chainId}, and the node serves ${served}`);
  if ((await chain.getCode({ address: contract })) === undefined) {
    throw new UsageError(`there is no contract at ${contract} on chain ${chainId}`);
  }

  const data = encodeFunctionData({
    abi: registryAbi,
    functionName: 'anchor',
    args: [[{ ...seal.sealInput, period: BigInt(seal.sealInput.period) }]],
  });
  const outcome = await simulate(chain, contract, account.address, data);
  if (outcome === 'Stale') return { result: 'anchored', transaction: null, block: null };
  if (outcome !== 'Sealed') return { result: 'refused', reason: REASONS[outcome], transaction: null };

  const { maxFeePerGas, maxPriorityFeePerGas } = await chain.estimateFeesPerGas();
  const gas = (await chain.estimateGas({ account: account.address, to: contract, data })) + SPARE_GAS;
  const nonce = await chain.getTransactionCount({ address: account.address, blockTag: 'pending' });
  const raw = await account.signTransaction({
    type: 'eip1559',
    chainId,
    nonce,
    to: contract,
    data,
    gas,
    maxFeePerGas,
    maxPriorityFeePerGas,
  });
  const hash = keccak256(raw);
  say(`Transaction ${hash}, paid by ${account.address}`);
  try {
    await chain.sendRawTransaction({ serializedTransaction: raw });
  } catch (error) {
    // A node that refuses says why. One that does not answer may have it all the same: the chain will tell.
    if (!isUnreachable(error)) return { result: 'refused', reason: `the node: ${textOf(error)}`, transaction: hash };
  }
  return watch(chain, seal, hash);
}

async function simulate(chain: PublicClient, contract: Hex, from: Hex, data: Hex): Promise<Outcome> {
  const { data: output } = await chain.call({ account: from, to: contract, data });
  try {
    const [number] = decodeFunctionResult({ abi: registryAbi, functionName: 'anchor', data: output ?? '0x' });
    const outcome = outcomes[number ?? -1];
    if (outcome !== undefined) return outcome;
  } catch {
    // below
  }
  throw new UsageError(`the contract at ${contract} does not answer as a SealRegistry does`);
}

async function watch(chain: PublicClient, seal: RelayedSeal, hash: Hex): Promise<Ending> {
  for (let polls = 0; polls < POLLS; polls++) {
    const receipt = await receiptOf(chain, hash);
    if (receipt !== null) return judge(seal, receipt);
    await delay(POLL_MS);
  }
  return { result: 'unknown', reason: 'it is in no block yet', transaction: hash };
}

async function receiptOf(chain: PublicClient, hash: Hex): Promise<TransactionReceipt | null> {
  try {
    return await chain.getTransactionReceipt({ hash });
  } catch (error) {
    if (error instanceof TransactionReceiptNotFoundError || isUnreachable(error)) return null;
    throw error;
  }
}

/** Without an event of either kind the seal was there already: somebody else was first. */
function judge({ registry, sealInput }: RelayedSeal, receipt: TransactionReceipt): Ending {
  const transaction = receipt.transactionHash;
  if (receipt.status !== 'success') return { result: 'refused', reason: 'the transaction reverted', transaction };
  const logs = receipt.logs.filter((log) => log.address.toLowerCase() === registry.contract);
  const refused = parseEventLogs({ abi: registryAbi, eventName: 'SealRefused', logs }).find(
    ({ args }) => args.logId === sealInput.logId && args.seq === sealInput.seq,
  );
  if (refused === undefined) return { result: 'anchored', transaction, block: Number(receipt.blockNumber) };
  const outcome = outcomes[refused.args.outcome];
  const reason = outcome === undefined || outcome === 'Sealed' || outcome === 'Stale' ? 'refused' : REASONS[outcome];
  return { result: 'refused', reason, transaction };
}

const isUnreachable = (error: unknown): boolean => isCausedBy(error, RpcUnreachable);

function isCausedBy(error: unknown, kind: typeof RpcRefused | typeof RpcUnreachable): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) if (cause instanceof kind) return true;
  return false;
}

/** The innermost message: what the node said, without what was asked of it. */
function textOf(error: unknown): string {
  let text = 'no reason';
  for (let cause = error; cause instanceof Error; cause = cause.cause) text = cause.message;
  return printable(text);
}

function report(ending: Ending, { registry, sealInput }: RelayedSeal): string {
  const what = `Seal ${sealInput.seq} of log ${sealInput.logId}`;
  const where = `on chain ${registry.chainId}`;
  switch (ending.result) {
    case 'anchored':
      return ending.block === null
        ? `${what} stands ${where} already.`
        : `${what} stands ${where}, in block ${ending.block}. It is final once the chain has finalized that block.`;
    case 'refused':
      return `${what} was refused: ${ending.reason}.`;
    case 'unknown':
      return `${what}: ${ending.reason}. Asking again is safe: a seal counts once.`;
  }
}

async function run(args: readonly string[], { stdin, stdout, stderr }: Terminal): Promise<number> {
  const json = args.includes('--json');
  try {
    const read = await readArguments(args, stdin);
    const ending = await anchor(read, (line) => stderr.write(`${line}\n`));
    stdout.write(`${json ? JSON.stringify(ending) : report(ending, read.seal)}\n`);
    return EXIT_CODES[ending.result];
  } catch (error) {
    const [result, reason, code] = isUnreachable(error)
      ? ['unknown', `the node is unreachable: ${textOf(error)}`, 3]
      : isCausedBy(error, RpcRefused)
        ? ['refused', `the node: ${textOf(error)}`, 1]
        : ['unusable', textOf(error), 2];
    if (result === 'unusable' && !(error instanceof UsageError)) throw error;
    if (json) stdout.write(`${JSON.stringify({ result, reason })}\n`);
    stderr.write(`kiff anchor: ${reason}\n${result === 'unusable' ? 'See: kiff anchor --help\n' : ''}`);
    return code;
  }
}

export const anchorCommand: Command = { usage: USAGE, run };
