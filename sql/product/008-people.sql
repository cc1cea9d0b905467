-- People: which organisation is which tenant, who is a member of it, and what may be asked about both. Written only by
-- kiff_webhooks, from Clerk's signed events. A row here takes rights away and never gives any: those stand in the session
-- token, so whoever takes this login over can lock people out and let nobody in.

-- An organisation is a tenant. The tenant's id is made up here and says nothing about the company. Its events may come in
-- any order: one that was deleted before we heard of it never becomes a tenant.
CREATE TABLE kiff.organisations (
  id text PRIMARY KEY CHECK (id ~ '^org_[A-Za-z0-9_-]{1,60}$'),
  tenant text UNIQUE CHECK (tenant ~ '^[a-z][a-z0-9]{2,23}$'),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  deleted_at timestamptz,
  CHECK (tenant IS NOT NULL OR deleted_at IS NOT NULL)
);

-- The newest event that we know of each user and organisation, by Clerk's clock; the row stays when the user leaves.
CREATE TABLE kiff.memberships (
  organisation text NOT NULL CHECK (organisation ~ '^org_[A-Za-z0-9_-]{1,60}$'),
  user_id text NOT NULL CHECK (user_id ~ '^user_[A-Za-z0-9_-]{1,60}$'),
  member boolean NOT NULL,
  as_of timestamptz NOT NULL,
  -- A session token that was issued before this speaks of rights that were changed since. Null until there is a change.
  changed_at timestamptz,
  PRIMARY KEY (organisation, user_id)
);

-- Deliveries that were acted on: one that comes again changes nothing.
CREATE TABLE kiff.webhook_deliveries (
  id text PRIMARY KEY CHECK (id ~ '^[!-~]{1,128}$'),
  received_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX webhook_deliveries_by_age ON kiff.webhook_deliveries (received_at);

ALTER TABLE kiff.organisations ENABLE ROW LEVEL SECURITY;
ALTER TABLE kiff.memberships ENABLE ROW LEVEL SECURITY;
ALTER TABLE kiff.webhook_deliveries ENABLE ROW LEVEL SECURITY;

-- Whether a delivery is new. It is remembered with the caller's changes, or not at all. A signature is good for five
-- minutes, so what is older than a month cannot come again.
CREATE FUNCTION kiff.is_new_delivery(delivery text) RETURNS boolean
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO kiff.webhook_deliveries (id) VALUES (delivery) ON CONFLICT (id) DO NOTHING;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  DELETE FROM kiff.webhook_deliveries WHERE id IN
    (SELECT d.id FROM kiff.webhook_deliveries d WHERE d.received_at < clock_timestamp() - interval '30 days'
      ORDER BY d.received_at LIMIT 10 FOR UPDATE SKIP LOCKED);
  RETURN true;
END $$;

-- organization.created. Answers the new tenant's id, or null when there is nothing to do.
CREATE FUNCTION kiff.organisation_created(delivery text, organisation text) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  new_tenant text;
BEGIN
  IF NOT kiff.is_new_delivery(delivery) THEN
    RETURN NULL;
  END IF;
  INSERT INTO kiff.organisations AS o (id, tenant)
    VALUES (organisation, 't' || left(replace(gen_random_uuid()::text, '-', ''), 15))
    ON CONFLICT (id) DO NOTHING RETURNING o.tenant INTO new_tenant;
  RETURN new_tenant;
END $$;

-- organization.deleted. Whether it changed anything.
CREATE FUNCTION kiff.organisation_deleted(delivery text, organisation text) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NOT kiff.is_new_delivery(delivery) THEN
    RETURN false;
  END IF;
  INSERT INTO kiff.organisations AS o (id, deleted_at) VALUES (organisation, clock_timestamp())
    ON CONFLICT (id) DO UPDATE SET deleted_at = excluded.deleted_at WHERE o.deleted_at IS NULL;
  RETURN FOUND;
END $$;

-- organizationMembership.created, .updated and .deleted; `event` is the last word. Whether it changed anything: an event that
-- is older than what is known does not. The first `created` is no change of rights: there were none before.
CREATE FUNCTION kiff.membership_changed(delivery text, organisation text, user_id text, event text,
                                        happened_at timestamptz) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF event IS NULL OR event NOT IN ('created', 'updated', 'deleted') THEN
    RAISE EXCEPTION USING ERRCODE = 'KF060', MESSAGE = 'no such event of a membership';
  END IF;
  IF NOT kiff.is_new_delivery(delivery) THEN
    RETURN false;
  END IF;
  INSERT INTO kiff.memberships AS m (organisation, user_id, member, as_of, changed_at)
    VALUES (membership_changed.organisation, membership_changed.user_id, event <> 'deleted', happened_at,
            CASE WHEN event <> 'created' THEN happened_at END)
    ON CONFLICT ON CONSTRAINT memberships_pkey DO UPDATE
      SET member = excluded.member, as_of = excluded.as_of, changed_at = excluded.as_of
      WHERE m.as_of < excluded.as_of OR (m.as_of = excluded.as_of AND m.member AND NOT excluded.member);
  RETURN FOUND;
END $$;

GRANT EXECUTE ON FUNCTION
  kiff.organisation_created(text, text),
  kiff.organisation_deleted(text, text),
  kiff.membership_changed(text, text, text, text, timestamptz)
TO kiff_webhooks;

-- A session is looked up by both ids in its token, so that the API's login cannot list who is where. Tenants that are not
-- made yet are in onboarding; `member` is null of whom we never heard.
CREATE FUNCTION kiff.find_member(organisation text, user_id text)
  RETURNS TABLE (tenant text, tenant_status text, login_version integer, schema_version integer,
                 frozen_reason text, organisation_deleted boolean, member boolean, changed_at timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT o.tenant, coalesce(t.status, 'onboarding'), coalesce(t.login_version, 1), coalesce(t.schema_version, 0),
         l.frozen_reason, o.deleted_at IS NOT NULL, m.member, m.changed_at
    FROM kiff.organisations o
    LEFT JOIN kiff.tenants t ON t.id = o.tenant
    LEFT JOIN kiff.logs l ON l.tenant = o.tenant
    LEFT JOIN kiff.memberships m ON m.organisation = o.id AND m.user_id = find_member.user_id
   WHERE o.id = find_member.organisation;
END;
GRANT EXECUTE ON FUNCTION kiff.find_member(text, text) TO kiff_api;
