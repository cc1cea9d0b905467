/** What can be wrong with an RPC provider, as data: which answers, how, and how often. */

/**
 * One way to answer badly.
 *
 * - `delay`: the call reaches the chain only after `ms`.
 * - `late`: the chain has it at once; the answer comes after `ms`.
 * - `drop`: the connection is closed, `before` the chain has seen the call or `after` it has (everything else that came in
 *   the same HTTP request goes with it).
 * - `refuse`: a JSON-RPC error; with `forward` the chain has the call all the same, as when a node says "already known".
 * - `http`: the status, with a body that is no JSON.
 * - `swallow`: the answer that the chain would give to a transaction, which the chain never sees.
 * - `invent`: a receipt for a transaction that passed through here and is in no block: in the newest block, successful, with
 *   the events that it would have.
 * - `lag`: as of `blocks` blocks ago.
 * - `contradict`: `blocks`, every block has another hash than the chain's; `state`, every call another result.
 */
export type Fault =
  | { do: 'delay' | 'late'; ms: number }
  | { do: 'drop'; when: 'before' | 'after' }
  | { do: 'refuse'; message: string; code?: number; forward: boolean }
  | { do: 'http'; status: number }
  | { do: 'swallow' }
  | { do: 'invent' }
  | { do: 'lag'; blocks: number }
  | { do: 'contradict'; about: 'blocks' | 'state' };

export interface Rule {
  fault: Fault;
  /** JSON-RPC methods it befalls; all unless given. */
  methods?: readonly string[];
  /** How likely it befalls a call, 0 to 1; 1 unless given. */
  probability?: number;
  /** It befalls at most this many calls. */
  times?: number;
}

const SEND = ['eth_sendRawTransaction'];
const RECEIPT = ['eth_getTransactionReceipt'];

/** What nodes say to a transaction that they have already. It is in their pool. */
export const alreadyKnown: Rule = {
  methods: SEND,
  fault: { do: 'refuse', code: -32000, message: 'already known', forward: true },
};
/** What nodes say to a transaction whose nonce is spent; here said of one that they take. */
export const nonceTooLow: Rule = {
  methods: SEND,
  fault: { do: 'refuse', code: -32000, message: 'nonce too low', forward: true },
};
/** What nodes say to a second transaction of a nonce that does not pay enough more. They do not take it. */
export const replacementUnderpriced: Rule = {
  methods: SEND,
  fault: { do: 'refuse', code: -32000, message: 'replacement transaction underpriced', forward: false },
};
/** The provider says that it sent the transaction, and has not. */
export const swallowedSend: Rule = { methods: SEND, fault: { do: 'swallow' } };
export const inventedReceipt: Rule = { methods: RECEIPT, fault: { do: 'invent' } };
export const rateLimited: Rule = { fault: { do: 'http', status: 429 } };
