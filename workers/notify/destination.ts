/**
 * Where a tenant's webhook may go. Its address is the tenant's to choose, and this process stands inside of our network: so only
 * addresses that are anybody's on the internet are connected to, and the one that was judged is the one that is connected to.
 */
import { lookup } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import ipaddr from 'ipaddr.js';

/** Not sent, for a reason that no other try at the same address changes. */
export class RefusedDestination extends Error {
  override readonly name = 'RefusedDestination';
}

/** Whether an address is public: neither private, loopback, link-local, multicast, reserved, nor an IPv4 address in a disguise that is. */
export function isPublic(address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  // `process` takes ::ffff:10.0.0.1 for what it is.
  return ipaddr.process(address).range() === 'unicast';
}

const isLoopback = (address: string): boolean =>
  ipaddr.isValid(address) && ipaddr.process(address).range() === 'loopback';

/**
 * @param allowLoopback on a local stack
 * @throws RefusedDestination when the URL itself will not do
 */
export function judgeUrl(text: string, allowLoopback: boolean): URL {
  if (!URL.canParse(text)) throw new RefusedDestination('no URL');
  const url = new URL(text);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const here = allowLoopback && (host === 'localhost' || isLoopback(host));
  if (url.protocol !== 'https:' && !(here && url.protocol === 'http:')) throw new RefusedDestination('not https');
  if (url.username !== '' || url.password !== '') throw new RefusedDestination('credentials in the URL');
  // A literal address is never looked up.
  if (isIP(host) !== 0 && !isPublic(host) && !here) throw new RefusedDestination('not a public address');
  return url;
}

/** For `connect`: resolves a name once, and gives back only addresses that are allowed. */
export function judgedLookup(allowLoopback: boolean): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, found) => {
      if (error !== null) {
        callback(error, '', 4);
        return;
      }
      const allowed = found.filter(({ address }) => isPublic(address) || (allowLoopback && isLoopback(address)));
      const [first] = allowed;
      if (first === undefined) callback(new RefusedDestination('not a public address'), '', 4);
      else if (options.all === true) callback(null, allowed);
      else callback(null, first.address, first.family);
    });
  };
}
