/** `kiff signer` as a tenant runs it: a process, with a policy, a journal and a key in a folder of its own. */
import { createCipheriv, pbkdf2Sync, randomBytes } from 'node:crypto';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { keccak_256 } from '@noble/hashes/sha3.js';
import type { Hex } from '../../protocol/index.ts';
import { API_KEY, type Cloud } from './hostile-cloud.ts';
import { KEY } from './signer-agent.ts';

const KIFF = join(import.meta.dirname, '../../cli/kiff.js');
const PASSWORD = 'a password for the tests';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** Web3 Secret Storage, version 3, cheap to open. */
function keystoreOf(key: Hex, password: string): string {
  const [salt, iv] = [randomBytes(32), randomBytes(16)];
  const c = 1_000;
  const derived = pbkdf2Sync(password, salt, c, 32, 'sha256');
  const cipher = createCipheriv('aes-128-ctr', derived.subarray(0, 16), iv);
  const ciphertext = Buffer.concat([cipher.update(Buffer.from(key.slice(2), 'hex')), cipher.final()]);
  const mac = keccak_256(Buffer.concat([derived.subarray(16, 32), ciphertext]));
  return JSON.stringify({
    version: 3,
    crypto: {
      cipher: 'aes-128-ctr',
      cipherparams: { iv: hex(iv) },
      ciphertext: hex(ciphertext),
      kdf: 'pbkdf2',
      kdfparams: { c, dklen: 32, prf: 'hmac-sha256', salt: hex(salt) },
      mac: hex(mac),
    },
  });
}

export interface Line {
  readonly event: string;
  readonly kind?: string;
  readonly word?: string;
  readonly says: string;
}

export interface Ran {
  readonly code: number | null;
  readonly lines: readonly Line[];
  readonly stdout: string;
  readonly stderr: string;
}

export interface Home {
  readonly folder: string;
  readonly journal: string;
  /** Arguments that every run has. */
  readonly files: readonly string[];
  /** Writes the cloud's policy as it is now. */
  writePolicy(change?: object): void;
  /** Starts it, with the keystore unless another key is given. */
  spawn(args: readonly string[], env?: Record<string, string>, node?: readonly string[]): ChildProcess;
  run(
    args: readonly string[],
    options?: { env?: Record<string, string>; input?: string; node?: readonly string[] },
  ): Promise<Ran>;
  remove(): void;
}

/** @param key the API key */
export function makeHome(cloud: Pick<Cloud, 'url'> & { policy: object }, key = API_KEY): Home {
  const folder = mkdtempSync(join(tmpdir(), 'kiff-signer-'));
  const policy = join(folder, 'policy.json');
  const journal = join(folder, 'journal');
  const keystore = join(folder, 'key.json');
  const writePolicy = (change: object = {}): void =>
    writeFileSync(policy, JSON.stringify({ ...cloud.policy, ...change }));
  writePolicy();
  writeFileSync(keystore, keystoreOf(KEY, PASSWORD));
  const files = ['--policy', policy, '--journal', journal];

  const start = (
    args: readonly string[],
    env: Record<string, string> = {},
    node: readonly string[] = [],
  ): ChildProcess => {
    const isRun = args[0] === undefined || args[0].startsWith('-');
    const hasKey = args.some((arg) => ['--wallet', '--kms-key', '--keystore'].includes(arg));
    const held = isRun && !hasKey ? ['--keystore', keystore] : [];
    const more = isRun ? ['--api', cloud.url, '--json', ...held] : [];
    return spawn(process.execPath, [...node, KIFF, 'signer', ...args, ...files, ...more], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, KIFF_API_KEY: key, KIFF_KEYSTORE_PASSWORD: PASSWORD, ...env },
    });
  };

  return {
    folder,
    journal,
    files,
    writePolicy,
    spawn: start,
    async run(args, { env, input = '', node } = {}) {
      const child = start(args, env, node);
      let stdout = '';
      let stderr = '';
      child.stdout!.setEncoding('utf8').on('data', (text: string) => (stdout += text));
      child.stderr!.setEncoding('utf8').on('data', (text: string) => (stderr += text));
      child.stdin!.on('error', () => undefined).end(input);
      const [code] = (await once(child, 'close')) as [number | null];
      const lines = stdout.split('\n').filter((line) => line.startsWith('{"time"'));
      return { code, lines: lines.map((line) => JSON.parse(line) as Line), stdout, stderr };
    },
    remove: () => rmSync(folder, { recursive: true }),
  };
}
