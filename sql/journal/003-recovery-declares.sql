-- A declaration carries the database's identity, a column's default, which is worked out as whoever declares.
GRANT EXECUTE ON FUNCTION journal.database_identity() TO kiff_journal_recovery;
