/** How a comparison is told to an operator: what each witness says, what differs, and what may safely be done. */
import type { Comparison, Difference } from '../../activities/recovery/compare.ts';
import type { Ended } from '../../activities/recovery/end.ts';
import type { Rebuilt } from '../../activities/recovery/rebuild.ts';
import type { Standing } from '../../activities/recovery/recover.ts';

export function reportStanding({ open, logs }: Standing, incarnation: string): string {
  const lines = [
    `product database: ${open.product ? 'open' : 'CLOSED'} as ${incarnation}`,
    `signing journal:  ${open.journal ? 'open' : 'CLOSED'} as ${incarnation}`,
    ...logs.flatMap((log) => ['', ...reportLog(log)]),
  ];
  if (!open.product || !open.journal) lines.push('', ...opening(logs));
  return `${lines.join('\n')}\n`;
}

function reportLog(compared: Comparison): string[] {
  const { log, product, journaledSeq, chain, lastGood, differences } = compared;
  const onChain = chain.registered ? `${chain.seq} (final ${chain.finalSeq})` : 'not registered';
  return [
    `${log.origin}${log.frozenReason === null ? '' : `  FROZEN: ${log.frozenReason}`}`,
    `  seals: product database ${product.signedSeq}, journal ${journaledSeq}, chain ${onChain}; ${product.records} records`,
    `  journal and chain agree up to seal ${lastGood.seq}`,
    ...differences.map((difference) => `  DIFFERS: ${told(difference)}`),
    ...(differences.length === 0 ? ['  nothing differs'] : []),
    ...choices(compared).map((choice) => `  may: ${choice}`),
  ];
}

function told({ reason, facts }: Difference): string {
  const where = Object.entries(facts).map(([name, value]) => `${name} ${value}`);
  return where.length === 0 ? reason : `${reason} (${where.join(', ')})`;
}

/** What is safe, the mildest first. */
function choices({ log, differences, journalBehind, clockAhead, ended }: Comparison): string[] {
  const { origin, frozenReason } = log;
  const end = `end the log: kiff recover --end ${origin}`;
  if (ended) return [`carry the journaled end out: kiff recover --end ${origin}`];
  if (journalBehind) return ['rebuild the journal: kiff recover --rebuild'];
  const why = differences.map(({ reason }) => reason);
  if (why.length === 0) {
    return frozenReason === null ? [] : [`go on: kiff recover --resume ${origin}`, end];
  }
  const may: string[] = [];
  if (why.includes('database-behind')) may.push('restore a newer backup of the product database, and compare again');
  if (clockAhead > 0) may.push(`wait ${clockAhead} s until the clock has caught up with the log's head`);
  if (why.some((reason) => /^(record|tile|seal)-/.test(reason))) {
    may.push(`put what was changed back from a backup, then: kiff recover --resume ${origin}`);
  }
  return [...may, frozenReason === null ? `${end} --reason ${why[0]}` : end];
}

function opening(logs: readonly Comparison[]): string[] {
  if (logs.some(({ journalBehind }) => journalBehind)) {
    return ['The journal was lost or restored: kiff recover --rebuild, and then --declare.'];
  }
  return [
    'When this is the data to go on with: kiff recover --declare. Logs that differ are frozen by it, others go on.',
  ];
}

export function reportRebuilt(rebuilt: readonly Rebuilt[]): string {
  const lines = rebuilt.map(
    ({ tenantId, ordinal, fromChain, fromSignatures }) =>
      `${tenantId}, log ${ordinal}: ${fromChain} statements from the chain, ${fromSignatures} from signatures`,
  );
  return `${[...lines, 'The journal is rebuilt. Nothing is signed until it is declared: kiff recover --declare'].join('\n')}\n`;
}

export function reportDeclared(frozen: readonly Comparison[], incarnation: string): string {
  const lines = frozen.map(({ log, differences }) => `frozen: ${log.origin}, ${told(differences[0]!)}`);
  return `${[...lines, `Both databases are open as ${incarnation}.`].join('\n')}\n`;
}

export function reportEnded({ statement, note, carried }: Ended): string {
  const { origin, last, reason, successor } = statement;
  const lines = [`${origin} ended after seal ${last.seq} (${reason}). ${successor} has begun.`];
  if (carried !== null && carried.from === carried.to) lines.push('Its last good seal covers all of its records.');
  else if (carried !== null) {
    const { from, to, carried: count } = carried;
    lines.push(`Of the records ${from} to ${to - 1}, which no seal covers, ${count} went over to the new log.`);
    for (const kind of ['altered', 'missing', 'erased', 'refused'] as const) {
      const ranges = carried[kind].map(([low, high]) => (low === high ? `${low}` : `${low}-${high}`));
      if (ranges.length > 0) lines.push(`  ${kind}, left behind: ${ranges.join(', ')}`);
    }
    lines.push('What was promised of their old places is not kept: tell the tenant.');
  }
  return `${lines.join('\n')}\n\n${note}`;
}
