/** How long the relayer's money lasts. Pure policy, apart from effects. Amounts are in wei. */

/** What mined transactions have cost, by our own records. */
export interface Spending {
  /** In the last 24 hours. */
  lastDay: bigint;
  /** In the last three hours: the price of gas may have changed since yesterday. */
  lastHours: bigint;
  /** Since the wallet's first transaction in the last 24 hours. */
  hoursOnRecord: number;
}

const DAY_HOURS = 24;
const RECENT_HOURS = 3;

/**
 * Below so many hours somebody is told. Twice the day that must still be left then, so that a rate that doubles
 * overnight, or a weekend's first night, does not take it away.
 */
export const ALERT_BELOW_HOURS = 48;

/**
 * Hours of sealing that the balance pays for, at the higher of two measured rates: the day's and the last hours'. A wallet
 * younger than that is measured over its age, and over an hour at least, since sealing comes in hourly bursts.
 * @returns Infinity while nothing was spent
 */
export function hoursLeft(balance: bigint, spending: Spending): number {
  const age = Math.max(spending.hoursOnRecord, 1);
  const perHour = Math.max(
    Number(spending.lastDay) / Math.min(age, DAY_HOURS),
    Number(spending.lastHours) / Math.min(age, RECENT_HOURS),
  );
  return perHour === 0 ? Infinity : Number(balance) / perHour;
}
