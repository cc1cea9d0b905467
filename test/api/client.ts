/** A client of one of our APIs: every answer is compared with the API's own OpenAPI document. */
import type { OpenApiDocument } from '../../api/http/openapi.ts';
import { createConformance, type Conformance } from './conformance.ts';

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  /** The parsed body; of NDJSON its lines. Untyped: what it holds is what the tests say. */
  json: any;
}

export interface Client {
  get(path: string, credential?: string): Promise<Answer>;
  /** Any other request, with a JSON body if there is one. */
  call(method: string, path: string, credential?: string, body?: object): Promise<Answer>;
  /** Any request. */
  send(path: string, init: RequestInit): Promise<Answer>;
  conformance: Conformance;
}

export async function createClient(url: string): Promise<Client> {
  const conformance = await conformanceOf(url);

  const send: Client['send'] = async (path, init) => {
    const response = await fetch(url + path, init);
    const text = await response.text();
    const type = response.headers.get('content-type') ?? '';
    conformance.check({ method: init.method ?? 'GET', path, status: response.status, contentType: type, text });
    let json: unknown;
    if (type.startsWith('application/x-ndjson')) {
      json = text
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown);
    } else if (type.includes('json')) {
      json = JSON.parse(text);
    }
    return { status: response.status, headers: response.headers, text, json };
  };

  return {
    conformance,
    send,
    get: (path, credential) => send(path, { headers: bearer(credential) }),
    call: (method, path, credential, body) =>
      send(path, {
        method,
        headers: { ...bearer(credential), ...(body && { 'content-type': 'application/json' }) },
        ...(body && { body: JSON.stringify(body) }),
      }),
  };
}

/** One for all APIs of a kind in a test run: their documents are the same, and compiling schemas takes a while. */
const known = new Map<string, Conformance>();

async function conformanceOf(url: string): Promise<Conformance> {
  const document = await (await fetch(`${url}/openapi.json`)).text();
  const shared = known.get(document) ?? createConformance(JSON.parse(document) as OpenApiDocument);
  known.set(document, shared);
  return shared;
}

export const bearer = (credential: string | undefined): Record<string, string> =>
  credential === undefined ? {} : { authorization: `Bearer ${credential}` };
