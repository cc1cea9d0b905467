/**
 * docs/walls.md, made of the attempts that the tests make, the grants that the migrations give (sql/snapshot/), and, for
 * each wall, what it does not stop. A test compares it with the file, so that neither can say more than the other.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../dev/root.ts';
import type { Attempt } from './attempt.ts';

interface Wall {
  title: string;
  /** What holds it. */
  heldBy: string;
  /** Tests beside the attempts: file and title, which must be there. */
  triedIn: readonly (readonly [file: string, title: string])[];
  notStopped: readonly string[];
}

export const WALLS: readonly Wall[] = [
  {
    title: 'Planes',
    heldBy:
      'Separate processes, environments and networks; the API processes have no Temporal, KMS or chain library. What they ask of the signing plane is a row in `kiff.commands` that they may only insert, of kinds granted to their login.',
    triedIn: [
      ['test/main-job/walls.test.ts', 'no two of them share a database login or an access key'],
      ['test/house/import-walls.test.ts', 'import walls'],
      ['test/house/dependency-graph.test.ts', 'what the application plane is made of'],
      [
        'test/sql/commands.test.ts',
        'C13: whoever has the ingest API’s credentials asks for nothing of custody; the custody API’s may',
      ],
      ['test/workers/inbox.test.ts', 'the inbox'],
    ],
    notStopped: [
      'An ingest API that is taken over can refuse or forget records before it has promised them, and read what its tenants’ keys may read. It holds the secret that every tenant’s record login is derived from.',
      'It can write records of its own making into any tenant’s log: a log proves that a record was there since, not who wrote it.',
      'It can withhold what a tenant’s own signer answers, answer nonsense in its place, or say that it is there when it is not: seals come late. It cannot make a signature of that key.',
    ],
  },
  {
    title: 'Tenants',
    heldBy:
      'One PostgreSQL login and one schema per tenant, functions that are the only writers, and row-level security by `session_user` on what is shared.',
    triedIn: [
      ['test/sql/grants.test.ts', 'stays itself, whatever it says: no SET ROLE, and RESET ROLE changes nothing'],
      ['test/sql/grants.test.ts', 'the tenant of a session is its login, even where SET ROLE is possible'],
    ],
    notStopped: [
      'PostgreSQL’s catalogues are everybody’s to read: a tenant’s login learns the ids of other tenants (they are opaque for that reason), and the names and approximate sizes of tables.',
      'A login can change its own session’s settings (a longer `statement_timeout`), take advisory locks, and create large objects: it can waste time and space on the server, and it can hold up a migration job.',
      'Whoever holds the tenant login secret is every tenant.',
    ],
  },
  {
    title: 'The signer',
    heldBy:
      'It takes names of seals, never digests; it re-reads, re-hashes and checks everything itself; its journal is another database, append-only by grants and by a trigger.',
    triedIn: [
      ['test/main-job/forged.test.ts', 'forged results on every queue sign and anchor nothing: a delay is all'],
      ['test/main-job/forged.test.ts', 'signals and resets by a stranger change nothing'],
      [
        'test/activities/custody/tenant-agent.test.ts',
        'a wrong answer is refused with its reason, here and by the signing plane, and nothing is anchored (C8, B18, B19)',
      ],
    ],
    notStopped: [
      'Whoever controls the signing worker itself, with its KMS role and its journal, can sign. Its keys still cannot rewrite what is on chain: the contract takes each seal once, after the one before.',
      'A database superuser can withhold and delete. What was sealed cannot be changed unnoticed; what was accepted and not sealed yet is covered by the promise alone.',
    ],
  },
  {
    title: 'KMS',
    heldBy: 'The key policies (`activities/kms/policy.ts`), which the stand-in enforces as AWS documents them.',
    triedIn: [['test/dev/kms/policy.test.ts', 'denies everybody but one by ArnNotEquals on aws:PrincipalArn']],
    notStopped: [
      'AWS itself, and the account’s root where the policy lets it. It has not been run against AWS.',
      'The administrator can disable a key, or schedule its deletion: that stops sealing, visibly. It cannot use one.',
      'The break-glass role can replace a policy: it is for people, no process has it, and the signer compares the policy daily.',
    ],
  },
  {
    title: 'Temporal',
    heldBy: 'Payloads of ids, hashes and counts; failures of fixed text (`workers/fixed-failures.ts`).',
    triedIn: [
      ['test/main-job/walls.test.ts', 'holds no content of a tenant, in no history, failed ones included'],
      ['test/main-job/forged.test.ts', 'forged results on every queue sign and anchor nothing: a delay is all'],
    ],
    notStopped: [
      'Delay: whoever may write to the namespace can end, reset or starve workflows. Later seals catch up.',
      'An answer of no shape at all, forged into a history, blocks that workflow until an operator ends it: the next one goes on from the databases.',
    ],
  },
  {
    title: 'The contract',
    heldBy: 'One immutable contract without an owner (`contracts/SealRegistry.sol`, [contract.md](contract.md)).',
    triedIn: [],
    notStopped: ['[What it does not guarantee](contract.md#what-it-does-not-guarantee), in its own words.'],
  },
];

