/** How mail leaves: by SMTP, or into files on a local stack. */
import { randomUUID } from 'node:crypto';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import nodemailer from 'nodemailer';

interface Mail {
  readonly to: string;
  readonly subject: string;
  readonly text: string;
  /** The same for every try. */
  readonly messageId: string;
}

export interface MailSender {
  /** @throws when it was not taken */
  send(mail: Mail): Promise<void>;
  close(): void;
}

const TIMEOUT_MS = 15_000;

/** @param url `smtp(s)://…` or `file:///folder` */
export function createMailSender(url: string, from: string): MailSender {
  return url.startsWith('file:') ? intoFiles(fileURLToPath(url), from) : overSmtp(url, from);
}

function overSmtp(url: string, from: string): MailSender {
  const transport = nodemailer.createTransport({
    url,
    connectionTimeout: TIMEOUT_MS,
    greetingTimeout: TIMEOUT_MS,
    socketTimeout: TIMEOUT_MS,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  return {
    async send({ to, ...mail }) {
      // As an object: a text would be parsed as a list of addresses.
      await transport.sendMail({ from, to: { name: '', address: to }, ...mail });
    },
    close: () => transport.close(),
  };
}

/** Each mail as it would have gone over the wire. */
function intoFiles(folder: string, from: string): MailSender {
  const transport = nodemailer.createTransport({ streamTransport: true, buffer: true, newline: 'unix' });
  return {
    async send({ to, ...mail }) {
      const { message } = await transport.sendMail({ from, to: { name: '', address: to }, ...mail });
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      const path = join(folder, `${Date.now()}-${randomUUID()}.eml`);
      writeFileSync(`${path}.new`, message as Buffer, { mode: 0o600 });
      renameSync(`${path}.new`, path);
    },
    close: () => undefined,
  };
}
