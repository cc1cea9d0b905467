/** The chain behind the weather, asked over JSON-RPC. */

export interface Call {
  id: unknown;
  method: string;
  params: readonly unknown[];
}

export type Answer = { result: unknown } | { error: { code: number; message: string; data?: unknown } };

export interface Upstream {
  /** All of them in one request; answers in the order of the calls. */
  ask(calls: readonly Pick<Call, 'method' | 'params'>[]): Promise<Answer[]>;
  /** One call's result. @throws Error with the chain's message */
  result<T>(method: string, ...params: readonly unknown[]): Promise<T>;
}

export function connectUpstream(url: string): Upstream {
  const ask: Upstream['ask'] = async (calls) => {
    if (calls.length === 0) return [];
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(calls.map(({ method, params }, id) => ({ jsonrpc: '2.0', id, method, params }))),
    });
    const answers = new Map(((await response.json()) as ({ id: number } & Answer)[]).map((one) => [one.id, one]));
    return calls.map((call, id) => {
      const answer = answers.get(id);
      if (answer === undefined) throw new Error(`the chain did not answer ${call.method}`);
      return 'error' in answer ? { error: answer.error } : { result: answer.result };
    });
  };
  return {
    ask,
    async result<T>(method: string, ...params: readonly unknown[]) {
      const [answer] = await ask([{ method, params }]);
      if (answer === undefined || 'error' in answer) throw new Error(`${method}: ${answer?.error.message}`);
      return answer.result as T;
    },
  };
}
