-- As in 028-public-log.sql, and of each log who signed it since when: final successions, as `kiff.policy/1` writes them. Without
-- them, who has no key of the tenant could not tell offline an old key's seal from the signer's.
DROP FUNCTION kiff.public_logs();
CREATE FUNCTION kiff.public_logs()
  RETURNS TABLE (tenant text, ordinal integer, origin text, genesis_signer bytea, succession jsonb)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT l.tenant, l.ordinal, l.origin, l.genesis_signer,
         (SELECT coalesce(jsonb_agg(jsonb_build_object('epoch', h.epoch_to, 'signer', '0x' || encode(h.to_signer, 'hex'),
                                                       'afterSeq', h.accepted_seq) ORDER BY h.epoch_to), '[]')
            FROM kiff.handovers h WHERE h.log_id = l.log_id AND h.accepted_level = 'final')
    FROM kiff.tenants t
    JOIN (SELECT c.tenant, c.ordinal, c.origin, c.genesis_signer, c.log_id FROM kiff.logs c
          UNION ALL
          SELECT e.tenant, e.ordinal, e.origin, e.genesis_signer, e.log_id FROM kiff.ended_logs e) l ON l.tenant = t.id
   WHERE t.log_public ORDER BY l.tenant, l.ordinal;
END;
GRANT EXECUTE ON FUNCTION kiff.public_logs() TO kiff_api;
