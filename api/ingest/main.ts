/** The ingest API's process. SIGTERM and SIGINT drain it. */
import { start } from '../http/serve.ts';
import { serveIngest } from './service.ts';

start(() => serveIngest());
