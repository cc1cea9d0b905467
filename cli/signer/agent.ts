/**
 * One signer at work: asks the cloud for requests, judges each, signs what may be signed, answers, and waits again.
 *
 * Crash boundaries: before the statement is in the journal nothing has happened. After it, exactly that statement is signed, now or by
 * whoever starts next. Once the signature is in the journal it is what every later answer says; an answer that was lost is given again.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Hex } from '../../protocol/index.ts';
import { CloudUnreachable, type Cloud } from './cloud.ts';
import type { Health } from './health.ts';
import type { Journal } from './journal.ts';
import { judge, type Judge } from './judge.ts';
import { KeyUnavailable, type SigningKey } from './keys.ts';
import { readRequest, type SigningRequest } from './requests.ts';
import { Held, Refused } from './verdict.ts';
import { whyThrownBack, wordsFor } from './words.ts';

/**
 * What the signer tells: one line each. Names are added to, never renamed. `not-taken`: the cloud's API does not take an answer;
 * `answer-refused`: it was taken there, and thrown back by what verifies it for good.
 */
export interface News {
  readonly event:
    | 'signing'
    | 'signed'
    | 'refused'
    | 'held'
    | 'not-taken'
    | 'answer-refused'
    | 'cloud-unreachable'
    | 'cloud-reachable';
  readonly request?: string;
  readonly kind?: string;
  readonly word?: string;
  readonly says: string;
}

export interface Agent {
  readonly deps: Judge;
  readonly journal: Journal;
  readonly key: SigningKey;
  readonly cloud: Cloud;
  readonly health: Health;
  /** What was answered since the start, by request. */
  readonly answered: Map<string, string>;
  tell(news: News): void;
  /** Asks the owner; null: nobody is asked. Resolves to whether it may be signed. @throws Held when stopped meanwhile */
  readonly ask: ((words: string, signal: AbortSignal) => Promise<boolean>) | null;
}

const WAIT_SECONDS = 25;
/** An answer that was taken is off the table a moment later: until then the same request comes again. */
const FIRST_BACK_OFF_MS = 250;
/** The cloud takes a signer for away that has not asked for 40 seconds. */
const MOST_BACK_OFF_MS = 30_000;

/** How long to wait after so many rounds without progress: doubled each time, and spread, so that signers do not come back together. */
function backOff(rounds: number): number {
  const most = Math.min(MOST_BACK_OFF_MS, FIRST_BACK_OFF_MS * 2 ** rounds);
  return most / 2 + (Math.random() * most) / 2;
}

/** What became of a request. `done`: it is off the table, by a signature or a refusal that is new. */
type Outcome = 'done' | 'open';

/**
 * Handles the requests of one round, in order. After a seal that could not be signed no later one is tried: they follow each other.
 * @returns how many were done
 * @throws CloudUnreachable, JournalBroken
 */
export async function handleAll(agent: Agent, values: readonly unknown[], signal: AbortSignal): Promise<number> {
  let done = 0;
  let stopped = false;
  let waiting = 0;
  for (const value of values) {
    if (signal.aborted) break;
    const request = readRequest(value);
    if ('problem' in request) {
      if (request.id === null) agent.tell({ event: 'refused', word: 'malformed', says: request.problem });
      else done += (await refuse(agent, request.id, 'unreadable', 'malformed', request.problem)) === 'done' ? 1 : 0;
      continue;
    }
    if (request.lastAnswerRefused !== null) thrownBack(agent, request, request.lastAnswerRefused);
    const isSeal = request.statement.kind === 'seal';
    if (isSeal && stopped) {
      waiting++;
      continue;
    }
    const { outcome, signed } = await handle(agent, request, signal);
    if (outcome === 'done') done++;
    if (isSeal && !signed) stopped = true;
  }
  agent.health.waiting = waiting + (stopped ? 1 : 0);
  return done;
}

async function handle(
  agent: Agent,
  request: SigningRequest,
  signal: AbortSignal,
): Promise<{ outcome: Outcome; signed: boolean }> {
  const { id, statement } = request;
  const { kind } = statement;
  try {
    const signature = await signatureFor(agent, request, signal);
    const taken = await agent.cloud.answer(id, { signature });
    agent.health.answered();
    if (taken.taken) return { outcome: news(agent, id, signature), signed: true };
    notTaken(agent, id, kind, taken);
    return { outcome: 'open', signed: true };
  } catch (error) {
    if (error instanceof Refused) {
      return { outcome: await refuse(agent, id, kind, error.word, error.message), signed: false };
    }
    if (error instanceof Held || error instanceof KeyUnavailable) {
      const word = error instanceof Held ? error.word : 'key-unavailable';
      agent.health.held(word, error.message);
      agent.tell({ event: 'held', request: id, kind, word, says: error.message });
      return { outcome: 'open', signed: false };
    }
    throw error;
  }
}

