/** What whoever opens a veto link sees: what it would stop, one button, and what came of it. No script, nothing from elsewhere. */
import { createHash } from 'node:crypto';

const STYLE = `
:root { color-scheme: light dark; }
body { margin: 0; font: 17px/1.6 system-ui, sans-serif; }
main { max-width: 38rem; margin: 0 auto; padding: 2rem 1.25rem; }
h1 { font-size: 1.5rem; line-height: 1.25; }
dt { margin-top: .75rem; opacity: .75; }
dd { margin: 0; }
code { font: .95em ui-monospace, monospace; overflow-wrap: anywhere; }
button { margin-top: 1.5rem; padding: .7rem 1.4rem; font: inherit; font-weight: 600; color: #fff; background: #b42318; border: 0; border-radius: .5rem; cursor: pointer; }
button:focus-visible { outline: 3px solid #f97066; outline-offset: 2px; }
`;

/** Of the page's answer: nothing may be loaded, run or framed; its form goes nowhere else. */
export const VETO_POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`,
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join('; ');

/** What the database knows of a link. */
export interface Veto {
  readonly tenant: string;
  readonly epoch: number;
  readonly custody: number;
  readonly old_signer: string;
  readonly new_signer: string;
  readonly used: boolean;
  readonly ended: boolean;
  readonly state: string | null;
  readonly reason: string | null;
}

const HOLDERS: Readonly<Record<number, string>> = {
  1: 'KIFF Cloud’s KMS',
  2: 'the tenant’s own KMS',
  3: 'the tenant’s own signer',
};

function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">
<title>${title}</title><style>${STYLE}</style></head>
<body><main><h1>${title}</h1>${body}</main></body></html>
`;
}

export function unknownPage(): string {
  return page(
    'This link does nothing',
    '<p>It is not one of ours, or parts of it are missing. Copy it whole, or use the page of your migration.</p>',
  );
}

/** All values are ids and addresses of ours, checked by the database: none can hold markup. */
export function vetoPage(veto: Veto): string {
  const { tenant, epoch, custody, old_signer: from, new_signer: to } = veto;
  const what = `<dl><dt>Tenant</dt><dd><code>${tenant}</code></dd><dt>Signs now</dt><dd><code>${from}</code></dd>
<dt>Would sign from epoch ${epoch} on</dt><dd><code>${to}</code> (${HOLDERS[custody] ?? 'another key'})</dd></dl>`;
  if (veto.used) return page(OUTCOMES[outcomeOf(veto)].title, `<p>${OUTCOMES[outcomeOf(veto)].says}</p>${what}`);
  if (veto.ended) return page('There is nothing left to stop', `<p>This migration has ended.</p>${what}`);
  return page(
    'Stop this change of signer?',
    `<p>If nobody of you wanted it, stop it. The log then goes on with the key that it has, and the migration can be started again.</p>${what}
<form method="post"><button>Stop it</button></form>`,
  );
}

const OUTCOMES = {
  waiting: {
    title: 'Your veto was taken',
    says: 'The migration is being stopped. Look at this page again in a minute.',
  },
  done: { title: 'It was stopped', says: 'The log goes on with the key that it had.' },
  late: {
    title: 'It was too late',
    says: 'The new key had already signed its acceptance. From there the way back is a new handover, which the new key signs.',
  },
} as const;

function outcomeOf({ state }: Veto): keyof typeof OUTCOMES {
  if (state === 'done') return 'done';
  return state === 'failed' || state === 'rejected' ? 'late' : 'waiting';
}
