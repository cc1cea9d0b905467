/**
 * `kiff export`: writes a log, or some of its periods, into a file that `kiff verify` verifies. The file grows page by page,
 * and an export that broke off goes on behind the last whole line: nothing that came is fetched again.
 */
import { open, stat, truncate, type FileHandle } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { printable, UsageError, type Command, type Terminal } from './command.ts';
import { readExportEnv } from './env.ts';
import { readExportArguments, USAGE, type ExportArguments } from './export-arguments.ts';
import { whereItBrokeOff, type Progressed } from './export-state.ts';
import { bar, createProgress, type Progress } from './progress.ts';

/** The service refused, or could not be reached: exit code 3, and asking again goes on where it was. */
class ExportFailed extends Error {}

const PAGE_TIMEOUT_MS = 60_000;
/** A page that does not come is asked for so often, each time later. */
const ATTEMPTS = 6;
const MAX_WAIT_SECONDS = 60;

interface Page {
  readonly lines: Buffer;
  readonly next: string | null;
}

async function problemOf(response: Response): Promise<string> {
  const text = (await response.text()).slice(0, 10_000);
  try {
    const { detail } = JSON.parse(text) as { detail?: unknown };
    if (typeof detail === 'string') return `${response.status}: ${detail}`;
  } catch {
    // Not ours: a proxy's page.
  }
  return `HTTP status ${response.status}`;
}

/** @returns undefined when asking again may help, after so many seconds */
async function tryPage(url: URL, apiKey: string): Promise<Page | { readonly again: number; readonly why: string }> {
  let response: Response;
  try {
    response = await fetch(url, {
      headers: { authorization: `Bearer ${apiKey}`, accept: 'application/x-ndjson' },
      redirect: 'error',
      signal: AbortSignal.timeout(PAGE_TIMEOUT_MS),
    });
    if (response.status === 200) {
      const lines = Buffer.from(await response.arrayBuffer());
      const link = /^<([^>]+)>; rel="next"$/.exec(response.headers.get('link') ?? '')?.[1];
      return { lines, next: link ?? null };
    }
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    return { again: 1, why: cause instanceof Error && 'code' in cause ? String(cause.code) : 'no answer' };
  }
  const why = await problemOf(response);
  if (response.status !== 429 && response.status < 500) throw new ExportFailed(`the service refuses: ${why}`);
  return { again: Math.min(MAX_WAIT_SECONDS, Number(response.headers.get('retry-after')) || 1), why };
}

async function fetchPage(url: URL, apiKey: string): Promise<Page> {
  let why = '';
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const answer = await tryPage(url, apiKey);
    if ('lines' in answer) return answer;
    ({ why } = answer);
    await delay(answer.again * 1000 * 2 ** attempt);
  }
  throw new ExportFailed(`the service cannot be reached: ${why}. The same command goes on from here`);
}

/** The address of the first page that is wanted. */
function firstPage(args: ExportArguments, { span, cursor }: Progressed): URL {
  const url = new URL('v1/bundle', args.api.href.endsWith('/') ? args.api : `${args.api.href}/`);
  const { from, to } = span ?? args;
  const parameters = { from, to, log: args.log, seq: cursor?.seq, leaf: cursor?.leaf ?? undefined };
  for (const [name, value] of Object.entries(parameters))
    if (value !== undefined) url.searchParams.set(name, String(value));
  url.searchParams.set('records', args.records ? 'disclosed' : 'withheld');
  return url;
}

function show(progress: Progress, { span, period, seals, entries }: Progressed): void {
  const share =
    span === undefined || period === undefined ? 0 : (period - span.from) / Math.max(1, span.to - span.from);
  progress.show(`${bar(share)}  ${seals} seals, ${entries} entries`);
}

async function download(
  args: ExportArguments,
  apiKey: string,
  file: FileHandle,
  state: Progressed,
  progress: Progress,
) {
  for (let url: URL | undefined = firstPage(args, state); url !== undefined;) {
    const { lines, next } = await fetchPage(url, apiKey);
    if (lines.length === 0 || lines.at(-1) !== 0x0a) throw new ExportFailed('the service answered with half a page');
    await file.appendFile(lines);
    state.take(lines);
    show(progress, state);
    if (next === null) return;
    const following: URL = new URL(next, url);
    if (following.origin !== url.origin || following.href === url.href)
      throw new ExportFailed('the service leads elsewhere');
    url = following;
  }
}

async function exportBundle(args: ExportArguments, apiKey: string, progress: Progress): Promise<Progressed> {
  const standing = await stat(args.output).then(
    ({ size }) => size,
    () => 0,
  );
  const { state, whole } = await whereItBrokeOff(args.output, standing);
  if (state.complete) return state;
  if (state.header !== undefined && args.tenant !== undefined && !state.origin!.split('/').includes(args.tenant)) {
    throw new UsageError(`${args.output} is the log ${printable(state.origin!)}, not one of ${args.tenant}`);
  }
  if (standing > whole) await truncate(args.output, whole);
  const file = await open(args.output, 'a', 0o600);
  try {
    await download(args, apiKey, file, state, progress);
    await file.sync();
  } finally {
    await file.close();
  }
  if (!state.complete) throw new ExportFailed('the service ended the bundle without its last line');
  if (args.tenant !== undefined && !state.origin!.split('/').includes(args.tenant)) {
    throw new UsageError(`the key is not ${args.tenant}’s: this is the log ${printable(state.origin!)}`);
  }
  return state;
}

async function run(args: readonly string[], { stderr, stdout }: Terminal): Promise<number> {
  const progress = createProgress(stderr);
  try {
    const read = readExportArguments(args);
    const { seals, entries, origin, span } = await exportBundle(read, readExportEnv(), progress);
    progress.end();
    const until = new Date(span!.to * 1000).toISOString();
    stdout.write(
      `${read.output}: ${printable(origin!)}, ${seals} seals up to the period ${until}, ${entries} entries.\n` +
        `Verify it: kiff verify ${read.output} --policy FILE --rpc URL\n`,
    );
    return 0;
  } catch (error) {
    progress.end();
    if (!(error instanceof UsageError) && !(error instanceof ExportFailed)) throw error;
    stderr.write(`kiff export: ${printable(error.message)}\n`);
    return error instanceof UsageError ? 2 : 3;
  }
}

export const exportCommand: Command = { usage: USAGE, run };
