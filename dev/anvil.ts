import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { startCommand, stopLeftover, type RunningProcess } from './process.ts';

export interface AnvilOptions {
  /** Where the chain is kept between runs; without it the chain ends with the process. */
  stateFile?: string;
  /** Seconds from block to block; without it a block is mined for every transaction, and only then. */
  blockTime?: number;
  /** `safe` is so many blocks behind the newest, and `finalized` twice as many; 1 unless given. */
  slotsInAnEpoch?: number;
  /** A free one unless given. */
  port?: number;
  chainId?: number;
  logFile: string;
  /** Gives the start up. */
  signal?: AbortSignal | undefined;
}

export interface Anvil {
  rpcUrl: string;
  chainId: number;
  pid: number;
  exited: RunningProcess['exited'];
  /** Ends it; the chain is written to the state file first. */
  stop(): Promise<void>;
}

/** Seconds between two writes of the state file: what a kill -9 can lose. */
const stateInterval = 1;

/**
 * Blocks whose state can still be asked for, as on a full node. anvil's own default keeps thousands and spills them to
 * disk (2.9 GB after 20,000 blocks).
 */
const keptStates = 128;

/**
 * A Base devnet: OP-stack rules, `safe` is head − 1 and `finalized` head − 2 unless told otherwise, ten funded accounts of the well-known test
 * mnemonic. After a restart the chain goes on where it was, its next blocks with the time of day; state at blocks from
 * before the restart can no longer be asked for (blocks, receipts and logs can).
 */
export async function startAnvil(options: AnvilOptions): Promise<Anvil> {
  const { stateFile, blockTime, slotsInAnEpoch = 1, port = 0, chainId = 31337, logFile, signal } = options;
  if (stateFile !== undefined) {
    mkdirSync(dirname(stateFile), { recursive: true });
    await stopLeftover(`${stateFile}.pid`); // before its file is read: it writes it every second, and when it ends
  }
  const resumes = stateFile !== undefined && hasState(stateFile);
  const args = ['--host', '127.0.0.1', '--port', String(port), '--chain-id', String(chainId)];
  args.push('--network', 'optimism', '--slots-in-an-epoch', String(slotsInAnEpoch));
  args.push('--prune-history', String(keptStates));
  if (blockTime !== undefined) args.push('--block-time', String(blockTime));
  if (stateFile !== undefined) args.push('--state', stateFile, '--state-interval', String(stateInterval));
  const { process: anvil, ready: rpcUrl } = await startCommand({
    name: 'anvil',
    command: anvilBinary(),
    args,
    env: {},
    logFile,
    signal,
    ...(stateFile === undefined ? {} : { pidFile: `${stateFile}.pid` }),
    ready: async (log) => {
      const listening = /^Listening on (127\.0\.0\.1:\d+)$/m.exec(log)?.[1];
      if (listening === undefined) return undefined;
      const url = `http://${listening}`;
      // With --quiet it would not say its port; without, it logs every request for as long as it runs.
      await call(url, 'anvil_setLoggingEnabled', [false]);
      // No state is left at the old blocks: three new ones at once, or nothing could be read at `finalized` for a while.
      if (resumes) await call(url, 'anvil_mine', ['0x3', '0x0']);
      return url;
    },
  });
  return {
    rpcUrl,
    chainId,
    pid: anvil.pid,
    exited: anvil.exited,
    stop: async () => {
      await anvil.stop();
    },
  };
}

/** anvil writes its state file in place, so a kill -9 can cut it short; anvil's own message does not say what to do. */
function hasState(stateFile: string): boolean {
  if (!existsSync(stateFile)) return false;
  try {
    JSON.parse(readFileSync(stateFile, 'utf8'));
    return true;
  } catch (error) {
    throw new Error(`${stateFile} was cut short when the chain was killed; begin anew with: npm start -- --fresh`, {
      cause: error,
    });
  }
}

/** npm links a script that picks the platform's binary; signals would reach the script, so the binary itself is run. */
function anvilBinary(): string {
  const cpu = process.arch === 'x64' ? 'amd64' : process.arch;
  const name = `@foundry-rs/anvil-${process.platform}-${cpu}`;
  const require = createRequire(import.meta.url);
  try {
    const manifest = require.resolve(`${name}/package.json`);
    return join(dirname(manifest), 'bin', process.platform === 'win32' ? 'anvil.exe' : 'anvil');
  } catch (error) {
    throw new Error(`${name} is not installed: set BASE_RPC_URL to a chain of your own`, { cause: error });
  }
}

async function call(rpcUrl: string, method: string, params: readonly unknown[]): Promise<void> {
  const response = await fetch(rpcUrl, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
    signal: AbortSignal.timeout(5_000),
  });
  const answer = (await response.json()) as { error?: { message: string } };
  if (answer.error) throw new Error(`${method}: ${answer.error.message}`);
}
