/** Where reports go: standard output, for people or for programs, and a webhook. */
import { setTimeout as delay } from 'node:timers/promises';
import { printable, type Terminal } from '../command.ts';
import type { Report } from './look.ts';

const TIMEOUT_MS = 10_000;
const ATTEMPTS = 3;

const MARKS: Readonly<Record<Report['state'], string>> = { open: '✗', closed: '✓', happened: '!' };

/** @param asLines one JSON object a line */
export function show(reports: readonly Report[], { stdout }: Terminal, asLines: boolean): void {
  for (const report of reports) {
    if (asLines) {
      stdout.write(`${JSON.stringify(report)}\n`);
      continue;
    }
    const { time, log, finding, state, says } = report;
    stdout.write(
      `${time}  ${MARKS[state]} ${printable(log)}  ${finding}${state === 'closed' ? ' is over' : ''}: ${printable(says)}\n`,
    );
  }
}

/**
 * Posts reports one by one, each as often as it takes within limits. What could not be delivered stands on standard output all the
 * same.
 * @returns how many were not delivered
 */
export async function post(reports: readonly Report[], url: URL, signal: AbortSignal): Promise<number> {
  let lost = 0;
  for (const report of reports) {
    if (!(await delivered(JSON.stringify(report), url, signal))) lost++;
  }
  return lost;
}

async function delivered(body: string, url: URL, signal: AbortSignal): Promise<boolean> {
  for (let attempt = 1; ; attempt++) {
    try {
      const response = await fetch(url, {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/json' },
        redirect: 'error',
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      await response.body?.cancel();
      if (response.ok) return true;
    } catch {
      // Counted below: whoever listens there may be away.
    }
    if (attempt === ATTEMPTS || signal.aborted) return false;
    await delay(1000 * 2 ** attempt, undefined, { signal }).catch(() => undefined);
  }
}
