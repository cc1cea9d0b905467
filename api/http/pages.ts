/** Lists come in pages, each found by a cursor: what stands behind the last item of the page before. */
import { wholeNumber } from './shapes.ts';

const DEFAULT_PAGE = 100;
const MAX_PAGE = 1_000;

/** How many items a page has at most. */
export const pageLimit = wholeNumber(1)
  .refine((limit) => limit <= MAX_PAGE, `must be at most ${MAX_PAGE}`)
  .default(DEFAULT_PAGE)
  .describe(`Items on a page, at most ${MAX_PAGE}; ${DEFAULT_PAGE} unless given`);

/** The Link header (RFC 8288) to the next page, by the query that asks for it; null on the last page. */
export function nextPage(path: string, query: Record<string, string | number> | null): Record<string, string> {
  if (query === null) return {};
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) parameters.set(name, String(value));
  return { Link: `<${path}?${parameters.toString()}>; rel="next"` };
}
