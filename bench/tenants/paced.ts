/**
 * Clients that post single records at their own pace, whatever becomes of them: a process of its own, started by `fork`. An
 * answer's time counts from when its request was due, so a server that stalls is not spared the requests it held up.
 */
import { connect, type Socket } from 'node:net';
import { createAnswerReader } from '../answers.ts';
import { recordLines } from '../ingest/records.ts';

export interface PacedOrder {
  port: number;
  /** One client each. */
  apiKeys: readonly string[];
  /** Of each client. */
  requestsPerSecond: number;
  /** Of each client: how many requests may be under way at once. */
  connections: number;
  seconds: number;
}

export interface PacedReport {
  /** Milliseconds from due to answered, of requests that were answered with 201. */
  latencies: number[];
  statuses: Record<number, number>;
}

interface Lane {
  socket: Socket;
  /** When the request under way was due; undefined while there is none. */
  due: number | undefined;
}

function requestOf(apiKey: string, body: string): string {
  return (
    `POST /v1/records HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer ${apiKey}\r\n` +
    `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
  );
}

async function pace(
  apiKey: string,
  offset: number,
  order: PacedOrder,
  answered: (status: number, milliseconds: number) => void,
): Promise<void> {
  const { port, requestsPerSecond, connections, seconds } = order;
  const total = Math.floor(requestsPerSecond * seconds);
  const requests = recordLines(total).map((body) => requestOf(apiKey, body));
  const lanes = await Promise.all(Array.from({ length: connections }, () => open(port)));
  const interval = 1_000 / requestsPerSecond;
  const start = performance.now() + offset * interval;
  let sent = 0;
  let done = 0;

  const sendDue = (): void => {
    const now = performance.now();
    for (const lane of lanes) {
      if (lane.due !== undefined) continue;
      const due = start + sent * interval;
      if (sent === total || due > now) return;
      lane.due = due;
      lane.socket.write(requests[sent++]!);
    }
  };
  await new Promise<void>((resolve, reject) => {
    const timer = setInterval(sendDue, 1);
    for (const lane of lanes) {
      const read = createAnswerReader((status) => {
        answered(status, performance.now() - (lane.due ?? Number.NaN));
        lane.due = undefined;
        if (++done < total) return sendDue();
        clearInterval(timer);
        resolve();
      });
      lane.socket.on('data', read).on('error', reject);
      lane.socket.on('close', () => reject(new Error('the server closed a connection')));
    }
  });
  for (const { socket } of lanes) socket.removeAllListeners('close').destroy();
}

async function open(port: number): Promise<Lane> {
  const socket = connect(port, '127.0.0.1');
  socket.setNoDelay(true);
  await new Promise<void>((resolve, reject) => void socket.once('connect', resolve).once('error', reject));
  return { socket, due: undefined };
}

async function run(order: PacedOrder): Promise<PacedReport> {
  const latencies: number[] = [];
  const statuses: Record<number, number> = {};
  await Promise.all(
    order.apiKeys.map((apiKey, at) =>
      // Spread over the interval: clients do not tick together.
      pace(apiKey, at / order.apiKeys.length, order, (status, milliseconds) => {
        statuses[status] = (statuses[status] ?? 0) + 1;
        if (status === 201) latencies.push(milliseconds);
      }),
    ),
  );
  return { latencies, statuses };
}

process.on('message', (order: PacedOrder) => {
  run(order).then(
    (report) => process.send?.(report),
    (error: unknown) => {
      process.stderr.write(`paced clients: ${String(error)}\n`);
      process.exit(1);
    },
  );
});
