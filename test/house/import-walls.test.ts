/** The import walls of .oxlintrc.json, tried: every forbidden import is reported, and every allowed one passes. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { packageRoot } from '../../dev/root.ts';

const IMPORTS = 'no-restricted-imports';
const GLOBALS = 'no-restricted-globals';
const ENVIRONMENT = 'no-process-env';

/** Folder → what a file in it must not say, and by which rule. */
const FORBIDDEN: Record<string, [source: string, rule: string][]> = {
  'api/ingest': [
    [`import { Client } from '@temporalio/client'; new Client();`, IMPORTS],
    [`import type { Client } from '@temporalio/client'; export type C = Client;`, IMPORTS],
    [`export * from '@temporalio/common';`, IMPORTS],
    [`export const kms = () => import('@aws-sdk/client-kms');`, IMPORTS],
    [`import { createPublicClient } from 'viem'; createPublicClient();`, IMPORTS],
    [`import { privateKeyToAccount } from 'viem/accounts'; privateKeyToAccount();`, IMPORTS],
    [`import { failure } from '../../activities/failures.ts'; failure();`, IMPORTS],
    [`import type { SealInput } from '../../workflows/seal.ts'; export type S = SealInput;`, IMPORTS],
    [`import { createKms } from '../../workers/kms.ts'; createKms();`, IMPORTS],
    [`import { startKms } from '../../dev/kms/server.ts'; startKms();`, IMPORTS],
    [`import { Router } from 'express'; Router();`, IMPORTS],
    [`import express from 'express'; express();`, IMPORTS],
    [`export const port = process.env['API_PORT'];`, ENVIRONMENT],
  ],
  'api/http': [
    [`import { createApp } from '../ingest/app.ts'; createApp();`, IMPORTS],
    [`import { Client } from '@temporalio/client'; new Client();`, IMPORTS],
    [`import { failure } from '../../activities/failures.ts'; failure();`, IMPORTS],
  ],
  workflows: [
    [`import { verifyToken } from '@clerk/express'; verifyToken();`, IMPORTS],
    [`import { failure } from '../activities/failures.ts'; failure();`, IMPORTS],
    [`import { type Alert, failure } from '../activities/failures.ts'; failure(null as unknown as Alert);`, IMPORTS],
    [`export { failure } from '../activities/failures.ts';`, IMPORTS],
    [`import { Client } from '@temporalio/client'; new Client();`, IMPORTS],
    [`import { Pool } from 'pg'; new Pool();`, IMPORTS],
    [`import { keccak256 } from 'viem'; keccak256();`, IMPORTS],
    [`import { randomBytes } from 'node:crypto'; randomBytes();`, IMPORTS],
    [`import { createKms } from '../workers/kms.ts'; createKms();`, IMPORTS],
  ],
  protocol: [
    [`import { verifyToken } from '@clerk/express'; verifyToken();`, IMPORTS],
    [`import { createHash } from 'node:crypto'; createHash();`, IMPORTS],
    [`import { Pool } from 'pg'; new Pool();`, IMPORTS],
    [`import { keccak256 } from 'viem'; keccak256();`, IMPORTS],
    [`import { failure } from '../activities/failures.ts'; failure();`, IMPORTS],
    [`export const pid = process.pid;`, GLOBALS],
    [`export const bytes = Buffer.from('');`, GLOBALS],
    [`export const answer = () => fetch('https://example.com');`, GLOBALS],
  ],
  activities: [
    [`import { verifyToken } from '@clerk/express'; verifyToken();`, IMPORTS],
    [`import { createKms } from '../workers/kms.ts'; createKms();`, IMPORTS],
    [`import type { SealInput } from '../workflows/seal.ts'; export type S = SealInput;`, IMPORTS],
  ],
  'activities/log': [
    [`import { hour } from '../../workflows/ids.ts'; hour();`, IMPORTS],
    [`import { Problem } from '../../api/http/problems.ts'; new Problem();`, IMPORTS],
    [`import { packageRoot } from '../../dev/root.ts'; export const root = packageRoot;`, IMPORTS],
  ],
  cli: [
    [`import { verifyToken } from '@clerk/express'; verifyToken();`, IMPORTS],
    [`import { Problem } from '../api/http/problems.ts'; new Problem();`, IMPORTS],
    [`import { failure } from '../activities/failures.ts'; failure();`, IMPORTS],
    [`import { migrate } from '../sql/migrate.ts'; migrate();`, IMPORTS],
    [`import pg from 'pg'; pg();`, IMPORTS],
    [`import { KMSClient } from '@aws-sdk/client-kms'; new KMSClient();`, IMPORTS],
  ],
  'cli/signer': [
    [`import { signDigest } from '../../activities/kms/keys.ts'; signDigest();`, IMPORTS],
    [`import { migrate } from '../../sql/migrate.ts'; migrate();`, IMPORTS],
    [`import pg from 'pg'; pg();`, IMPORTS],
    [`import { Client } from '@temporalio/client'; new Client();`, IMPORTS],
    [`import { verifyToken } from '@clerk/express'; verifyToken();`, IMPORTS],
    [`export const key = process.env['KIFF_API_KEY'];`, ENVIRONMENT],
  ],
  page: [
    [`import { migrate } from '../sql/migrate.ts'; migrate();`, IMPORTS],
    [`import { readText } from '../cli/input.ts'; readText();`, IMPORTS],
    [`import { readFileSync } from 'node:fs'; readFileSync('');`, IMPORTS],
    [`import { keccak256 } from 'viem'; keccak256();`, IMPORTS],
  ],
  'cli/operator': [
    [`import { verifyToken } from '@clerk/express'; verifyToken();`, IMPORTS],
    [`import { Problem } from '../../api/http/problems.ts'; new Problem();`, IMPORTS],
    [`import { Client } from '@temporalio/client'; new Client();`, IMPORTS],
    [`import { migrateTenant } from '../../sql/tenant.ts'; migrateTenant();`, IMPORTS],
    [`import { createTenant } from '../../dev/tenant.ts'; createTenant();`, IMPORTS],
    [`export const url = process.env['OPERATOR_DATABASE_URL'];`, ENVIRONMENT],
  ],
  'workers/sealing': [
    [`export const url = process.env['DATABASE_URL'];`, ENVIRONMENT],
    // Clerk unreachable (F44): sealing cannot notice.
    [`import { createClerkClient } from '@clerk/backend'; createClerkClient();`, IMPORTS],
    [`export const clerk = () => import('@clerk/backend/internal');`, IMPORTS],
    [`export type { User } from '@clerk/backend';`, IMPORTS],
  ],
  'workers/signing': [[`import { clerkClient } from '@clerk/express'; clerkClient();`, IMPORTS]],
  sql: [[`import { clerkClient } from '@clerk/express'; clerkClient();`, IMPORTS]],
  dev: [[`import { clerkClient } from '@clerk/express'; clerkClient();`, IMPORTS]],
};

