/**
 * The ingest API as it is, but for the one step that stores: a batch is answered as accepted and forgotten. What is left is
 * HTTP, authentication, validation, commitment and promise; configured by the same environment.
 */
import { createHash } from 'node:crypto';
import { start } from '../../api/http/serve.ts';
import { serveIngest } from '../../api/ingest/service.ts';
import { toHex } from '../../protocol/hex.ts';

const leafHash = toHex(createHash('sha256').digest());
let size = 0;

start(() =>
  serveIngest((_key, drafts) => {
    const receivedAt = Date.now();
    return Promise.resolve(drafts.map(() => ({ outcome: 'accepted', leafIndex: size++, leafHash, receivedAt })));
  }),
);