/** The statement's signature: the one in the journal, or a new one. @throws Refused, Held, KeyUnavailable, JournalBroken */
async function signatureFor(agent: Agent, request: SigningRequest, signal: AbortSignal): Promise<Hex> {
  const { deps, journal, key, health } = agent;
  const { statement } = request;
  const { kind, structHash } = statement;
  const entry = await judge(deps, journal.said, request);
  const known = journal.said.signatures.get(structHash);
  if (known != null) return known;
  const words = wordsFor(statement, journal.said, deps.policy);
  agent.tell({ event: 'signing', request: request.id, kind, says: words });
  if (entry !== null) {
    if (agent.ask !== null && !(await agent.ask(words, signal)))
      throw new Refused('declined', 'the signer’s owner said no');
    journal.append(entry);
  }
  const signature = await unlessStopped(key.sign(statement), signal);
  journal.append({ kind: 'signed', structHash, signature });
  health.signed(kind);
  agent.tell({ event: 'signed', request: request.id, kind, says: `${structHash} by ${key.where}` });
  return signature;
}

/** A wallet may take as long as the person behind it; who stops the signer does not wait for that. */
function unlessStopped<T>(signing: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(new KeyUnavailable('the signer was stopped'));
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    void signing.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}

async function refuse(agent: Agent, id: string, kind: string, word: string, says: string): Promise<Outcome> {
  agent.health.refused(word, says);
  agent.tell({ event: 'refused', request: id, kind, word, says });
  const taken = await agent.cloud.answer(id, { refused: `${word}: ${says}`.slice(0, 500) });
  if (taken.taken) return news(agent, id, word);
  notTaken(agent, id, kind, taken);
  return 'open';
}

function notTaken(agent: Agent, id: string, kind: string, { word, why }: { word: string; why: string }): void {
  agent.health.notTaken(word, why);
  agent.tell({ event: 'not-taken', request: id, kind, word, says: why });
}

/** Nothing more to do than to say it: what is asked for again is judged and answered like anything else. */
function thrownBack(agent: Agent, { id, statement: { kind } }: SigningRequest, word: string): void {
  const says = whyThrownBack(word);
  agent.health.notTaken(word, says);
  agent.tell({ event: 'answer-refused', request: id, kind, word, says });
}

const MOST_ANSWERED = 10_000;

/** A request that comes again although it was answered is no progress: a cloud that never stops asking is not asked all the time. */
function news({ answered }: Agent, id: string, answer: string): Outcome {
  if (answered.get(id) === answer) return 'open';
  if (answered.size >= MOST_ANSWERED) answered.clear();
  answered.set(id, answer);
  return 'done';
}

/**
 * Works until `signal`, or with `once` until a round finds nothing that can be done.
 * @throws JournalBroken
 */
export async function work(agent: Agent, signal: AbortSignal, once: boolean): Promise<void> {
  const { cloud, health } = agent;
  let idle = 0;
  let reachable = true;
  let heard = false;
  while (!signal.aborted) {
    let wait: number | null = null;
    try {
      // The first time at once: whoever starts it wants to see that the cloud knows it.
      const values = await cloud.requests(once || idle > 0 || !heard ? 0 : WAIT_SECONDS, signal);
      heard = true;
      if (!reachable) agent.tell({ event: 'cloud-reachable', says: 'The cloud answers again.' });
      reachable = true;
      health.heard(values.length);
      const done = await handleAll(agent, values, signal);
      // What stays open comes back at once at the next question: not before a while.
      idle = values.length > 0 && done === 0 ? idle + 1 : 0;
      if (once && done === 0) return;
    } catch (error) {
      if (!(error instanceof CloudUnreachable)) throw error;
      if (signal.aborted) return;
      idle++;
      wait = error.retryAfter;
      health.lost(error.message);
      if (reachable) agent.tell({ event: 'cloud-unreachable', says: `The cloud: ${error.message}.` });
      reachable = false;
      if (once) throw error;
    }
    if (idle === 0) continue;
    const ms = Math.max(backOff(idle - 1), (wait ?? 0) * 1000);
    await delay(ms, undefined, { signal }).catch(() => undefined);
  }
}
