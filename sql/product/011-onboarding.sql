-- Onboarding that can be undone: what each step's undo may do, and only while the tenant was never active.

-- Gives an onboarding up: from here on the tenant cannot become active, and its parts may be taken away. Answers the tenant's
-- first period instead when it is active already (or was), and then nothing may be undone.
CREATE FUNCTION kiff.abandon_onboarding(tenant_id text) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  first bigint;
BEGIN
  UPDATE kiff.tenants SET status = 'ended' WHERE id = tenant_id AND status = 'onboarding';
  SELECT l.first_period INTO first FROM kiff.tenants t JOIN kiff.logs l ON l.tenant = t.id
   WHERE t.id = tenant_id AND t.activated_at IS NOT NULL;
  RETURN first;
END $$;

-- Whether a tenant's onboarding was given up. A tenant that is not there at all has nothing to undo.
CREATE FUNCTION kiff.onboarding_abandoned(tenant_id text) RETURNS boolean
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT EXISTS (SELECT FROM kiff.tenants t WHERE t.id = tenant_id AND t.status = 'ended' AND t.activated_at IS NULL);
END;

-- Forgets the identity of a log that never began, so that a later onboarding can fix another one.
CREATE FUNCTION kiff.close_log(tenant_id text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NOT kiff.onboarding_abandoned(tenant_id) THEN
    RAISE EXCEPTION USING ERRCODE = 'KF052', MESSAGE = 'the onboarding was not given up';
  END IF;
  DELETE FROM kiff.logs l WHERE l.tenant = tenant_id AND l.first_period IS NULL;
END $$;

GRANT EXECUTE ON FUNCTION kiff.abandon_onboarding(text), kiff.close_log(text) TO kiff_sealing;
-- The key administrator believes no workflow: before it takes a tenant's key away it asks here.
GRANT EXECUTE ON FUNCTION kiff.onboarding_abandoned(text) TO kiff_keyadmin;

-- As before, and only for a tenant that is there to stay: a key would hold its row when an onboarding is undone.
CREATE OR REPLACE FUNCTION kiff.add_first_key(tenant_id text, key_id text, key_hash bytea, key_label text) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM FROM kiff.tenants t WHERE t.id = tenant_id AND t.status IN ('active', 'paused') FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF051', MESSAGE = 'the tenant is neither active nor paused';
  END IF;
  INSERT INTO kiff.api_keys (id, tenant, hash, label)
    SELECT key_id, tenant_id, key_hash, key_label
     WHERE NOT EXISTS (SELECT FROM kiff.api_keys k WHERE k.tenant = tenant_id);
  RETURN FOUND;
END $$;
