/**
 * What the pages do, as it is sent: a text, since the browser's names are not this program's. It asks this origin alone, keeps
 * the session's token in memory alone, and writes text, never HTML. What it does is tried in a browser
 * (test/api/custody-page.test.ts).
 */
export const SCRIPT = `
'use strict';
const $ = (id) => document.getElementById(id);
const [, page, id] = location.pathname.split('/');
let token = '';
let timer;

function say(text, wrong) {
  $('status').textContent = text;
  $('status').className = wrong ? 'wrong' : '';
}

function made(name, text) {
  const element = document.createElement(name);
  element.textContent = text;
  return element;
}

class Refused extends Error {}

async function ask(method, path, body) {
  const response = await fetch(path, {
    method,
    cache: 'no-store',
    credentials: 'omit',
    headers: { authorization: 'Bearer ' + token, ...(body && { 'content-type': 'application/json' }) },
    ...(body && { body: JSON.stringify(body) }),
  });
  const answer = await response.json();
  if (response.ok) return answer;
  if (response.status === 401) signedOut();
  throw new Refused(answer.detail);
}

function signedOut() {
  token = '';
  clearTimeout(timer);
  $('session').hidden = false;
}

/** Waits for what the signing plane says of what was left for it. */
async function outcome({ result }) {
  for (let n = 0; n < 120; n++) {
    const { state } = await ask('GET', result);
    if (state === 'done') return;
    await new Promise((resolve) => setTimeout(resolve, 500 + 100 * n));
  }
  throw new Refused('The signing plane has not answered yet; it goes on by itself.');
}

const bytes = (text) => Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
const known = (list) => list.map((one) => ({ ...one, id: bytes(one.id) }));

async function register() {
  const options = await ask('POST', '/v1/custody/passkeys/options');
  const { rawId, response } = await navigator.credentials.create({
    publicKey: {
      ...options,
      challenge: bytes(options.challenge),
      user: { ...options.user, id: bytes(options.user.id) },
      excludeCredentials: known(options.excludeCredentials),
    },
  });
  const registration = {
    id: text(rawId),
    rawId: text(rawId),
    type: 'public-key',
    response: {
      clientDataJSON: text(response.clientDataJSON),
      attestationObject: text(response.attestationObject),
      transports: response.getTransports(),
    },
  };
  return ask('POST', '/v1/custody/passkeys', { challenge: options.challenge, registration });
}

async function approve() {
  const path = '/v1/custody/migrations/' + id + '/approve';
  const options = await ask('POST', path + '/options');
  const { rawId, response } = await navigator.credentials.get({
    publicKey: { ...options, challenge: bytes(options.challenge), allowCredentials: known(options.allowCredentials) },
  });
  const assertion = {
    id: text(rawId),
    rawId: text(rawId),
    type: 'public-key',
    response: {
      clientDataJSON: text(response.clientDataJSON),
      authenticatorData: text(response.authenticatorData),
      signature: text(response.signature),
      ...(response.userHandle && { userHandle: text(response.userHandle) }),
    },
  };
  return ask('POST', path, { assertion });
}

function remove(passkey) {
  return ask('DELETE', '/v1/custody/passkeys/' + passkey);
}

function veto() {
  return ask('POST', '/v1/custody/migrations/' + id + '/veto');
}

/** One act at a time, and what came of it. */
async function act(doing, done, work) {
  const buttons = document.querySelectorAll('button');
  for (const each of buttons) each.disabled = true;
  say(doing);
  try {
    await outcome(await work());
    say(done);
  } catch (error) {
    say(error instanceof Refused ? error.message : 'Your browser or passkey has stopped it: ' + error.message, true);
  } finally {
    for (const each of buttons) each.disabled = false;
    if (token) await show().catch(() => undefined);
  }
}

function showMigration(view) {
  $('says').textContent = view.says;
  $('kind').textContent = view.custody;
  $('meaning').textContent = view.meaning;
  $('address').textContent = view.newSigner ?? 'not known yet';
  $('key').textContent = view.keyRef ?? 'none that we call';
  $('old').textContent = view.fromSigner ?? 'not known yet';
  $('log').textContent = view.logId ?? 'not known yet';
  $('digest').textContent = view.approval?.digest ?? 'not known yet';
  $('fate').textContent = view.deleteOldKey
    ? 'The old key is disabled, and deleted after a time of observation, if it is ours.'
    : 'The old key is disabled, and kept, if it is ours.';
  $('approvals').replaceChildren(
    ...view.approvals.map(({ user, at, state, reason }) =>
      made('li', user + ', ' + at.slice(0, 16).replace('T', ' ') + ' UTC: ' + (reason ?? (state === 'done' ? 'counts' : state)))),
  );
  if (view.approvals.length === 0) $('approvals').append(made('li', 'nobody yet'));
  $('steps').replaceChildren(
    ...view.steps.map(({ step, state, at }) => {
      const row = document.createElement('tr');
      row.append(made('td', step.replaceAll('-', ' ')), made('td', state), made('td', at.slice(0, 19).replace('T', ' ') + ' UTC'));
      return row;
    }),
  );
  const step = view.steps.at(-1)?.step;
  $('approve').hidden = !(view.state === 'active' && view.approval && step === 'authorise');
  $('veto').hidden = !view.stoppable;
  $('migration').hidden = false;
  return view.state === 'completed' || view.state === 'undone';
}

function showPasskeys({ passkeys }) {
  $('known').replaceChildren(
    ...passkeys.map(({ id, user, countsFrom, state }) => {
      const row = document.createElement('tr');
      row.append(
        made('td', user),
        made('td', id.slice(0, 12) + '…'),
        made('td', (state === 'done' ? 'verified' : 'being verified') + ', counts from ' + countsFrom.slice(0, 16).replace('T', ' ') + ' UTC'),
      );
      const button = made('button', 'Remove');
      button.type = 'button';
      button.className = 'stop';
      button.addEventListener('click', () => {
        if (confirm('Remove this passkey? It never counts again, and a migration that it has approved may be undone.')) {
          act('Removing …', 'The passkey is removed.', () => remove(id));
        }
      });
      const cell = document.createElement('td');
      cell.append(button);
      row.append(cell);
      return row;
    }),
  );
  $('passkeys').hidden = false;
  return true;
}

async function show() {
  clearTimeout(timer);
  const over =
    page === 'passkeys'
      ? showPasskeys(await ask('GET', '/v1/custody/passkeys'))
      : showMigration(await ask('GET', '/v1/custody/migrations/' + encodeURIComponent(id)));
  $('session').hidden = true;
  if (!over) timer = setTimeout(() => show().catch((error) => say(error.message, true)), 3000);
}

$('session').addEventListener('submit', async (event) => {
  event.preventDefault();
  token = $('token').value.trim();
  $('token').value = '';
  say('Looking …');
  try {
    await show();
    say('');
  } catch (error) {
    say(error.message, true);
  }
});
$('register').addEventListener('click', () =>
  act('Your browser asks for the passkey …', 'The passkey is registered.', register));
$('approve').addEventListener('click', () =>
  act('Your browser asks for the passkey …', 'You have approved.', approve));
$('veto').addEventListener('click', () => {
  if (confirm('Stop this migration? It is undone, and a new one has to begin from the start.')) {
    act('Stopping …', 'It is stopped.', veto);
  }
});
$(page === 'passkeys' ? 'for-passkeys' : 'for-migration').hidden = false;
`;
