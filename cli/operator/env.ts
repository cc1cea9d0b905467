/** What operator commands are told by the environment: a credential has no business on a command line. */
import { UsageError } from '../command.ts';

/** @throws UsageError */
export function readOperatorUrl(source: NodeJS.ProcessEnv = process.env): string {
  const url = source['OPERATOR_DATABASE_URL'] ?? '';
  if (!/^postgres(?:ql)?:\/\/\S+$/.test(url)) {
    throw new UsageError(
      'OPERATOR_DATABASE_URL must be the product database as a postgres:// URL with the login kiff_operator',
    );
  }
  return url;
}
