/**
 * The inbox: starts a workflow for every command that the application plane wrote (design section 3, wall 1). It is told of
 * new ones by NOTIFY, and looks by itself behind that, so that a lost word costs a second and no command.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { WorkflowExecutionAlreadyStartedError, WorkflowIdReusePolicy, type Client } from '@temporalio/client';
import type { Pool } from 'pg';
import pg from 'pg';
import type { Logger } from 'pino';
import { takeCommand, type StartCommand } from '../../activities/commands/queue.ts';
import { TENANT_ID } from '../../workflows/attributes.ts';
import type { command } from '../../workflows/command.ts';
import { commandId, SEALING_QUEUE } from '../../workflows/ids.ts';

export interface InboxDependencies {
  /** The login kiff_sealing: takes and settles commands. */
  pool: Pool;
  /** The same, for a connection that listens. */
  databaseUrl: string;
  start: StartCommand;
  log: Logger;
}

export interface Inbox {
  /** Takes no more commands; resolves when the ones in hand are dealt with. */
  stop(): Promise<void>;
}

/** Commands dealt with at once, each on a connection of its own. */
const LANES = 4;
/** Milliseconds: how often it looks without being told, and how long it waits after the database or Temporal was away. */
const LOOK = 1_000;

/** Within the 5 s that a transaction may last. */
const START_DEADLINE = 3_000;

/** Starts the workflow `command/<id>`; one that was started before, finished or not, is not started again. */
export function startWith(client: Client): StartCommand {
  return async (id, ask) => {
    try {
      await client.withDeadline(Date.now() + START_DEADLINE, () =>
        client.workflow.start<typeof command>('command', {
          workflowId: commandId(id),
          taskQueue: SEALING_QUEUE,
          workflowIdReusePolicy: WorkflowIdReusePolicy.REJECT_DUPLICATE,
          args: [{ commandId: id, ask }],
          typedSearchAttributes: [{ key: TENANT_ID, value: ask.tenantId }],
          staticSummary: `Command ${id}: ${ask.kind} of ${ask.tenantId}`,
        }),
      );
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    }
  };
}

export function startInbox({ pool, databaseUrl, start, log }: InboxDependencies): Inbox {
  const stopping = new AbortController();
  const stopped = stopping.signal;
  let tell: (() => void) | undefined;
  let told = new Promise<void>((resolve) => (tell = resolve));
  const wake = (): void => {
    tell?.();
    told = new Promise<void>((resolve) => (tell = resolve));
  };
  stopped.addEventListener('abort', wake);
  const looking = setInterval(wake, LOOK);
  const pause = (milliseconds: number): Promise<void> =>
    delay(milliseconds, undefined, { signal: stopped }).catch(() => undefined);

  async function lane(): Promise<void> {
    while (!stopped.aborted) {
      // Before the look, so that a command which comes during it is not slept over.
      const next = told;
      try {
        const taken = await takeCommand(pool, start);
        if (taken.outcome === 'nothing') await next;
        else log.info({ command: taken.commandId, ...errorName(taken.error) }, `command.${taken.outcome}`);
      } catch (error) {
        log.warn(errorName(error), 'inbox.unavailable');
        await pause(LOOK);
      }
    }
  }

  async function listen(): Promise<void> {
    while (!stopped.aborted) {
      const client = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: 5_000, keepAlive: true });
      const ended = new Promise<void>((resolve) => client.on('end', resolve).on('error', () => resolve()));
      client.on('notification', wake);
      try {
        await client.connect();
        await client.query('LISTEN kiff_commands');
        wake(); // what came while nobody listened
        await Promise.race([
          ended,
          new Promise((resolve) => stopped.addEventListener('abort', resolve, { once: true })),
        ]);
      } catch (error) {
        log.warn(errorName(error), 'inbox.deaf');
      }
      await client.end().catch(() => undefined);
      if (!stopped.aborted) await pause(LOOK);
    }
  }

  const running = Promise.all([listen(), ...Array.from({ length: LANES }, lane)]);
  return {
    async stop() {
      stopping.abort();
      clearInterval(looking);
      await running;
    },
  };
}

/** A driver's message may quote a row: its name and code may not. */
function errorName(error: unknown): object {
  if (error === undefined) return {};
  if (!(error instanceof Error)) return { error: typeof error };
  return { error: error.name, ...('code' in error ? { code: String(error.code) } : {}) };
}
