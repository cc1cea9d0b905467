-- What a tenant uses, by the hour. Records, bytes and duplicates are counted by accept(), in the transaction that decides
-- them: exact. accept() counts the running hour in the log's head and puts it here when the next one begins, so a reader
-- adds the head's. The other two are counted in the memory of API processes and handed in every so often: approximate,
-- since a process that dies takes some seconds of them with it.
CREATE TABLE kiff.usage (
  tenant text NOT NULL REFERENCES kiff.tenants (id),
  hour timestamptz NOT NULL CHECK (extract(epoch FROM hour) % 3600 = 0),
  records bigint NOT NULL DEFAULT 0,
  -- Of the records' own bytes, as they came.
  bytes bigint NOT NULL DEFAULT 0,
  duplicates bigint NOT NULL DEFAULT 0,
  rejected_requests bigint NOT NULL DEFAULT 0,
  receipts_read bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant, hour)
) WITH (fillfactor = 80);

ALTER TABLE kiff.usage ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON kiff.usage FOR SELECT USING (tenant = kiff.session_tenant());
GRANT SELECT ON kiff.usage TO kiff_tenant_logins;

-- The counts of an API process since it last came, for the session's tenant. `at` lies within the hour.
CREATE FUNCTION kiff.note_usage(at timestamptz, rejected bigint, receipts bigint) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  INSERT INTO kiff.usage AS u (tenant, hour, rejected_requests, receipts_read)
    VALUES (kiff.session_tenant(), date_trunc('hour', at, 'UTC'), rejected, receipts)
    ON CONFLICT (tenant, hour) DO UPDATE
      SET rejected_requests = u.rejected_requests + excluded.rejected_requests,
          receipts_read = u.receipts_read + excluded.receipts_read;
END;
GRANT EXECUTE ON FUNCTION kiff.note_usage(timestamptz, bigint, bigint) TO kiff_tenant_logins;
