/** What commands read from the environment: secrets, which must not stand on a command line. */

/** The key that `kiff anchor` pays with, or the password of the file that holds it. */
export function readAnchorEnv(source: NodeJS.ProcessEnv = process.env): {
  key: string | undefined;
  password: string | undefined;
} {
  return { key: source['KIFF_ANCHOR_KEY'], password: source['KIFF_KEYSTORE_PASSWORD'] };
}
