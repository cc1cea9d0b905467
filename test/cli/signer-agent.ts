/** A signer in the test's own process: the real judge, journal and client of the cloud; its key tells what it was asked for. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { handleAll, type Agent, type News } from '../../cli/signer/agent.ts';
import { createCloud } from '../../cli/signer/cloud.ts';
import { createHealth } from '../../cli/signer/health.ts';
import { openJournal, type Journal } from '../../cli/signer/journal.ts';
import type { Judge } from '../../cli/signer/judge.ts';
import { heldKey, KeyUnavailable, type SigningKey } from '../../cli/signer/keys.ts';
import type { SignerPolicy } from '../../cli/signer/policy.ts';
import { createPublicLog } from '../../cli/monitor/public-log.ts';
import type { Hex } from '../../protocol/index.ts';
import { API_KEY, type Cloud } from './hostile-cloud.ts';

export const KEY: Hex = `0x${'00'.repeat(31)}05`;
export const SIGNER: Hex = '0xe1ab8145f7e55dc933d51a18c793f901a3a0b276';

export interface TestSigner {
  readonly journalPath: string;
  journal: Journal;
  /** Digests that the key was asked to sign, in order, answered or not. */
  readonly asked: Hex[];
  readonly news: News[];
  /** The key fails until it is false again. */
  keyAway: boolean;
  /** Handles these requests, or those that the cloud has open. @returns what was told */
  handle(...requests: readonly unknown[]): Promise<News[]>;
  round(): Promise<News[]>;
  /** As after a crash: memory is lost, the journal is read again. */
  restart(): void;
  stop(): void;
}

/** @param at a journal to go on from; one of its own unless given */
export function startSigner(cloud: Cloud, more: Partial<Judge> = {}, at?: string): TestSigner {
  const folder = mkdtempSync(join(tmpdir(), 'kiff-signer-'));
  const journalPath = at ?? join(folder, 'journal');
  const policy = cloud.policy as SignerPolicy;
  const asked: Hex[] = [];
  const own = heldKey(KEY, SIGNER);
  let away = false;
  const key: SigningKey = {
    where: 'the test',
    async sign(statement) {
      asked.push(statement.digest);
      if (away) throw new KeyUnavailable('away');
      return own.sign(statement);
    },
  };
  const client = createCloud(new URL(cloud.url), API_KEY);
  const base = `${cloud.url}${cloud.origin.slice(cloud.origin.indexOf('/'))}`;
  const deps: Judge = {
    policy,
    published: createPublicLog(base, API_KEY),
    chain: null,
    recompute: null,
    now: () => Math.floor(Date.now() / 1000),
    ...more,
  };
  const never = new AbortController().signal;
  let news: News[] = [];
  const agentOn = (journal: Journal): Agent => ({
    deps,
    journal,
    key,
    cloud: client,
    health: createHealth(
      cloud.origin,
      () => journal.said,
      () => new Date(),
    ),
    answered: new Map(),
    tell: (item) => void news.push(item),
    ask: null,
  });

  const signer: TestSigner = {
    journalPath,
    journal: openJournal(journalPath, policy),
    asked,
    news,
    get keyAway() {
      return away;
    },
    set keyAway(value) {
      away = value;
    },
    async handle(...requests) {
      news = [];
      await handleAll(agentOn(signer.journal), requests, never);
      return news;
    },
    async round() {
      return signer.handle(...(await client.requests(0, never)));
    },
    restart() {
      signer.journal.close();
      signer.journal = openJournal(journalPath, policy);
    },
    stop() {
      signer.journal.close();
      rmSync(folder, { recursive: true });
    },
  };
  return signer;
}
