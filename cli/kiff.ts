#!/usr/bin/env node
/** The `kiff` command: finds the subcommand and gives it the rest. */
import { printable, type Command } from './command.ts';
import { devTokenCommand } from './dev-token.ts';
import { exportCommand } from './export.ts';
import { verifyCommand } from './verify.ts';

/**
 * Commands and what the list says of them. What operators use is loaded when it is called for: whoever verifies runs nothing but
 * this folder and protocol/.
 */
const COMMANDS: ReadonlyMap<string, { summary: string; load: () => Promise<Command> }> = new Map([
  ['verify', { summary: 'verify a receipt, a whole log or a promise', load: async () => verifyCommand }],
  ['export', { summary: 'write a log into a file that can be verified', load: async () => exportCommand }],
  [
    'tlog',
    {
      summary: 'proofs and keys in the formats of transparency-log tools',
      load: async () => (await import('./tlog.ts')).tlogCommand,
    },
  ],
  [
    'monitor',
    {
      summary: 'watch logs: late seals, forks, new signers',
      load: async () => (await import('./monitor/monitor.ts')).monitorCommand,
    },
  ],
  [
    'signer',
    {
      summary: 'sign for your log on your own ground',
      load: async () => (await import('./signer/signer.ts')).signerCommand,
    },
  ],
  ['dev-token', { summary: 'sign in at a local stack', load: async () => devTokenCommand }],
  [
    'anchor',
    {
      summary: 'send a signed seal to the contract, with any funded key',
      load: async () => (await import('./anchor.ts')).anchorCommand,
    },
  ],
  [
    'custody',
    {
      summary: 'see who holds your log’s key, hand it over, follow that, stop it',
      load: async () => (await import('./custody.ts')).custodyCommand,
    },
  ],
  [
    'tenant',
    {
      summary: 'list, create, pause, resume and limit tenants (operators)',
      load: async () => (await import('./operator/tenant.ts')).tenantCommand,
    },
  ],
  [
    'recover',
    {
      summary: 'compare databases and chain, open a restored database, resume or end a log (operators)',
      load: async () => (await import('./operator/recover.ts')).recoverCommand,
    },
  ],
]);

function usage(): string {
  const lines = Array.from(COMMANDS, ([name, { summary }]) => `  ${name.padEnd(12)}${summary}`);
  return `Usage: kiff COMMAND …\n\n${lines.join('\n')}\n\nSee: kiff COMMAND --help\n`;
}

/** Whether help was asked for, before a `--` that ends the options. */
function asksForHelp(args: readonly string[]): boolean {
  const end = args.indexOf('--');
  return args.slice(0, end < 0 ? args.length : end).some((arg) => arg === '--help' || arg === '-h');
}

async function main([name, ...args]: readonly string[]): Promise<number> {
  if (name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(usage());
    return 0;
  }
  const command = await (name === undefined ? undefined : COMMANDS.get(name)?.load());
  if (command === undefined) {
    process.stderr.write(
      `kiff: ${name === undefined ? 'no command' : `there is no command ${printable(name)}`}\n\n${usage()}`,
    );
    return 2;
  }
  // What a command does not say itself.
  if (command.usage !== undefined && asksForHelp(args)) {
    process.stdout.write(command.usage);
    return 0;
  }
  return command.run(args, process);
}

// Not process.exit: what was written to a pipe must arrive.
process.exitCode = await main(process.argv.slice(2));
