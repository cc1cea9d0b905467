-- The operator's checkpoint of a statement, beside the log's signature and no longer with it: while a tenant's signer is away, the
-- one is made every period and the other waits.

CREATE TABLE journal.checkpoints (
  log_id bytea NOT NULL,
  epoch integer NOT NULL,
  seq integer NOT NULL,
  checkpoint text NOT NULL,
  signed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (log_id, epoch, seq),
  FOREIGN KEY (log_id, epoch, seq) REFERENCES journal.statements (log_id, epoch, seq)
);
INSERT INTO journal.checkpoints (log_id, epoch, seq, checkpoint, signed_at)
  SELECT log_id, epoch, seq, checkpoint, signed_at FROM journal.signatures;
ALTER TABLE journal.signatures DROP COLUMN checkpoint;
GRANT SELECT, INSERT ON journal.checkpoints TO kiff_journal;
GRANT SELECT ON journal.checkpoints TO kiff_journal_recovery;

-- `diverged` is one word.
ALTER TABLE journal.end_orders DROP CONSTRAINT end_orders_reason_check;
ALTER TABLE journal.end_orders ADD CONSTRAINT end_orders_reason_check CHECK (reason ~ '^[a-z]+(-[a-z]+)*$');
