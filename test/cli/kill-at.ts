/**
 * Loaded into a process before anything else (`node --import`): ends it by SIGKILL at its step number `KILL_AT`. A step is the moment before
 * and the moment after each write and fsync of a file, and each request over HTTP.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const killAt = Number(process.env['KILL_AT']);
let steps = 0;

function step(): void {
  if (++steps === killAt) process.kill(process.pid, 'SIGKILL');
}

const { writeSync, fsyncSync } = fs;
fs.writeSync = ((...args: Parameters<typeof writeSync>) => {
  step();
  const written = writeSync(...args);
  step();
  return written;
}) as typeof writeSync;
fs.fsyncSync = (file) => {
  step();
  fsyncSync(file);
  step();
};
syncBuiltinESMExports();

const { fetch } = globalThis;
globalThis.fetch = async (...args) => {
  step();
  const response = await fetch(...args);
  step();
  return response;
};
