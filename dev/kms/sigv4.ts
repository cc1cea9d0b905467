import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { KmsError } from './errors.ts';

/** One request as it came. `url` is the request target; `now` is milliseconds. */
export interface SignedRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Uint8Array;
  readonly now: number;
}

export interface Credential {
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

export interface Verified {
  readonly accessKeyId: string;
  /** From the credential scope; one stand-in serves every region, and keys live in the region that they were made in. */
  readonly region: string;
}

/** AWS accepts requests from five minutes back or ahead. */
const maxSkewMs = 5 * 60_000;

const sha256 = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('hex');
const hmac = (key: string | Uint8Array, data: string): Buffer => createHmac('sha256', key).update(data).digest();

function invalid(message: string): KmsError {
  return new KmsError('InvalidSignatureException', message);
}

interface Authorization {
  readonly accessKeyId: string;
  readonly date: string;
  readonly region: string;
  readonly service: string;
  readonly signedHeaders: readonly string[];
  readonly signature: string;
}

function parseAuthorization(header: string | undefined): Authorization {
  if (header === undefined) throw new KmsError('MissingAuthenticationTokenException', 'Missing Authentication Token');
  const match =
    /^AWS4-HMAC-SHA256 +Credential=([A-Za-z0-9_]+)\/(\d{8})\/([a-z0-9-]+)\/([a-z0-9-]+)\/aws4_request, *SignedHeaders=([a-z0-9;-]+), *Signature=([0-9a-f]{64})$/.exec(
      header,
    );
  if (match === null) {
    throw new KmsError(
      'IncompleteSignatureException',
      'Authorization header is not a complete AWS Signature Version 4.',
    );
  }
  const [, accessKeyId, date, region, service, signedHeaders, signature] = match as unknown as string[] & {
    length: 7;
  };
  return {
    accessKeyId: accessKeyId ?? '',
    date: date ?? '',
    region: region ?? '',
    service: service ?? '',
    signedHeaders: (signedHeaders ?? '').split(';'),
    signature: signature ?? '',
  };
}

function checkTime(amzDate: string | undefined, scopeDate: string, now: number): string {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(amzDate ?? '');
  if (amzDate === undefined || match === null) {
    throw new KmsError('IncompleteSignatureException', 'X-Amz-Date is missing or not in the form YYYYMMDDTHHMMSSZ.');
  }
  if (!amzDate.startsWith(scopeDate))
    throw invalid('Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date.');
  const [, year, month, day, hour, minute, second] = match.map(Number);
  const time = Date.UTC(year ?? 0, (month ?? 1) - 1, day, hour, minute, second);
  if (time < now - maxSkewMs) throw invalid(`Signature expired: ${amzDate} is more than 5 minutes old.`);
  if (time > now + maxSkewMs) throw invalid(`Signature not yet current: ${amzDate} is more than 5 minutes ahead.`);
  return amzDate;
}

function headerValue(headers: IncomingHttpHeaders, name: string): string {
  const value = headers[name];
  if (value === undefined) throw invalid(`Signed header ${name} is missing.`);
  return (Array.isArray(value) ? value.join(',') : value).trim().replace(/ +/g, ' ');
}

/**
 * AWS Signature Version 4 in the Authorization header, for service `kms` and path `/` (the query string and presigned forms are not KMS's).
 * `host` and every `x-amz-*` header must be signed: an unsigned X-Amz-Target would let anybody turn one action into another.
 *
 * Throws MissingAuthenticationTokenException, IncompleteSignatureException, UnrecognizedClientException (no such key or session token) or
 * InvalidSignatureException.
 */
export function verifySigV4(
  request: SignedRequest,
  credentialOf: (accessKeyId: string) => Credential | undefined,
): Verified {
  const { headers } = request;
  const authorization = parseAuthorization(headers.authorization);
  const { accessKeyId, date, region, service, signedHeaders, signature } = authorization;

  const credential = credentialOf(accessKeyId);
  if (credential === undefined || headers['x-amz-security-token'] !== credential.sessionToken) {
    throw new KmsError('UnrecognizedClientException', 'The security token included in the request is invalid.');
  }
  if (service !== 'kms') throw invalid("Credential should be scoped to correct service: 'kms'.");
  const amzDate = checkTime(headers['x-amz-date'] as string | undefined, date, request.now);

  const mustBeSigned = ['host', ...Object.keys(headers).filter((name) => name.startsWith('x-amz-'))];
  const unsigned = mustBeSigned.filter((name) => !signedHeaders.includes(name));
  if (unsigned.length > 0) throw invalid(`Headers must be signed: ${unsigned.join(', ')}.`);

  const canonicalRequest = [
    request.method,
    request.url,
    '',
    ...signedHeaders.map((name) => `${name}:${headerValue(headers, name)}`),
    '',
    signedHeaders.join(';'),
    sha256(request.body),
  ].join('\n');
  const scope = `${date}/${region}/${service}/aws4_request`;
  const stringToSign = ['AWS4-HMAC-SHA256', amzDate, scope, sha256(canonicalRequest)].join('\n');
  const signingKey = [date, region, service, 'aws4_request'].reduce<string | Buffer>(
    hmac,
    `AWS4${credential.secretAccessKey}`,
  );
  if (!timingSafeEqual(hmac(signingKey, stringToSign), Buffer.from(signature, 'hex'))) {
    throw invalid(
      'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. ' +
        'Consult the service documentation for details.',
    );
  }
  return { accessKeyId, region };
}
