/** What can be asked for, and what gives the right to it: the one table of who may do what over HTTP. */

/** Scopes of an API key (`kiff.api_keys.scopes`). */
type Scope = 'ingest' | 'read' | 'signer';

/** Permissions of a role in Clerk, as `has({ permission })` knows them. */
export type Permission = 'org:records:read' | 'org:keys:manage' | 'org:custody:manage' | 'org:audit:read';

interface Rule {
  /** The scopes of which each gives a key the right; null: no key ever has it; 'any': every key of the tenant has it. */
  scope: Scope | readonly Scope[] | 'any' | null;
  /** The permission that gives it to a person; null: no person ever has it; 'member': every member has it. */
  permission: Permission | 'member' | null;
  /** Needs a second factor from the last ten minutes, a person who acts for nobody else, and a look at the newest membership. */
  sensitive?: true;
}

const RULES = {
  ingest: { scope: 'ingest', permission: null },
  read: { scope: 'read', permission: 'org:records:read' },
  // The log as it is published. Whoever may read records may; of public logs, anybody (ingest/log-readers.ts).
  // So may the tenant's own signer, which signs for no tree that it has not looked at.
  'read-log': { scope: ['read', 'signer'], permission: 'org:records:read' },
  // Everybody sees the log's entries from then on: ids, times, keys' ids and commitments.
  'publish-log': { scope: null, permission: 'org:custody:manage', sensitive: true },
  // What a verifier is told to trust about the tenant's log: nothing in it is secret from who belongs to the tenant.
  'read-policy': { scope: 'any', permission: 'member' },
  // The tenant's own signer: what it is to sign, and its answers.
  'answer-requests': { scope: 'signer', permission: null },
  // Who the caller is, and what this service is not: nothing of the tenant's.
  'know-self': { scope: 'any', permission: 'member' },
  'list-keys': { scope: 'read', permission: 'org:keys:manage' },
  'manage-keys': { scope: null, permission: 'org:keys:manage', sensitive: true },
  // Who holds the log's key, and how a migration goes: for those who may move it.
  'read-custody': { scope: null, permission: 'org:custody:manage' },
  // Stopping must never fail for want of a second factor: what it stops needed two people with two factors each.
  'veto-custody': { scope: null, permission: 'org:custody:manage' },
  'manage-custody': { scope: null, permission: 'org:custody:manage', sensitive: true },
  'read-audit': { scope: null, permission: 'org:audit:read' },
  // A link gives no rights to anybody; whose actor it may be is judged where it is made (wallets-routes.ts).
  'link-wallet': { scope: null, permission: 'member' },
  'list-wallets': { scope: 'read', permission: 'member' },
} as const satisfies Record<string, Rule>;

export type Right = keyof typeof RULES;

export function ruleFor(right: Right): Rule {
  return RULES[right];
}