/** Rows of the table of grants: who, which right, on what; from the lines of the snapshots. */
function grants(): string[][] {
  const rows: string[][] = [];
  for (const name of ['product', 'tenant', 'journal']) {
    let object = '';
    for (const line of readFileSync(join(packageRoot, 'sql', 'snapshot', `${name}.txt`), 'utf8').split('\n')) {
      // An expression that goes over several lines names no object.
      if (/^[a-z]/.test(line)) object = line;
      const to = /^ {2}grant (.+) to (\S+)$/.exec(line);
      if (to !== null) rows.push([to[2]!, to[1]!, where(name, object)]);
      const on = /^ {2}grant (.+) on (.+)$/.exec(line);
      if (on !== null && object.startsWith('role ')) rows.push([object.slice('role '.length), on[1]!, on[2]!]);
    }
  }
  return rows;
}

/** An object without arguments and results: its name is enough for a reader, and the snapshot has the rest. */
function where(snapshot: string, object: string): string {
  if (object === 'database') return `the ${snapshot === 'journal' ? 'journal' : 'product'} database`;
  return object.replace(/\(.*$/s, '()');
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    groups.set(key, [...(groups.get(key) ?? []), item]);
  }
  return groups;
}

const line = (cells: string[]): string => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`;

function table(head: string[], rows: string[][]): string {
  return line(head) + line(head.map(() => '---')) + rows.map(line).join('');
}

/** Attempts by credential, what it may do and what it may not. */
function matrix(attempts: readonly Attempt[]): string {
  const from = [...new Set(attempts.map((attempt) => attempt.from))];
  const acts = (who: string, may: boolean) =>
    attempts
      .filter((attempt) => attempt.from === who && attempt.may === may)
      .map(({ act }) => act)
      .join('; ') || '–';
  return table(
    ['credential', 'may', 'may not'],
    from.map((who) => [`\`${who}\``, acts(who, true), acts(who, false)]),
  );
}

export function renderWalls(attempts: readonly Attempt[]): string {
  let text = `# Walls

Who may do what, tried with real credentials on a running stack, and what each wall does not stop. This page is written by
\`test/walls/walls.test.ts\` from the attempts that it makes (\`WALLS=write npm test\` accepts a change); a row that is not true fails a test.
`;
  for (const [index, { title, heldBy, triedIn, notStopped }] of WALLS.entries()) {
    const own = attempts.filter(({ wall }) => wall === index + 1);
    text += `\n## ${index + 1}. ${title}\n\n${heldBy}\n`;
    if (own.length > 0) text += `\n${matrix(own)}`;
    if (triedIn.length > 0)
      text += `\nAlso tried in:\n\n${triedIn.map(([file, test]) => `- [${file}](../${file}): ${test}\n`).join('')}`;
    text += `\nIt does not stop:\n\n${notStopped.map((each) => `- ${each}\n`).join('')}`;
  }
  const byWhom = groupBy(grants(), ([who]) => who!);
  text += `\n## Grants

Every right that a login or group has been granted on something it does not own, as the migrations give them. \`kiff_t_<tenant>\` belongs to
\`kiff_tenant_logins\`, \`kiff_c_<tenant>\` to \`kiff_custody_logins\`. \`node dist/workers/reconcile/main.js\` compares a running deployment with the same files.

${table(
  ['login', 'right', 'on'],
  [...byWhom.keys()].toSorted().flatMap((who) => {
    const byRight = groupBy(byWhom.get(who)!, ([, right]) => right!);
    return [...byRight.keys()]
      .toSorted()
      .map((right) => [
        `\`${who}\``,
        right,
        [...new Set(byRight.get(right)!.map(([, , on]) => `\`${on!}\``))].toSorted().join(', '),
      ]);
  }),
)}`;
  return text;
}
