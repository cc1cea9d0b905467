/** A Temporal server that can die and come back: at the same address, with everything that it had written. */
import { startTemporal, type Temporal } from '../../dev/temporal.ts';
import { temporalBinary } from '../../dev/temporal-binary.ts';
import { searchAttributes, temporal } from '../parts.ts';

export interface TemporalServer extends Pick<Temporal, 'address' | 'stop'> {
  /** Ends it as a power cut would. */
  kill(): Promise<void>;
  /** Starts it again. */
  revive(): Promise<void>;
}

/** The server that TEMPORAL_ADDRESS names is not ours to kill: the tests that do so say that they cannot. */
export async function temporalServer(dbFile: string): Promise<TemporalServer> {
  if (process.env['TEMPORAL_ADDRESS']) {
    return { ...(await temporal()), stop: async () => undefined, kill: refuse, revive: refuse };
  }
  const binary = await temporalBinary({ onProgress: () => undefined }); // set-up has made it
  const options = { binary, searchAttributes, dbFile, logFile: `${dbFile}.log` };
  let running = await startTemporal(options);
  const { address, uiUrl } = running;
  return {
    address,
    stop: () => running.stop(),
    async kill() {
      process.kill(running.pid, 'SIGKILL');
      await running.exited;
    },
    async revive() {
      running = await startTemporal({ ...options, port: portOf(address), uiPort: portOf(uiUrl) });
    },
  };
}

const refuse = () => Promise.reject(new Error('TEMPORAL_ADDRESS names a server that is not ours to kill'));

const portOf = (url: string): number => Number(url.split(':').at(-1));
