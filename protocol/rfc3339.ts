const DATE_TIME = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,30})?(?:[Zz]|[+-]\d\d:\d\d)$/;
const DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/** The two digits from `at` on. */
function pair(text: string, at: number): number {
  return (text.charCodeAt(at) - 48) * 10 + text.charCodeAt(at + 1) - 48;
}

/**
 * Unix milliseconds of an RFC 3339 date-time with any offset and any fraction (cut to milliseconds), or undefined for
 * anything else, dates that do not exist included. A leap second (:60) is refused: hardly any reader could parse it.
 * (Digits are read where the form has put them: an expression's groups cost three times as much, for each record.)
 */
export function rfc3339Millis(text: string): number | undefined {
  if (!DATE_TIME.test(text)) return undefined;
  const year = pair(text, 0) * 100 + pair(text, 2);
  const month = pair(text, 5);
  const day = pair(text, 8);
  const hour = pair(text, 11);
  const minute = pair(text, 14);
  const second = pair(text, 17);
  const leapDay = month === 2 && year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 1 : 0;
  if (day < 1 || day > (DAYS[month - 1] ?? 0) + leapDay || hour > 23 || minute > 59 || second > 59) return undefined;
  const zulu = text.endsWith('Z') || text.endsWith('z');
  const zone = text.length - (zulu ? 1 : 6);
  const offsetHours = zulu ? 0 : pair(text, zone + 1);
  const offsetMinutes = zulu ? 0 : pair(text, zone + 4);
  if (offsetHours > 23 || offsetMinutes > 59) return undefined;

  // Date.UTC reads the years 0…99 as 1900…1999.
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  date.setUTCHours(hour, minute, second, zone === 19 ? 0 : Number(text.slice(20, Math.min(zone, 23)).padEnd(3, '0')));
  const offset = (offsetHours * 60 + offsetMinutes) * 60_000;
  return date.getTime() - (text[zone] === '-' ? -offset : offset);
}
