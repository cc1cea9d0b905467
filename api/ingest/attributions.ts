/**
 * What is known of a record's actor when the record arrives: `{"wallet":"0x…"}` for an actor with a linked wallet, which
 * becomes the `attribution` in the record's body (docs/decisions/2026-11-24-wallet-links.md). It says who somebody is and
 * decides nothing.
 */
import type { KeyCaller } from '../access/caller.ts';
import type { TenantPools } from '../http/tenant-pools.ts';
import { listWallets } from './wallets.ts';

/** The attribution of an actor as JSON text, or null when nothing is known of it. */
export type AttributionOf = (actorId: string | undefined) => string | null;

const NOTHING_KNOWN: AttributionOf = () => null;

/** Tenants whose links are kept; most have none, and cost nothing. */
const TENANTS = 1_000;

/**
 * @returns a function from a caller to what is known of its tenant's actors. A tenant's links are read again when their
 *   version changes, which comes with every lookup of a key: a link counts within 5 s in every process
 */
export function createAttributions(pools: TenantPools) {
  const known = new Map<string, { version: number; links: Promise<AttributionOf> }>();

  async function read(caller: KeyCaller): Promise<AttributionOf> {
    const links = await pools.use(caller, (pool) => listWallets(pool, caller.tenant));
    const texts = new Map(links.map(({ actor, wallet }) => [actor, JSON.stringify({ wallet })]));
    return (actorId) => (actorId === undefined ? null : (texts.get(actorId) ?? null));
  }

  return async function attributionsFor(caller: KeyCaller): Promise<AttributionOf> {
    const { tenant, linksVersion: version } = caller;
    if (version === 0) return NOTHING_KNOWN;
    const kept = known.get(tenant);
    if (kept !== undefined && kept.version >= version) return kept.links;

    const entry = { version, links: read(caller) };
    known.delete(tenant);
    known.set(tenant, entry);
    for (const oldest of known.keys()) {
      if (known.size <= TENANTS) break;
      known.delete(oldest);
    }
    entry.links.catch(() => {
      if (known.get(tenant) === entry) known.delete(tenant);
    });
    return entry.links;
  };
}

export type AttributionsFor = ReturnType<typeof createAttributions>;
