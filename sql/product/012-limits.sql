-- How much a tenant, and each of its keys, may ask for. NULL is no limit. A key's share is half of its tenant's unless set
-- otherwise, so that one agent that runs wild leaves room for the others. API processes count, each for itself
-- (api/access/limits.ts); these columns say up to what.

ALTER TABLE kiff.tenants
  ADD COLUMN requests_per_second integer DEFAULT 100 CHECK (requests_per_second > 0),
  ADD COLUMN records_per_second integer DEFAULT 5000 CHECK (records_per_second > 0);
ALTER TABLE kiff.api_keys
  ADD COLUMN requests_per_second integer DEFAULT 50 CHECK (requests_per_second > 0),
  ADD COLUMN records_per_second integer DEFAULT 2500 CHECK (records_per_second > 0);

-- As in 009-api-keys.sql and 008-people.sql, with the limits.
DROP FUNCTION kiff.find_api_key(bytea);
CREATE FUNCTION kiff.find_api_key(key_hash bytea)
  RETURNS TABLE (key_id text, hash bytea, tenant text, scopes text[], expires_at timestamptz, revoked_at timestamptz,
                 tenant_status text, login_version integer, schema_version integer, log_ordinal integer, frozen_reason text,
                 organisation_deleted boolean, links_version integer,
                 tenant_requests integer, tenant_records integer, key_requests integer, key_records integer)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT k.id, k.hash, k.tenant, k.scopes, k.expires_at, k.revoked_at, t.status, t.login_version, t.schema_version,
         l.ordinal, l.frozen_reason, o.deleted_at IS NOT NULL, t.links_version,
         t.requests_per_second, t.records_per_second, k.requests_per_second, k.records_per_second
    FROM kiff.api_keys k
    JOIN kiff.tenants t ON t.id = k.tenant
    LEFT JOIN kiff.logs l ON l.tenant = t.id
    LEFT JOIN kiff.organisations o ON o.tenant = t.id
   WHERE k.hash = key_hash;
END;

DROP FUNCTION kiff.find_member(text, text);
CREATE FUNCTION kiff.find_member(organisation text, user_id text)
  RETURNS TABLE (tenant text, tenant_status text, login_version integer, schema_version integer,
                 frozen_reason text, organisation_deleted boolean, member boolean, changed_at timestamptz,
                 tenant_requests integer, tenant_records integer)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT o.tenant, coalesce(t.status, 'onboarding'), coalesce(t.login_version, 1), coalesce(t.schema_version, 0),
         l.frozen_reason, o.deleted_at IS NOT NULL, m.member, m.changed_at, t.requests_per_second, t.records_per_second
    FROM kiff.organisations o
    LEFT JOIN kiff.tenants t ON t.id = o.tenant
    LEFT JOIN kiff.logs l ON l.tenant = o.tenant
    LEFT JOIN kiff.memberships m ON m.organisation = o.id AND m.user_id = find_member.user_id
   WHERE o.id = find_member.organisation;
END;
GRANT EXECUTE ON FUNCTION kiff.find_api_key(bytea), kiff.find_member(text, text) TO kiff_api;

-- The operator sets both limits of a tenant, or of one of its keys; false when there is no such one.
CREATE FUNCTION kiff.set_limits(tenant_id text, key_id text, requests integer, records integer) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF key_id IS NULL THEN
    UPDATE kiff.tenants t SET requests_per_second = requests, records_per_second = records WHERE t.id = tenant_id;
  ELSE
    UPDATE kiff.api_keys k SET requests_per_second = requests, records_per_second = records
     WHERE k.id = key_id AND k.tenant = tenant_id;
  END IF;
  RETURN FOUND;
END $$;
GRANT EXECUTE ON FUNCTION kiff.set_limits(text, text, integer, integer) TO kiff_operator;
