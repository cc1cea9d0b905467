-- A sign-up whose onboarding was given up can be taken up again, under the tenant id that its organisation got. Clerk's own
-- "resend" is enough, also of the same delivery: what asks twice for a tenant that is being made changes nothing.
CREATE OR REPLACE FUNCTION kiff.organisation_created(delivery text, organisation text) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  wanted text;
BEGIN
  IF kiff.is_new_delivery(delivery) THEN
    INSERT INTO kiff.organisations AS o (id, tenant)
      VALUES (organisation, 't' || left(replace(gen_random_uuid()::text, '-', ''), 15))
      ON CONFLICT (id) DO NOTHING RETURNING o.tenant INTO wanted;
  END IF;
  IF wanted IS NULL THEN
    SELECT o.tenant INTO wanted FROM kiff.organisations o
     WHERE o.id = organisation AND o.deleted_at IS NULL
       AND NOT EXISTS (SELECT FROM kiff.tenants t WHERE t.id = o.tenant)
       AND (SELECT r.state FROM kiff.commands c LEFT JOIN kiff.command_results r ON r.command = c.id
             WHERE c.kind = 'tenant.onboard' AND c.payload ->> 'tenantId' = o.tenant ORDER BY c.id DESC LIMIT 1) = 'failed';
  END IF;
  IF wanted IS NOT NULL THEN
    INSERT INTO kiff.commands (kind, payload) VALUES ('tenant.onboard', jsonb_build_object('tenantId', wanted));
  END IF;
  RETURN wanted;
END $$;

-- Tenants that organisations wait for: asked for, and not there (yet, or because their onboarding was given up).
CREATE FUNCTION kiff.awaited_tenants() RETURNS TABLE (id text, since timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT o.tenant, o.created_at FROM kiff.organisations o
   WHERE o.deleted_at IS NULL AND NOT EXISTS (SELECT FROM kiff.tenants t WHERE t.id = o.tenant)
   ORDER BY o.tenant;
END;
GRANT EXECUTE ON FUNCTION kiff.awaited_tenants() TO kiff_operator;
