/**
 * Sign-In with Ethereum messages (EIP-4361), read strictly by the grammar: what a wallet showed its owner is what is read
 * here, field by field, or nothing is. We use the form to link wallets, never to sign anybody in.
 */
import { checksumAddress } from './address.ts';
import type { Hex } from './hex.ts';
import { rfc3339Millis } from './rfc3339.ts';

/** A message's fields. Texts are as they stand in it; times are Unix milliseconds. */
export interface SiweMessage {
  /** In front of the domain, without `://`; most messages have none. */
  readonly scheme?: string;
  /** RFC 3986 authority that asks for the signature: host and perhaps port. */
  readonly domain: string;
  /** Lower case; the message has it with its EIP-55 checksum. */
  readonly address: Hex;
  readonly statement?: string;
  readonly uri: string;
  readonly chainId: number;
  readonly nonce: string;
  readonly issuedAt: number;
  readonly expirationTime?: number;
  readonly notBefore?: number;
  readonly requestId?: string;
  readonly resources?: readonly string[];
}

/** A text that is no such message. The message says which part is wrong and repeats none of it. */
export class SiweError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'SiweError';
  }
}

// RFC 3986 appendix A, as far as the grammar of EIP-4361 names its rules.
const UNRESERVED = 'A-Za-z0-9._~\\-';
const SUB_DELIMS = "!$&'()*+,;=";
const PCHAR = `(?:[${UNRESERVED}${SUB_DELIMS}:@]|%[0-9A-Fa-f]{2})`;
const SCHEME = '[A-Za-z][A-Za-z0-9+.-]*';
/** No user name in front of a host: a reader would take it for the host. */
const AUTHORITY = `(?:\\[[0-9A-Fa-f:.]+\\]|(?:[${UNRESERVED}${SUB_DELIMS}]|%[0-9A-Fa-f]{2})+)(?::[0-9]{0,5})?`;
const URI = new RegExp(`^${SCHEME}:(?:${PCHAR}|[/\\[\\]])+(?:\\?(?:${PCHAR}|[/?])*)?(?:#(?:${PCHAR}|[/?])*)?$`);
const STATEMENT = new RegExp(`^[${UNRESERVED}${SUB_DELIMS}:/?#\\[\\]@ ]+$`);
const REQUEST_ID = new RegExp(`^${PCHAR}*$`);
const FIRST_LINE = new RegExp(`^(?:(${SCHEME})://)?(${AUTHORITY}) wants you to sign in with your Ethereum account:$`);
/**
 * Reads a message.
 * @param text without a line feed at its end
 * @throws SiweError
 */
export function parseSiweMessage(text: string): SiweMessage {
  const lines = text.split('\n');
  const next = (): string | undefined => lines.shift();

  const [, scheme, domain] = FIRST_LINE.exec(next() ?? '') ?? [];
  if (domain === undefined) throw new SiweError('the first line is not that of a sign-in');
  const address = readAddress(next());
  if (next() !== '') throw new SiweError('there is no empty line behind the address');
  const statement = readStatement(lines);
  const uri = field(next(), 'URI: ', URI);
  field(next(), 'Version: ', /^1$/);
  const chainId = Number(field(next(), 'Chain ID: ', /^(?:0|[1-9]\d{0,15})$/));
  const nonce = field(next(), 'Nonce: ', /^[A-Za-z0-9]{8,}$/);
  const issuedAt = timeField(next(), 'Issued At: ');

  // The optional fields stand in this order, each at most once.
  const has = (name: string): boolean => lines[0]?.startsWith(name) === true;
  const expirationTime = has('Expiration Time: ') ? timeField(next(), 'Expiration Time: ') : undefined;
  const notBefore = has('Not Before: ') ? timeField(next(), 'Not Before: ') : undefined;
  const requestId = has('Request ID: ') ? field(next(), 'Request ID: ', REQUEST_ID) : undefined;
  const resources = lines[0] === 'Resources:' ? lines.splice(0).slice(1) : undefined;
  if (lines.length > 0) throw new SiweError('something follows that has no place in a message');

  return {
    ...(scheme !== undefined && { scheme }),
    domain,
    address,
    ...(statement !== undefined && { statement }),
    uri,
    chainId,
    nonce,
    issuedAt,
    ...(expirationTime !== undefined && { expirationTime }),
    ...(notBefore !== undefined && { notBefore }),
    ...(requestId !== undefined && { requestId }),
    ...(resources !== undefined && { resources: resources.map((line) => field(line, '- ', URI)) }),
  };
}

/**
 * Writes a message. Times come out in UTC with milliseconds.
 * @throws SiweError when a field cannot stand in one
 */
export function siweText(message: SiweMessage): string {
  const { scheme, domain, address, statement, requestId, resources } = message;
  const lines = [
    `${scheme === undefined ? '' : `${scheme}://`}${domain} wants you to sign in with your Ethereum account:`,
    checksumAddress(address),
    '',
    ...(statement === undefined ? [] : [statement]),
    '',
    `URI: ${message.uri}`,
    'Version: 1',
    `Chain ID: ${message.chainId}`,
    `Nonce: ${message.nonce}`,
    `Issued At: ${new Date(message.issuedAt).toISOString()}`,
    ...(message.expirationTime === undefined
      ? []
      : [`Expiration Time: ${new Date(message.expirationTime).toISOString()}`]),
    ...(message.notBefore === undefined ? [] : [`Not Before: ${new Date(message.notBefore).toISOString()}`]),
    ...(requestId === undefined ? [] : [`Request ID: ${requestId}`]),
    ...(resources === undefined ? [] : ['Resources:', ...resources.map((resource) => `- ${resource}`)]),
  ];
  if (lines.some((line) => line.includes('\n'))) throw new SiweError('a field has a line feed');
  const text = lines.join('\n');
  parseSiweMessage(text);
  return text;
}

function readAddress(line: string | undefined): Hex {
  const address = line?.toLowerCase() as Hex;
  if (line === undefined || !/^0x[0-9a-f]{40}$/.test(address) || checksumAddress(address) !== line) {
    throw new SiweError('the second line is no address with its checksum (EIP-55)');
  }
  return address;
}

/** Takes the statement, if there is one, and the empty line behind it. */
function readStatement(lines: string[]): string | undefined {
  const first = lines.shift();
  if (first === '') return undefined;
  if (first === undefined || !STATEMENT.test(first))
    throw new SiweError('the statement has characters that none may have');
  if (lines.shift() !== '') throw new SiweError('there is no empty line behind the statement');
  return first;
}

function field(line: string | undefined, name: string, form: RegExp): string {
  const value = line?.startsWith(name) === true ? line.slice(name.length) : undefined;
  if (value === undefined || !form.test(value)) throw new SiweError(`"${name.trim()}" is missing or malformed`);
  return value;
}

function timeField(line: string | undefined, name: string): number {
  const time = line?.startsWith(name) === true ? rfc3339Millis(line.slice(name.length)) : undefined;
  if (time === undefined) throw new SiweError(`"${name.trim()}" is missing or no RFC 3339 date-time`);
  return time;
}
