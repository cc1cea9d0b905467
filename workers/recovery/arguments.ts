/** What `kiff recover` may be told. */
import { parseArgs } from 'node:util';
import { END_REASONS, type EndReason } from '../../protocol/ending.ts';

export const USAGE = `Usage: kiff recover [--log ORIGIN] [--json]
       kiff recover --rebuild
       kiff recover --declare
       kiff recover --resume ORIGIN
       kiff recover --end ORIGIN [--reason REASON]

  (nothing)         compares product database, signing journal and chain for every log, and says what may be done
  --log ORIGIN      one log, with every record of it; without it records are read of frozen logs only
  --rebuild         rebuilds a lost journal from the chain, and from signatures in the product database
  --declare         opens databases under the configured name (KIFF_INCARNATION), after a restore or a rebuild; what
                    differs is frozen first
  --resume ORIGIN   takes a log's freeze away, if nothing differs any more
  --end ORIGIN      ends a log: the signer states its last good seal, the tenant's next log begins. Cannot be undone.
  --reason REASON   why; the reason of its freeze unless given. For a log that is not frozen it must be given:
                    ${END_REASONS.slice(0, 5).join(', ')},
                    ${END_REASONS.slice(5, 10).join(', ')},
                    ${END_REASONS.slice(10).join(', ')}
  --json            prints JSON

The environment: DATABASE_URL (product database, login kiff_recovery), JOURNAL_URL
(login kiff_journal_recovery), BASE_RPC_URL, CHAIN_ID, CONTRACT, FROM_BLOCK, KIFF_INCARNATION, and Temporal's variables.
What to do when is in docs/recovery.md.

Exit code: 0 nothing differs, or it is done; 1 something differs, or it was refused; 2 the arguments or the environment
are unusable.
`;

export type Wish =
  | { kind: 'compare'; origin: string | null }
  | { kind: 'rebuild' }
  | { kind: 'declare' }
  | { kind: 'resume'; origin: string }
  | { kind: 'end'; origin: string; reason: EndReason | null };

export class Unusable extends Error {
  override name = 'Unusable';
}

/** @throws Unusable */
export function readArguments(args: readonly string[]): Wish & { json: boolean } {
  const { log, rebuild, declare, resume, end, reason, json } = parse(args);
  const wishes = [log, rebuild || undefined, declare || undefined, resume, end].filter((wish) => wish !== undefined);
  if (wishes.length > 1) throw new Unusable('one thing at a time');
  if (reason !== undefined && end === undefined) throw new Unusable('--reason goes with --end');
  if (end !== undefined)
    return { kind: 'end', origin: end, reason: reason === undefined ? null : reasonOf(reason), json };
  if (resume !== undefined) return { kind: 'resume', origin: resume, json };
  if (rebuild || declare) return { kind: rebuild ? 'rebuild' : 'declare', json };
  return { kind: 'compare', origin: log ?? null, json };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        log: { type: 'string' },
        rebuild: { type: 'boolean', default: false },
        declare: { type: 'boolean', default: false },
        resume: { type: 'string' },
        end: { type: 'string' },
        reason: { type: 'string' },
        json: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    throw new Unusable(error instanceof Error ? error.message : String(error));
  }
}

function reasonOf(text: string): EndReason {
  const reason = END_REASONS.find((known) => known === text);
  if (reason === undefined) throw new Unusable(`the reason must be one of: ${END_REASONS.join(', ')}`);
  return reason;
}