/** What the same folders may say. */
const ALLOWED: Record<string, string[]> = {
  'api/ingest': [
    `import { toHex } from '../../protocol/hex.ts'; import { tenantSchema } from '../../sql/login.ts'; import pg from 'pg'; toHex(tenantSchema(pg));`,
    `import { verifyToken } from '@clerk/express'; verifyToken();`,
    `import type { Response } from 'express'; import { operation } from '../http/operation.ts'; export const o = (r: Response) => operation(r);`,
  ],
  'api/http': [`import express from 'express'; import { toHex } from '../../protocol/hex.ts'; toHex(express());`],
  workflows: [
    `import type { LogActivities } from '../activities/log/create.ts'; export type L = LogActivities;`,
    `import { sleep } from '@temporalio/workflow'; import { toHex } from '../protocol/hex.ts'; import { hour } from './ids.ts'; sleep(toHex(hour()));`,
  ],
  protocol: [
    `import { sha256 } from '@noble/hashes/sha2.js'; import { z } from 'zod'; import { toHex } from './hex.ts'; toHex(sha256(z));`,
  ],
  'activities/log': [
    `import { keccak256 } from 'viem'; import { toHex } from '../../protocol/hex.ts'; import { failure } from '../failures.ts'; failure(toHex(keccak256()));`,
  ],
  cli: [
    `import { verifyReceipt } from '../protocol/index.ts'; verifyReceipt();`,
    `export const operators = () => import('./operator/tenant.ts');`,
  ],
  'cli/signer': [
    `import { KMSClient } from '@aws-sdk/client-kms'; import { sealHash } from '../../protocol/index.ts'; import { follow } from '../monitor/tree-line.ts'; follow(new KMSClient(), sealHash);`,
  ],
  page: [
    `import { createHttpRpc } from '../cli/rpc.ts'; import { verifyReceipt } from '../protocol/index.ts'; verifyReceipt(createHttpRpc());`,
  ],
  'cli/operator': [
    `import pg from 'pg'; import { createApiKey } from '../../api/ingest/api-key.ts'; import { UsageError } from '../command.ts'; new UsageError(pg, createApiKey());`,
  ],
  'workers/sealing/env.ts': [`export const url = process.env['DATABASE_URL'];`],
};

