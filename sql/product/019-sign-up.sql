-- A new organisation is onboarded: its tenant's id is made up and the signing plane is asked for it, in one transaction. The
-- command goes in with this function's rights, so kiff_webhooks can ask for nothing else and for no tenant by name.
CREATE OR REPLACE FUNCTION kiff.organisation_created(delivery text, organisation text) RETURNS text
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
  IF new_tenant IS NOT NULL THEN
    INSERT INTO kiff.commands (kind, payload)
      VALUES ('tenant.onboard', jsonb_build_object('tenantId', new_tenant));
  END IF;
  RETURN new_tenant;
END $$;
