import { mkdirSync, realpathSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { Connection } from '@temporalio/client';
import { freePort } from './ports.ts';
import { answers, startCommand, type RunningProcess } from './process.ts';
import { part } from './progress.ts';
import { temporalBinary } from './temporal-binary.ts';

/** Search attribute types by their numbers in temporal.api.enums.v1.IndexedValueType. */
const indexedValueTypes = { Text: 1, Keyword: 2, Int: 3, Double: 4, Bool: 5, Datetime: 6, KeywordList: 7 } as const;
export type SearchAttributes = Readonly<Record<string, keyof typeof indexedValueTypes>>;

export interface TemporalOptions {
  /** The CLI, as {@link temporalBinary} finds it. */
  binary: string;
  /** Where everything is kept between runs; in memory without it. */
  dbFile?: string;
  /** Of the gRPC frontend and of the Web UI; free ones unless given. */
  port?: number;
  uiPort?: number;
  namespace?: string;
  searchAttributes: SearchAttributes;
  logFile: string;
  /** Gives the start up. */
  signal?: AbortSignal | undefined;
}

export interface Temporal {
  /** host:port of the gRPC frontend. */
  address: string;
  uiUrl: string;
  namespace: string;
  pid: number;
  exited: RunningProcess['exited'];
  stop(): Promise<void>;
}

/**
 * The Temporal CLI's development server, ready when its frontend answers for the namespace, the search attributes are
 * registered and the Web UI is served. It listens on 127.0.0.1 only. With `dbFile` a later start continues the workflows.
 */
export async function startTemporal(options: TemporalOptions): Promise<Temporal> {
  const { binary, dbFile, namespace = 'default', searchAttributes, logFile, signal } = options;
  if (dbFile !== undefined) mkdirSync(dirname(dbFile), { recursive: true });
  for (let attempt = 1; ; attempt++) {
    const port = options.port ?? (await freePort());
    const uiPort = options.uiPort ?? (await freePort());
    const address = `127.0.0.1:${port}`;
    const uiUrl = `http://127.0.0.1:${uiPort}`;
    const args = ['server', 'start-dev', '--ip', '127.0.0.1', '--port', String(port), '--ui-port', String(uiPort)];
    args.push('--namespace', namespace, '--log-level', 'warn');
    // Else an attribute that was added just now is refused until a cache of a minute has run out.
    args.push('--dynamic-config-value', 'system.forceSearchAttributesCacheRefreshOnRead=true');
    for (const [name, type] of Object.entries(searchAttributes)) args.push('--search-attribute', `${name}=${type}`);
    if (dbFile !== undefined) args.push('--db-filename', dbFile);
    try {
      const { process: server } = await startCommand({
        name: 'temporal',
        command: binary,
        args,
        env: serverEnv(),
        logFile,
        signal,
        ...(dbFile === undefined ? {} : { pidFile: `${dbFile}.pid` }),
        ready: async () =>
          (await isServing(address, namespace, searchAttributes)) && (await answers(uiUrl)) ? true : undefined,
      });
      return {
        address,
        uiUrl,
        namespace,
        pid: server.pid,
        exited: server.exited,
        stop: async () => void (await server.stop()),
      };
    } catch (error) {
      const portTaken = (error as Error).message.includes('address already in use');
      const portsGiven = options.port !== undefined && options.uiPort !== undefined;
      if (!portTaken || portsGiven || attempt === 3) throw error;
    }
  }
}

/** The client's settings (TEMPORAL_ADDRESS and so on) mean other servers; a version manager's shim needs the rest. */
function serverEnv(): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) {
    if (value !== undefined && !name.startsWith('TEMPORAL_')) env[name] = value;
  }
  return env;
}

async function isServing(address: string, namespace: string, searchAttributes: SearchAttributes): Promise<boolean> {
  if (!(await accepts(address))) return false;
  const connection = Connection.lazy({ address });
  try {
    await connection.withDeadline(Date.now() + 2_000, async () => {
      await connection.workflowService.describeNamespace({ namespace });
      await registerSearchAttributes(connection, namespace, searchAttributes);
    });
    return true;
  } catch (error) {
    // It listens before it can answer, so this is asked again, but a wrong type stays wrong.
    if (error instanceof TypeMismatch) throw error;
    return false;
  } finally {
    await connection.close();
  }
}

class TypeMismatch extends Error {}

/**
 * Registers what a namespace lacks: on a database that exists, the server's own flags register nothing new.
 *
 * @throws TypeMismatch when an attribute stands with another type
 */
export async function registerSearchAttributes(
  connection: Connection,
  namespace: string,
  searchAttributes: SearchAttributes,
): Promise<void> {
  const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
  const missing: Record<string, number> = {};
  for (const [name, type] of Object.entries(searchAttributes)) {
    const standing: number | undefined = customAttributes[name];
    if (standing === undefined) missing[name] = indexedValueTypes[type];
    else if (standing !== indexedValueTypes[type])
      throw new TypeMismatch(`search attribute ${name} is not of type ${type}`);
  }
  if (Object.keys(missing).length > 0) {
    await connection.operatorService.addSearchAttributes({ namespace, searchAttributes: missing });
  }
}

async function accepts(address: string): Promise<boolean> {
  const { hostname, port } = new URL(`tcp://${address}`);
  return await new Promise((resolve) => {
    const socket = connect({ host: hostname, port: Number(port), timeout: 1_000 });
    const end = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => end(true));
    socket.once('timeout', () => end(false));
    socket.once('error', () => end(false));
  });
}

/** `prepare` makes sure that the server's binary is there; `download DIRECTORY` is its own step, in a process apart. */
async function main([command, directory]: readonly string[]): Promise<void> {
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.on(signal, () => process.exit(code)); // what it started is ended on exit
  }
  if (command === 'prepare') {
    if (process.env['TEMPORAL_ADDRESS']) return;
    const progress = part('temporal');
    const began = performance.now();
    progress.start('looking for the Temporal server');
    try {
      const binary = await temporalBinary({ onProgress: (doing) => progress.update(doing) });
      if (performance.now() - began > 2_000) progress.done(binary);
      else progress.stop();
    } catch (error) {
      progress.fail((error as Error).message);
      process.exitCode = 1;
    }
  } else if (command === 'download' && directory !== undefined) {
    const { TestWorkflowEnvironment } = await import('@temporalio/testing');
    const executable = { type: 'cached-download', downloadDir: directory } as const;
    const environment = await TestWorkflowEnvironment.createLocal({ server: { executable } });
    await environment.teardown();
  } else {
    throw new Error('usage: temporal.js prepare | download DIRECTORY');
  }
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === import.meta.filename)
  await main(process.argv.slice(2));
