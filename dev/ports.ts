import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/**
 * Below the ports that a system hands out by itself, to outgoing connections and to servers that ask for any
 * (Linux from 32768, macOS and Windows from 49152): with such a port, any connection of a busy machine could take it in the
 * moment before its server listens. Above 10080, the last one that fetch refuses in this region.
 */
const FIRST = 12_000;
const END = 32_000;

/**
 * A TCP port on 127.0.0.1 that nobody listened on a moment ago, drawn at random so that two programs that look for one at
 * once hardly ever find the same. From `first` on, below `end`.
 * @throws when a hundred draws in a row are taken
 */
export async function freePort(first = FIRST, end = END): Promise<number> {
  for (let draw = 0; draw < 100; draw++) {
    const port = randomInt(first, end);
    if (await isFree(port)) return port;
  }
  throw new Error(`no free port between ${first} and ${end} on 127.0.0.1`);
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return await new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE' || error.code === 'EACCES') resolve(false);
      else reject(error);
    });
    server.listen(port, '127.0.0.1', () => void server.close(() => resolve(true)));
  });
}
