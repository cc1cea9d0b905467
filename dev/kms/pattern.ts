/** IAM's wildcards: `*` is any run of characters, `?` any single one; the rest is literal. */
export function matchesPattern(pattern: string, value: string): boolean {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, String.raw`\$&`)
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${source}$`, 's').test(value);
}

/** Actions compare without regard to case (IAM reference, Action element). */
export function matchesAction(pattern: string, action: string): boolean {
  return matchesPattern(pattern.toLowerCase(), action.toLowerCase());
}

function arnParts(arn: string): string[] | null {
  const parts = arn.split(':');
  return parts.length < 6 || parts[0] !== 'arn' ? null : [...parts.slice(0, 5), parts.slice(5).join(':')];
}

export function isArnPattern(text: string): boolean {
  return arnParts(text) !== null;
}

/**
 * The ARN operators compare each of the six parts by itself, so that a `*` never swallows a colon. ArnEquals and ArnLike are the same
 * (IAM reference, ARN condition operators).
 */
export function matchesArn(pattern: string, arn: string): boolean {
  const wanted = arnParts(pattern);
  const actual = arnParts(arn);
  return wanted !== null && actual !== null && wanted.every((part, i) => matchesPattern(part, actual[i] ?? ''));
}
