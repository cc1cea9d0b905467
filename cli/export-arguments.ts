/** What `kiff export` may be told. */
import { parseArgs } from 'node:util';
import { UsageError } from './command.ts';

export const USAGE = `Usage: kiff export --api URL -o BUNDLE [--tenant ID] [--log N] [--from TIME] [--to TIME] [--records]

  --api URL      the service’s address, for example https://api.kiff.dev
  -o BUNDLE      the file to write. An export that broke off goes on in it; a complete one is left alone
  --tenant ID    refuses a key that is another tenant’s
  --log N        the number of a log that has ended; the current one unless given
  --from TIME    the first period; the log’s first unless given
  --to TIME      the last period; that of the last final seal unless given
  --records      puts the records in, as far as they were not erased; only their commitments otherwise

TIME is an RFC 3339 time or date (2026-11-25, 2026-11-25T04:00:00Z) or Unix seconds. An API key with the scope read is
read from KIFF_API_KEY.

Exit code: 0 the bundle is complete, 2 the input is unusable, 3 the service refuses or is unreachable (the same command
goes on where it was).
`;

export interface ExportArguments {
  readonly api: URL;
  readonly output: string;
  readonly tenant: string | undefined;
  readonly log: number | undefined;
  /** Unix seconds. */
  readonly from: number | undefined;
  readonly to: number | undefined;
  readonly records: boolean;
}

/** @throws UsageError that says what is missing or wrong */
export function readExportArguments(args: readonly string[]): ExportArguments {
  const values = parse(args);
  if (values.api === undefined) throw new UsageError('give --api URL: the service that has the log');
  if (values.output === undefined) throw new UsageError('give -o BUNDLE: the file to write');
  if (!URL.canParse(values.api) || !/^https?:$/.test(new URL(values.api).protocol)) {
    throw new UsageError('--api takes an http or https URL');
  }
  if (values.log !== undefined && !/^[1-9][0-9]{0,8}$/.test(values.log))
    throw new UsageError('--log takes a number from 1 on');
  const from = timeOf('--from', values.from);
  const to = timeOf('--to', values.to);
  if (from !== undefined && to !== undefined && to < from) throw new UsageError('--to lies before --from');
  return {
    api: new URL(values.api),
    output: values.output,
    tenant: values.tenant,
    log: values.log === undefined ? undefined : Number(values.log),
    from,
    to,
    records: values.records,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        api: { type: 'string' },
        output: { type: 'string', short: 'o' },
        tenant: { type: 'string' },
        log: { type: 'string' },
        from: { type: 'string' },
        to: { type: 'string' },
        records: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : 'the arguments are wrong');
  }
}

/** A date alone is its first second; without a zone it is UTC, never this machine’s. */
function timeOf(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^[0-9]{1,12}$/.test(text)) return Number(text);
  const form = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(Z|[+-]\d{2}:\d{2})?)?$/.exec(text);
  const millis = form === null ? NaN : Date.parse(text.includes('T') && form[1] === undefined ? `${text}Z` : text);
  if (Number.isNaN(millis)) throw new UsageError(`${flag} takes an RFC 3339 time or date, or Unix seconds`);
  return Math.floor(millis / 1000);
}
