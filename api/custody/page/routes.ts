/** The pages for people: one per migration, and one for passkeys. They are the same bytes for everybody; what they show, they ask for. */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { operation, replyBytes, type Operation } from '../../http/operation.ts';
import { ofMigration } from '../migrations-routes.ts';
import { SCRIPT } from './script.ts';
import { STYLE } from './style.ts';

const HTML = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Custody of your log’s key</title><style>${STYLE}</style></head>
<body><main>
<div id="for-migration" hidden><h1>Your log’s key changes hands</h1>
<p class="quiet">Read what will happen and compare the new address with what its owner told you, over another channel.</p></div>
<div id="for-passkeys" hidden><h1>Passkeys for custody</h1>
<p class="quiet">Approvals need a passkey that was registered a day before. Two different admins have to approve.</p></div>

<form id="session"><label for="token">Session token</label>
<textarea id="token" autocomplete="off" spellcheck="false" required></textarea>
<p class="quiet">Of your session, with both factors verified in the last ten minutes. It stays in this page’s memory and goes to this origin only.</p>
<button type="submit">Open</button></form>
<p id="status" role="status"></p>

<section id="migration" hidden>
<p id="says"></p>
<h2>The new signer’s address</h2>
<code id="address"></code>
<h2>Who will hold the key: <span id="kind"></span></h2>
<p id="meaning"></p>
<h2>What will happen</h2>
<ol>
<li>Two different admins approve with their passkeys. What a passkey signs names the address above.</li>
<li>The new key shows that it can sign, and signs two seals on trial.</li>
<li>Both keys sign the handover and it goes to the chain, where it cools off. Everybody is told, and any admin can stop it.</li>
<li>The new key accepts. From then on nothing can be undone: the way back is a new handover, signed by the new key.</li>
<li>The chain takes seals of the new key only. <span id="fate"></span></li>
</ol>
<button id="approve" type="button" hidden>Approve with a passkey</button>
<button id="veto" type="button" class="stop" hidden>Veto: stop it</button>
<h2>Approvals</h2>
<ul id="approvals"></ul>
<h2>In full</h2>
<dl>
<dt>New key</dt><dd><code id="key"></code></dd>
<dt>Signer until now</dt><dd><code id="old"></code></dd>
<dt>Log</dt><dd><code id="log"></code></dd>
<dt>What an approval signs (digest of the CustodyApproval)</dt><dd><code id="digest"></code></dd>
</dl>
<h2>Steps</h2>
<table><tbody id="steps"></tbody></table>
</section>

<section id="passkeys" hidden>
<button id="register" type="button">Register a passkey</button>
<h2>Registered</h2>
<table><tbody id="known"></tbody></table>
</section>
</main><script>${SCRIPT}</script></body></html>
`;

const hash = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

/** Its own style and script by their hashes, requests to this origin, and text that is never read as HTML. */
const POLICY = [
  "default-src 'none'",
  `script-src ${hash(SCRIPT)}`,
  `style-src ${hash(STYLE)}`,
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

const bytes = Buffer.from(HTML);

const ANSWERS = { 200: { description: 'The page.', type: 'text/html', schema: z.string() } } as const;

const page = () =>
  replyBytes(200, bytes, {
    headers: { 'Content-Type': 'text/html; charset=utf-8', 'Content-Security-Policy': POLICY },
  });

export function pageOperations(): Operation[] {
  return [
    operation({
      id: 'getMigrationPage',
      method: 'get',
      path: '/migrations/{id}',
      tag: 'Migrations',
      summary: 'The page of a migration, for people: what will happen, approve, veto.',
      access: null,
      params: ofMigration,
      answers: ANSWERS,
      handle: async () => page(),
    }),
    operation({
      id: 'getPasskeysPage',
      method: 'get',
      path: '/passkeys',
      tag: 'Passkeys',
      summary: 'The page to register a passkey at.',
      access: null,
      answers: ANSWERS,
      handle: async () => page(),
    }),
  ];
}
