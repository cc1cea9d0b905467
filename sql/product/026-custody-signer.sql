-- What the signer asks the directory before it agrees to a new signer or counts an approval (design section 7).

-- Whether an organisation, as a session token names it, is the tenant's.
CREATE FUNCTION kiff.is_organisation_of(tenant_id text, organisation text) RETURNS boolean
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT EXISTS (SELECT FROM kiff.organisations o WHERE o.id = organisation AND o.tenant = tenant_id AND o.deleted_at IS NULL);
END;

-- Who else has this key: 'relayer', 'log' (one that signs or signed for a log, of this tenant too, now or before), 'migration' (it is
-- about to); null when nobody does that the directory knows of.
CREATE FUNCTION kiff.signer_taken(migration_id text, address bytea) RETURNS text
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT CASE
    WHEN EXISTS (SELECT FROM kiff.wallets w WHERE w.relayer = address) THEN 'relayer'
    WHEN EXISTS (SELECT FROM kiff.logs l WHERE address IN (l.genesis_signer, l.current_signer))
      OR EXISTS (SELECT FROM kiff.ended_logs e WHERE e.genesis_signer = address)
      OR EXISTS (SELECT FROM kiff.handovers h WHERE address IN (h.from_signer, h.to_signer) AND h.accepted_level IS NOT NULL)
      THEN 'log'
    WHEN EXISTS (SELECT FROM kiff.custody_migrations m WHERE m.new_signer = address AND m.ended_at IS NULL AND m.id <> migration_id)
      THEN 'migration'
  END;
END;
GRANT EXECUTE ON FUNCTION kiff.is_organisation_of(text, text), kiff.signer_taken(text, bytea) TO kiff_signing;
