-- Logs that have ended. kiff.logs keeps one row per tenant, its current log; what came before stands here for good, and its
-- records in a schema of their own, kiff_ended_<tenant>_<ordinal>, which nobody writes and the tenant reads.

CREATE TABLE kiff.ended_logs (
  tenant text NOT NULL REFERENCES kiff.tenants (id),
  ordinal integer NOT NULL CHECK (ordinal >= 1),
  origin text NOT NULL UNIQUE,
  genesis_signer bytea NOT NULL CHECK (octet_length(genesis_signer) = 20),
  log_id bytea NOT NULL UNIQUE CHECK (octet_length(log_id) = 32),
  first_period bigint,
  reason text NOT NULL,
  -- The last good seal; 0 when there was none.
  last_seq integer NOT NULL CHECK (last_seq >= 0),
  last_seal_hash bytea NOT NULL CHECK (octet_length(last_seal_hash) = 32),
  last_tree_size bigint NOT NULL CHECK (last_tree_size >= 0),
  last_root bytea NOT NULL CHECK (octet_length(last_root) = 32),
  -- The operator's signed note (protocol/ending.ts).
  statement text NOT NULL,
  -- What became of the records behind the last seal that this database has: kiff.carry_over.
  carried jsonb NOT NULL,
  ended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant, ordinal)
);
ALTER TABLE kiff.ended_logs ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON kiff.ended_logs FOR SELECT USING (tenant = kiff.session_tenant());
CREATE POLICY operator ON kiff.ended_logs FOR SELECT TO kiff_operator USING (true);
GRANT SELECT ON kiff.ended_logs TO kiff_tenant_logins, kiff_operator;

CREATE FUNCTION kiff.ended_stays_ended() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'KF070', MESSAGE = 'what is known of an ended log does not change';
END $$;
CREATE TRIGGER ended_stays_ended BEFORE UPDATE OR DELETE OR TRUNCATE ON kiff.ended_logs
  FOR EACH STATEMENT EXECUTE FUNCTION kiff.ended_stays_ended();

-- Integers as ranges: [[3,3],[7,9]].
CREATE FUNCTION kiff.as_ranges(numbers bigint[]) RETURNS jsonb
  LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT coalesce(jsonb_agg(jsonb_build_array(r.low, r.high) ORDER BY r.low), '[]')
    FROM (SELECT min(n.number) AS low, max(n.number) AS high
            FROM (SELECT u.number, u.number - row_number() OVER (ORDER BY u.number) AS run
                    FROM unnest(numbers) AS u (number)) n
           GROUP BY n.run) r;
END;

-- Gives the records of an ended log from `from_index` on to the tenant's new log, in their order: each becomes a new entry
-- there with its own id, body, salt, commitment and key, and the time of now. They were accepted; what was promised of their old
-- place can no longer be kept. One whose entry no longer hashes to its leaf, that is missing, that was erased, or whose id is
-- taken in the new log stays behind and is named by its old index.
-- For the operator's recovery, which runs it as the owner within the transaction that ends the log; nobody is granted it.
CREATE FUNCTION kiff.carry_over(tenant_id text, archive text, from_index bigint) RETURNS jsonb
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  head bigint;
  r record;
  page record;
  at bigint := from_index;
  carried bigint := 0;
  taken bigint;
  altered bigint[] := '{}';
  erased bigint[] := '{}';
  refused bigint[] := '{}';
  missing bigint[];
BEGIN
  EXECUTE format('SELECT h.size FROM %I.log_head h', archive) INTO STRICT head;
  LOOP
    -- Up to 500 records of one key: an entry names the key that posted it.
    EXECUTE format($q$
      WITH candidates AS (
        SELECT r.leaf_index, r.id, b.salt, b.body, b.record_offset,
               r.leaf_hash = sha256('\x00'::bytea || r.entry) AND e.part[1] IS NOT DISTINCT FROM r.id AS sound,
               b.leaf_index IS NOT NULL AS whole, e.part[2] AS key, decode(e.part[3], 'hex') AS commitment
          FROM %1$I.records r
          LEFT JOIN %1$I.bodies b USING (leaf_index)
          LEFT JOIN LATERAL (SELECT regexp_match(encode(r.entry, 'escape'),
            '^\{"v":1,"id":"([^"]+)","received_at":"[^"]{24}","key":"([^"]+)","commitment":"([0-9a-f]{64})"\}$') AS part) e ON true
         WHERE r.leaf_index >= $1 AND r.leaf_index < $2 ORDER BY r.leaf_index LIMIT 500
      ), first_break AS (
        SELECT min(c.leaf_index) AS leaf_index FROM candidates c
         WHERE c.key IS DISTINCT FROM (SELECT f.key FROM candidates f ORDER BY f.leaf_index LIMIT 1)
      )
      SELECT max(c.leaf_index) AS last,
             array_agg(c.leaf_index ORDER BY c.leaf_index) FILTER (WHERE c.sound AND c.whole) AS indexes,
             array_agg(c.id ORDER BY c.leaf_index) FILTER (WHERE c.sound AND c.whole) AS ids,
             array_agg(c.body ORDER BY c.leaf_index) FILTER (WHERE c.sound AND c.whole) AS bodies,
             array_agg(c.record_offset ORDER BY c.leaf_index) FILTER (WHERE c.sound AND c.whole) AS offsets,
             array_agg(c.salt ORDER BY c.leaf_index) FILTER (WHERE c.sound AND c.whole) AS salts,
             array_agg(c.commitment ORDER BY c.leaf_index) FILTER (WHERE c.sound AND c.whole) AS commitments,
             max(c.key) AS key,
             coalesce(array_agg(c.leaf_index) FILTER (WHERE c.sound IS NOT TRUE), '{}') AS altered,
             coalesce(array_agg(c.leaf_index) FILTER (WHERE c.sound AND NOT c.whole), '{}') AS erased
        FROM candidates c, first_break f WHERE f.leaf_index IS NULL OR c.leaf_index < f.leaf_index
    $q$, archive) INTO page USING at, head;
    EXIT WHEN page.last IS NULL;
    at := page.last + 1;
    altered := altered || page.altered;
    erased := erased || page.erased;
    IF page.ids IS NOT NULL THEN
      FOR r IN EXECUTE format('SELECT a.ord, a.outcome FROM kiff_t_%s.accept($1, $2, $3, $4, $5, $6) a', tenant_id)
                 USING page.ids, page.bodies, page.offsets, page.salts, page.commitments, page.key LOOP
        IF r.outcome = 'accepted' THEN
          carried := carried + 1;
        ELSE
          refused := refused || page.indexes[r.ord];
        END IF;
      END LOOP;
    END IF;
  END LOOP;
  EXECUTE format('SELECT coalesce(array_agg(i), ''{}'') FROM generate_series($1, $2 - 1) AS g (i)
                   WHERE NOT EXISTS (SELECT FROM %I.records r WHERE r.leaf_index = g.i)', archive)
    INTO missing USING from_index, head;
  RETURN jsonb_build_object('from', from_index, 'to', head, 'carried', carried, 'altered', kiff.as_ranges(altered),
    'missing', kiff.as_ranges(missing), 'erased', kiff.as_ranges(erased), 'refused', kiff.as_ranges(refused));
END $$;
