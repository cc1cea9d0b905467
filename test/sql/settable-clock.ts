/**
 * A database whose clock a test sets. PostgreSQL asks the operating system for the time, which a test cannot change; so the
 * function `clock_timestamp`, which all of our SQL reads the time with, is exchanged for one that adds a shift. What the
 * SQL sees is what it would see on a server whose clock stands elsewhere. Defaults of columns keep the real clock.
 */
import type { ProductDatabase } from '../product-database.ts';

/** @returns sets how far the clock is off from now on, as an interval: `-1 hour` */
export async function settableClock(db: ProductDatabase): Promise<(shift: string) => Promise<void>> {
  await db.sql(`
    SET allow_system_table_mods = on;
    CREATE TABLE public.clock_shift (shift interval NOT NULL);
    INSERT INTO public.clock_shift VALUES ('0');
    ALTER FUNCTION pg_catalog.clock_timestamp() RENAME TO real_clock_timestamp;
    CREATE FUNCTION pg_catalog.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql VOLATILE SECURITY DEFINER
      AS 'BEGIN RETURN pg_catalog.real_clock_timestamp() + (SELECT shift FROM public.clock_shift); END';
    GRANT EXECUTE ON FUNCTION pg_catalog.clock_timestamp() TO PUBLIC;
    RESET allow_system_table_mods`);
  return async (shift) => void (await db.sql('UPDATE public.clock_shift SET shift = $1::interval', [shift]));
}
