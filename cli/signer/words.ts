/** What is about to be signed, in words: its owner decides by them. */
import type { Hex } from '../../protocol/index.ts';
import type { SignerPolicy } from './policy.ts';
import type { Statement } from './requests.ts';
import type { Said } from './standing.ts';

const timeOf = (seconds: number): string => new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');
const short = (hex: Hex): string => `${hex.slice(0, 10)}…${hex.slice(-4)}`;

const CUSTODY: Readonly<Record<number, string>> = {
  1: 'the service’s own key (cloud)',
  2: 'a KMS key of yours that the service calls (tenant-kms)',
  3: 'a key that only its owner can use (tenant-agent)',
};

const THROWN_BACK: ReadonlyMap<string, string> = new Map([
  ['bad-signature', 'its signature is not in the one form that is taken (65 bytes, low s, v 27 or 28)'],
  ['wrong-signer', 'its signature is of another key, or of another statement'],
  ['malformed', 'it cannot be read'],
]);

/** Why the cloud's signing plane did not take the last answer. @param word the cloud's own; there may be newer ones than this program */
export function whyThrownBack(word: string): string {
  const why = THROWN_BACK.get(word) ?? 'for a reason that this program does not know';
  return `The cloud has thrown the last answer to this back, and asks again: ${why}. Nothing was anchored by it.`;
}

/** One sentence or two, without line feeds. */
export function wordsFor(statement: Statement, said: Said, { origin, registry, signer }: SignerPolicy): string {
  const log = `${origin} (contract ${registry.contract} on chain ${registry.chainId})`;
  switch (statement.kind) {
    case 'seal':
    case 'shadow': {
      const { seq, period, treeSize, root } = statement.message;
      const until = timeOf(period + registry.periodSeconds);
      const before = said.tree?.size ?? null;
      const added = before === null ? '' : `, ${treeSize - before} of them new`;
      const what = statement.kind === 'seal' ? `Seal ${seq}` : `On trial, seal ${seq}`;
      return `${what} of ${log}: the records from ${timeOf(period)} to ${until}. ${treeSize} records in all${added}; root ${root}.`;
    }
    case 'proof': {
      const { nonce, expiresAt } = statement.message;
      return `That you hold the key ${signer}, for taking over ${log}; until ${timeOf(expiresAt)}, nonce ${short(nonce)}.`;
    }
    case 'handover': {
      const { from, to, custody, epochTo, notBefore, expiresAt } = statement.message;
      const [who, whom] = to === signer ? [from, `YOUR KEY ${to}`] : [`YOUR KEY ${from}`, to];
      return `That ${who} hands ${log} over to ${whom}, ${CUSTODY[custody] ?? 'an unknown kind of key'}, as signer of epoch ${epochTo}, from ${timeOf(notBefore)} to ${timeOf(expiresAt)}.`;
    }
    case 'accept': {
      const { epochTo, seq, head } = statement.message;
      return `That your key ${signer} IS THE SIGNER of ${log} from here on (epoch ${epochTo}), after seal ${seq} with head ${head}. There is no way back but another handover.`;
    }
    case 'cancel': {
      const { epochTo, handoverHash } = statement.message;
      return `That the handover ${handoverHash} of ${log} to epoch ${epochTo} is cancelled, for ever.`;
    }
  }
}
