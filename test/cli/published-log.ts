/** A log as an operator publishes it (c2sp.org/tlog-tiles), over HTTP: made from leaves by the tests' own tree, honest or not. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { toHex, type Hex } from '../../protocol/index.ts';
import { tilePath } from '../../protocol/tlog-tiles.ts';
import { checkpointOf, type operatorOf } from '../protocol/receipt-factory.ts';
import { grow, Store } from '../protocol/tile-store.ts';

export interface PublishedLog {
  readonly url: string;
  /** The Authorization headers that came, in order. */
  readonly keys: (string | undefined)[];
  /** Publishes these leaves and no others, with a checkpoint of them. @returns their root */
  publish(leaves: readonly Uint8Array[]): Hex;
  /** Serves another checkpoint, or none. */
  replaceCheckpoint(note: string | null): void;
  /** Answers nothing but this status, until it is null again. */
  fail(status: number | null): void;
  stop(): Promise<void>;
}

/** @param path `/t/<tenant>` */
export async function publishLog(
  origin: string,
  path: string,
  operator: ReturnType<typeof operatorOf>,
): Promise<PublishedLog> {
  const keys: (string | undefined)[] = [];
  const files = new Map<string, Uint8Array | string>();
  let failure: number | null = null;
  const server = createServer((request, response) => {
    keys.push(request.headers.authorization);
    const file = files.get(request.url ?? '');
    if (failure !== null) response.writeHead(failure).end();
    else if (file === undefined) response.writeHead(404).end();
    else response.end(file);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  const replaceCheckpoint = (note: string | null): void => {
    if (note === null) files.delete(`${path}/checkpoint`);
    else files.set(`${path}/checkpoint`, note);
  };
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    keys,
    publish(leaves) {
      const store = new Store();
      const root = toHex(grow(store, leaves, 100));
      files.clear();
      for (const { level, index, hashes } of store.rows.values()) {
        files.set(`${path}/${tilePath({ level, index, width: hashes.length / 32 })}`, hashes);
      }
      replaceCheckpoint(checkpointOf(origin, leaves.length, root, operator));
      return root;
    },
    replaceCheckpoint,
    fail(status) {
      failure = status;
    },
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
