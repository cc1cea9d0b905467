/**
 * The load generator, a process of its own: requests made up beforehand, written to plain sockets, answers counted and not
 * parsed, so that it costs the machine as little as a client can. Started by `fork`; speaks over its channel.
 */
import { connect, type Socket } from 'node:net';
import { createAnswerReader } from '../answers.ts';
import { recordLines } from './records.ts';

export interface LoadOrder {
  port: number;
  apiKey: string;
  connections: number;
  requests: number;
  /** 1: single records as application/json. More: NDJSON of that many lines. */
  recordsPerRequest: number;
}

export interface LoadReport {
  /** From the first byte sent to the last answer received. */
  seconds: number;
  /** Answers by status. */
  statuses: Record<number, number>;
  /** What this process itself used of a core in that time. */
  cpuSeconds: number;
}

function requestsFor({ apiKey, requests, recordsPerRequest }: LoadOrder): Buffer[] {
  const lines = recordLines(requests * recordsPerRequest);
  const type = recordsPerRequest === 1 ? 'application/json' : 'application/x-ndjson';
  return Array.from({ length: requests }, (_, index) => {
    const body = Buffer.from(lines.slice(index * recordsPerRequest, (index + 1) * recordsPerRequest).join('\n'));
    const head =
      `POST /v1/records HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer ${apiKey}\r\n` +
      `Content-Type: ${type}\r\nContent-Length: ${body.length}\r\n\r\n`;
    return Buffer.concat([Buffer.from(head), body]);
  });
}

/** Sends one request after the other over one connection, as long as there are any. */
function keepBusy(socket: Socket, next: () => Buffer | undefined, answered: (status: number) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const send = (): void => {
      const request = next();
      if (request === undefined) {
        socket.destroy();
        resolve();
      } else {
        socket.write(request);
      }
    };
    const read = createAnswerReader((status) => {
      answered(status);
      send();
    });
    socket.on('data', (chunk: Buffer) => {
      try {
        read(chunk);
      } catch (error) {
        reject(error);
      }
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('the server closed a connection')));
    send();
  });
}

async function run(order: LoadOrder): Promise<LoadReport> {
  const requests = requestsFor(order);
  const sockets = await Promise.all(
    Array.from({ length: order.connections }, () => {
      const socket = connect(order.port, '127.0.0.1');
      socket.setNoDelay(true);
      return new Promise<Socket>((resolve, reject) => {
        socket.once('connect', () => resolve(socket)).once('error', reject);
      });
    }),
  );
  const statuses: Record<number, number> = {};
  let at = 0;
  const start = performance.now();
  const before = process.cpuUsage();
  await Promise.all(
    sockets.map((socket) =>
      keepBusy(
        socket,
        () => requests[at++],
        (status) => (statuses[status] = (statuses[status] ?? 0) + 1),
      ),
    ),
  );
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(before);
  return { seconds, statuses, cpuSeconds: (user + system) / 1e6 };
}

process.on('message', (order: LoadOrder) => {
  run(order).then(
    (report) => process.send?.(report),
    (error: unknown) => {
      process.stderr.write(`load generator: ${String(error)}\n`);
      process.exit(1);
    },
  );
});
