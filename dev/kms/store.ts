import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import { keySpecNames, keyUsageNames } from './keys.ts';

const accountId = z.string().regex(/^\d{12}$/);
const keySchema = z.strictObject({
  keyId: z.uuid(),
  accountId,
  region: z.string(),
  /** Milliseconds since 1970, as all times here. */
  createdAt: z.int(),
  spec: z.enum(keySpecNames),
  usage: z.enum(keyUsageNames),
  description: z.string(),
  state: z.enum(['Enabled', 'Disabled', 'PendingDeletion']),
  deletionAt: z.int().nullable(),
  policy: z.string(),
  tags: z.record(z.string(), z.string()),
  /** 32 bytes in hex. This is why the file is 0600. */
  secret: z.string().regex(/^[0-9a-f]{64}$/),
});
const aliasSchema = z.strictObject({
  /** With its prefix: `alias/kiff/acme`. */
  name: z.string(),
  accountId,
  region: z.string(),
  targetKeyId: z.uuid(),
  createdAt: z.int(),
  updatedAt: z.int(),
});
const stateSchema = z.strictObject({ version: z.literal(1), keys: z.array(keySchema), aliases: z.array(aliasSchema) });

export type KmsKey = z.output<typeof keySchema>;
export type KmsAlias = z.output<typeof aliasSchema>;

export function keyArn(key: Pick<KmsKey, 'region' | 'accountId' | 'keyId'>): string {
  return `arn:aws:kms:${key.region}:${key.accountId}:key/${key.keyId}`;
}

export function aliasArn(alias: Pick<KmsAlias, 'region' | 'accountId' | 'name'>): string {
  return `arn:aws:kms:${alias.region}:${alias.accountId}:${alias.name}`;
}

/** Keys and aliases by ARN. Whoever changes anything calls `save` before the change is answered. */
export interface Store {
  readonly keys: Map<string, KmsKey>;
  readonly aliases: Map<string, KmsAlias>;
  save(): void;
  /** Forgets keys whose waiting period is over, and their aliases. */
  expire(now: number): void;
}

const byArn = (a: readonly [string, unknown], b: readonly [string, unknown]): number => (a[0] < b[0] ? -1 : 1);

function read(file: string): z.output<typeof stateSchema> {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new Error(`kms: cannot read the state file ${file}`, { cause: error });
  }
  const parsed = stateSchema.safeParse(json);
  if (!parsed.success) throw new Error(`kms: ${file} is not a KMS state file\n${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

/** Written whole under another name and renamed: a crash leaves the old state or the new one. */
function write(file: string, text: string): void {
  const temporary = `${file}.${process.pid}.tmp`;
  const fd = openSync(temporary, 'w', 0o600);
  try {
    writeSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, file);
}

/**
 * Opens the state: from `stateFile` if there is one (throws if it cannot be read), else empty; without `stateFile` in memory only. One process
 * at a time may hold a state file; nothing here guards that.
 */
export function openStore(stateFile?: string): Store {
  const keys: Store['keys'] = new Map();
  const aliases: Store['aliases'] = new Map();
  if (stateFile !== undefined) {
    mkdirSync(dirname(stateFile), { recursive: true });
    if (existsSync(stateFile)) {
      chmodSync(stateFile, 0o600);
      const state = read(stateFile);
      for (const key of state.keys) keys.set(keyArn(key), key);
      for (const alias of state.aliases) aliases.set(aliasArn(alias), alias);
    }
  }

  const save = (): void => {
    if (stateFile === undefined) return;
    const state: z.output<typeof stateSchema> = {
      version: 1,
      keys: [...keys].toSorted(byArn).map(([, key]) => key),
      aliases: [...aliases].toSorted(byArn).map(([, alias]) => alias),
    };
    write(stateFile, `${JSON.stringify(state, null, 2)}\n`);
  };

  const expire = (now: number): void => {
    const gone = [...keys.values()].filter((key) => key.deletionAt !== null && key.deletionAt <= now);
    if (gone.length === 0) return;
    for (const key of gone) {
      keys.delete(keyArn(key));
      for (const [arn, alias] of aliases) if (alias.targetKeyId === key.keyId) aliases.delete(arn);
    }
    save();
  };

  return { keys, aliases, save, expire };
}
