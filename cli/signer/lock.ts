/**
 * One journal, one signer. The lock is a Unix socket beside the journal: the kernel lets go of it however its owner ends, and who asks
 * at it gets the owner's health line. Nothing of it is reachable from another machine.
 */
import { once } from 'node:events';
import { renameSync, rmSync, statSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { relative } from 'node:path';
import { UsageError } from '../command.ts';

/** Where a socket can be bound: the kernel takes about 100 bytes. */
const MOST_BYTES = 100;
const ANSWER_MS = 5_000;

const codeOf = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : 'unknown');

function socketOf(journal: string): string {
  const path = `${journal}.lock`;
  const near = relative(process.cwd(), path);
  const short = near.length < path.length ? near : path;
  if (Buffer.byteLength(short) > MOST_BYTES) throw new UsageError('the path of the journal is too long for its lock');
  return short;
}

/** What the owner of a journal says of itself; null when nobody owns it. */
export async function askOwner(journal: string): Promise<string | null> {
  const socket = connect(socketOf(journal)).setEncoding('utf8').setTimeout(ANSWER_MS);
  socket.on('timeout', () => socket.destroy());
  let said = '';
  try {
    socket.on('data', (text: string) => (said += text));
    await once(socket, 'connect');
  } catch (error) {
    // Nobody listens. Whatever else it is, somebody may.
    if (codeOf(error) === 'ECONNREFUSED' || codeOf(error) === 'ENOENT') return null;
    throw new UsageError(`the owner of the journal cannot be asked: ${codeOf(error)}`);
  }
  if (!socket.closed) await once(socket, 'close');
  return said.trim();
}

export interface Lock {
  release(): void;
}

/**
 * @param health what is told to whoever asks
 * @throws UsageError when another signer owns the journal
 */
export async function lockJournal(journal: string, health: () => string): Promise<Lock> {
  const path = socketOf(journal);
  for (let attempt = 0; attempt < 3; attempt++) {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.end(`${health()}\n`);
    });
    if (await listens(server, path)) {
      server.unref();
      const { ino } = statSync(path);
      return {
        release() {
          server.close();
          // Node takes the path away itself; not if another one has taken it over.
          if (statSync(path, { throwIfNoEntry: false })?.ino === ino) rmSync(path, { force: true });
        },
      };
    }
    if ((await askOwner(journal)) !== null) throw new UsageError('another signer has this journal: one at a time');
    // What a dead one left. Only one of several that come here at once takes it away; the journal itself sees to the rest.
    const aside = `${path}.${process.pid}`;
    try {
      renameSync(path, aside);
      rmSync(aside, { force: true });
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw new UsageError(`the journal cannot be locked: ${codeOf(error)}`);
    }
  }
  throw new UsageError('the journal cannot be locked');
}

async function listens(server: Server, path: string): Promise<boolean> {
  server.listen(path);
  try {
    await once(server, 'listening');
    return true;
  } catch (error) {
    if (codeOf(error) === 'EADDRINUSE') return false;
    throw new UsageError(`the journal cannot be locked: ${codeOf(error)}`);
  }
}
