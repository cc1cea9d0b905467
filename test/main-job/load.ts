/** Agents that post one record after the other, whatever becomes of the API, and remember what was acknowledged. */
import { setTimeout as delay } from 'node:timers/promises';
import type { LocalTenant } from '../../dev/tenant.ts';
import { auditRecord, post, type Accepted } from './client.ts';

export interface Load {
  /** What was acknowledged until now, in the order in which the answers came. */
  readonly acknowledged: readonly Accepted[];
  /** Requests that got no good answer. */
  readonly failed: number;
  /** The agents finish what they are at. */
  stop(): Promise<void>;
}

export function startLoad(apiUrl: string, tenants: readonly LocalTenant[], agentsEach: number): Load {
  const acknowledged: Accepted[] = [];
  const state = { failed: 0, stopped: false };
  const agents = tenants.flatMap((tenant) =>
    Array.from({ length: agentsEach }, async () => {
      while (!state.stopped) {
        try {
          acknowledged.push(await post(apiUrl, tenant, auditRecord()));
        } catch {
          // Away, draining, or cut off: an agent tries again, and what was not acknowledged counts for nothing.
          state.failed++;
        }
        await delay(20);
      }
    }),
  );
  return {
    acknowledged,
    get failed() {
      return state.failed;
    },
    async stop() {
      state.stopped = true;
      await Promise.all(agents);
    },
  };
}
