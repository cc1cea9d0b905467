/** Bodies to post: what demo agents leave, every record with an id of its own. */
import { demoRecords } from '../../dev/demo-records.ts';

/** `count` records, each as one line of JSON without its end. */
export function recordLines(count: number): string[] {
  return demoRecords(count, new Date()).map((record) => JSON.stringify(record));
}