interface Finding {
  filename: string;
  code: string;
}

/** Where a case is written: an entry that names a file is that file. */
const place = (folder: string, index: number, kind: string): string =>
  folder.endsWith('.ts') ? folder : `${folder}/${kind}-${index}.ts`;

describe('import walls', function () {
  this.timeout(60_000);
  let tree: string;
  /** File, relative to the tree → the names of the rules that it broke. */
  const broken = new Map<string, string[]>();

  before(() => {
    tree = mkdtempSync(join(tmpdir(), 'kiff-import-walls-'));
    const { options, ...config } = JSON.parse(readFileSync(join(packageRoot, '.oxlintrc.json'), 'utf8')) as {
      options: object;
    };
    // The walls are about what is written; types would need the tree's dependencies.
    writeFileSync(
      join(tree, '.oxlintrc.json'),
      JSON.stringify({ ...config, options: { ...options, typeAware: false } }),
    );
    const write = (file: string, source: string): void => {
      mkdirSync(dirname(join(tree, file)), { recursive: true });
      writeFileSync(join(tree, file), `${source}\n`);
    };
    for (const [folder, cases] of Object.entries(FORBIDDEN)) {
      for (const [index, [source]] of cases.entries()) write(place(folder, index, 'forbidden'), source);
    }
    for (const [folder, sources] of Object.entries(ALLOWED)) {
      for (const [index, source] of sources.entries()) write(place(folder, index, 'allowed'), source);
    }
    const lint = spawnSync(process.execPath, [join(packageRoot, 'node_modules/oxlint/bin/oxlint'), '-f', 'json'], {
      cwd: tree,
      encoding: 'utf8',
    });
    const { diagnostics } = JSON.parse(lint.stdout) as { diagnostics: Finding[] };
    for (const { filename, code } of diagnostics) {
      const rule = /\(([\w-]+)\)$/.exec(code)?.[1] ?? code;
      broken.set(filename, [...(broken.get(filename) ?? []), rule]);
    }
  });

  after(() => rmSync(tree, { recursive: true, force: true }));

  for (const [folder, cases] of Object.entries(FORBIDDEN)) {
    for (const [index, [source, rule]] of cases.entries()) {
      it(`${folder}: ${source}`, () => assert.ok(broken.get(place(folder, index, 'forbidden'))?.includes(rule)));
    }
  }

  for (const [folder, sources] of Object.entries(ALLOWED)) {
    for (const [index, source] of sources.entries()) {
      it(`${folder} may: ${source}`, () => {
        const rules = broken.get(place(folder, index, 'allowed')) ?? [];
        assert.deepEqual(
          rules.filter((rule) => [IMPORTS, GLOBALS, ENVIRONMENT].includes(rule)),
          [],
        );
      });
    }
  }
});
