/**
 * An RPC provider on a bad day: a JSON-RPC proxy in front of a chain, whose answers the rules spoil. The nth call of a
 * method meets the same weather for the same seed and rules, however the calls of other methods fall in between. What no rule
 * befalls goes through untouched; two proxies over one chain are two providers.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { keccak256, type Hex } from 'viem';
import { roll } from '../dice.ts';
import type { Fault, Rule } from './faults.ts';
import { laggingAnswer } from './lag.ts';
import { inventReceipt, otherBlocks, otherState, twinHash } from './lies.ts';
import { connectUpstream, type Answer, type Call } from './upstream.ts';

export interface Weather {
  /** Instead of the chain's own URL. */
  readonly url: string;
  /** What holds from the next call on, in place of what held before; the first rule that befalls a call is the only one. */
  set(...rules: readonly Rule[]): void;
  /** How many calls of a method came in. */
  calls(method: string): number;
  /** How many calls each kind of fault befell, by `do`. */
  faults(): Partial<Record<Fault['do'], number>>;
  /** Frees the port; answers that are still held back are dropped. */
  stop(): Promise<void>;
}

/** @param options.seed decides every chance; print it */
export async function startWeather(options: { upstream: string; seed: number; rules?: Rule[] }): Promise<Weather> {
  const { seed } = options;
  const upstream = connectUpstream(options.upstream);
  const stopping = new AbortController();
  const counted = new Map<string, number>();
  const befell = new Map<Fault['do'], number>();
  /** Transactions that passed through, and the true hashes behind those that a twin showed. */
  const raws = new Map<Hex, Hex>();
  const trueHashes = new Map<unknown, Hex>();
  let rules: readonly (Rule & { left: number })[] = [];
  const set: Weather['set'] = (...next) => {
    rules = next.map((rule) => ({ ...rule, left: rule.times ?? Infinity }));
  };
  set(...(options.rules ?? []));

  function faultFor({ method }: Call): Fault | undefined {
    const nth = counted.get(method) ?? 0;
    counted.set(method, nth + 1);
    for (const [index, rule] of rules.entries()) {
      const { methods, probability = 1, fault } = rule;
      if (rule.left === 0 || (methods !== undefined && !methods.includes(method))) continue;
      if (probability < 1 && roll(seed, `${method}/${nth}/${index}`) >= probability) continue;
      rule.left--;
      befell.set(fault.do, (befell.get(fault.do) ?? 0) + 1);
      return fault;
    }
    return undefined;
  }

  async function ask(call: Call): Promise<Answer> {
    const [answer] = await upstream.ask([call]);
    if (answer === undefined) throw new Error(`the chain did not answer ${call.method}`);
    return answer;
  }

  /** @returns the answer, or null when the connection is to be closed, or the HTTP status that stands for all */
  async function answerTo(call: Call, fault: Fault): Promise<Answer | null | number> {
    switch (fault.do) {
      case 'delay':
        await delay(fault.ms, undefined, { signal: stopping.signal });
        return ask(call);
      case 'late': {
        const answer = await ask(call);
        await delay(fault.ms, undefined, { signal: stopping.signal });
        return answer;
      }
      case 'drop':
        if (fault.when === 'after') await ask(call);
        return null;
      case 'refuse':
        if (fault.forward) await ask(call);
        return { error: { code: fault.code ?? -32000, message: fault.message } };
      case 'http':
        return fault.status;
      case 'swallow':
        return call.method === 'eth_sendRawTransaction'
          ? { result: keccak256(call.params[0] as Hex) }
          : await ask(call);
      case 'invent': {
        const answer = await ask(call);
        const raw = raws.get(call.params[0] as Hex);
        if (call.method !== 'eth_getTransactionReceipt' || raw === undefined) return answer;
        if ('result' in answer && answer.result !== null) return answer;
        return { result: await inventReceipt(upstream, raw) };
      }
      case 'lag':
        return laggingAnswer(upstream, call, fault.blocks);
      case 'contradict': {
        const answer = await ask({ ...call, params: call.params.map((param) => trueHashes.get(param) ?? param) });
        if (fault.about === 'state') return otherState(call.method, answer);
        const block = 'result' in answer ? (answer.result as { parentHash?: Hex; hash?: Hex } | null) : null;
        if (block?.parentHash !== undefined && block.hash !== undefined) {
          trueHashes.set(twinHash(block.hash), block.hash);
        }
        return otherBlocks(answer);
      }
    }
  }

  /** All calls of one HTTP request: the untouched ones go on together. */
  async function answerAll(calls: readonly Call[]): Promise<(Answer | null | number)[]> {
    for (const { method, params } of calls) {
      if (method === 'eth_sendRawTransaction') raws.set(keccak256(params[0] as Hex), params[0] as Hex);
    }
    const faults = calls.map(faultFor);
    const untouched = upstream.ask(calls.filter((_, index) => faults[index] === undefined));
    const spoilt = calls.map((call, index) => {
      const fault = faults[index];
      return fault === undefined ? undefined : answerTo(call, fault);
    });
    const [plain, ...rest] = await Promise.all([untouched, ...spoilt]);
    const queue = plain.values();
    return rest.map((answer) => (answer === undefined ? (queue.next().value ?? null) : answer));
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const asked = JSON.parse(Buffer.concat(chunks).toString('utf8')) as Call | Call[];
    const calls = (Array.isArray(asked) ? asked : [asked]).map((call) => ({ ...call, params: call.params ?? [] }));
    const answers = await answerAll(calls);
    if (answers.includes(null)) {
      request.socket.destroy();
      return;
    }
    const status = answers.find((answer) => typeof answer === 'number');
    if (status !== undefined) {
      response.writeHead(status, { 'content-type': 'text/plain' }).end('a bad day');
      return;
    }
    const bodies = answers.map((answer, index) => ({ jsonrpc: '2.0', id: calls[index]?.id, ...(answer as Answer) }));
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(Array.isArray(asked) ? bodies : bodies[0]));
  }

  const server = createServer((request, response) => {
    // A client that gave up, a chain that went away, a stop: to the client all of these are a closed connection.
    serve(request, response).catch(() => request.socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    set,
    calls: (method) => counted.get(method) ?? 0,
    faults: () => Object.fromEntries(befell),
    async stop() {
      stopping.abort();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
