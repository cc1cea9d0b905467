-- What a tenant's people do through the API with the tenant's own login: keys, wallet links, and the audit trail of both.
-- `acting` is who does it, by the API's word (a user's id, or a key's); the database knows only the tenant.

-- Appends to the audit trail. Whoever appends holds the tenant's row, so that ids are in the order of commits and a reader
-- that follows them by a cursor misses nothing. For the functions here; nobody else may call it.
CREATE FUNCTION kiff_t_{{tenant}}.append_event(kind text, detail jsonb) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM FROM kiff.tenants t WHERE t.id = '{{tenant}}' FOR NO KEY UPDATE;
  INSERT INTO kiff_t_{{tenant}}.events (kind, detail) VALUES (append_event.kind, append_event.detail);
END $$;

-- A key is kept as its hash. At most 100 that are not revoked, so that a list of them is one answer.
CREATE FUNCTION kiff_t_{{tenant}}.create_api_key(key_id text, key_hash bytea, key_label text, key_scopes text[],
                                                 key_expires_at timestamptz, acting text) RETURNS timestamptz
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  made_at timestamptz;
BEGIN
  PERFORM FROM kiff.tenants t WHERE t.id = '{{tenant}}' FOR NO KEY UPDATE;
  IF (SELECT count(*) >= 100 FROM kiff.api_keys k WHERE k.tenant = '{{tenant}}' AND k.revoked_at IS NULL) THEN
    RAISE EXCEPTION USING ERRCODE = 'KF061', MESSAGE = 'the tenant has as many keys as it may have';
  END IF;
  INSERT INTO kiff.api_keys (id, tenant, hash, label, scopes, expires_at, created_by)
    VALUES (key_id, '{{tenant}}', key_hash, key_label, key_scopes, key_expires_at, acting)
    RETURNING created_at INTO made_at;
  PERFORM kiff_t_{{tenant}}.append_event('key.created', jsonb_build_object(
    'by', acting, 'key', key_id, 'label', key_label, 'scopes', key_scopes, 'expiresAt', key_expires_at));
  RETURN made_at;
END $$;

-- The keys that are not revoked, the oldest first; never a hash.
CREATE FUNCTION kiff_t_{{tenant}}.list_api_keys()
  RETURNS TABLE (id text, label text, scopes text[], created_at timestamptz, created_by text, expires_at timestamptz,
                 last_used_at timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  SELECT k.id, k.label, k.scopes, k.created_at, k.created_by, k.expires_at, k.last_used_at
    FROM kiff.api_keys k WHERE k.tenant = '{{tenant}}' AND k.revoked_at IS NULL ORDER BY k.created_at, k.id
$$;

-- When the key was revoked, now or before; null when the tenant has no such key.
CREATE FUNCTION kiff_t_{{tenant}}.revoke_api_key(key_id text, acting text) RETURNS timestamptz
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  at timestamptz;
BEGIN
  UPDATE kiff.api_keys k SET revoked_at = clock_timestamp()
   WHERE k.id = key_id AND k.tenant = '{{tenant}}' AND k.revoked_at IS NULL RETURNING k.revoked_at INTO at;
  IF FOUND THEN
    PERFORM kiff_t_{{tenant}}.append_event('key.revoked', jsonb_build_object('by', acting, 'key', key_id));
    RETURN at;
  END IF;
  SELECT k.revoked_at INTO at FROM kiff.api_keys k WHERE k.id = key_id AND k.tenant = '{{tenant}}';
  RETURN at;
END $$;

-- Somebody asked for what this tenant does not have: another tenant's perhaps, which nobody here may know.
CREATE FUNCTION kiff_t_{{tenant}}.note_refusal(asked_for text, acting text, times integer) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM kiff_t_{{tenant}}.append_event('access.refused', jsonb_build_object(
    'by', left(acting, 64), 'askedFor', left(asked_for, 200), 'times', times));
END $$;

-- Opens a challenge for a wallet; it lasts ten minutes, by the database's clock.
CREATE FUNCTION kiff_t_{{tenant}}.open_wallet_challenge(new_nonce text, for_actor text, acting text) RETURNS timestamptz
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  INSERT INTO kiff.wallet_challenges (tenant, user_id, actor, nonce, expires_at)
    VALUES ('{{tenant}}', acting, for_actor, new_nonce, date_trunc('milliseconds', clock_timestamp()) + interval '10 minutes')
    ON CONFLICT (tenant, user_id) DO UPDATE
      SET actor = excluded.actor, nonce = excluded.nonce, expires_at = excluded.expires_at
    RETURNING expires_at
$$;

-- Uses a challenge up and links the wallet, in one step. When there is no such open challenge of this user for this actor
-- nothing happens, and the answer is null. At most 5,000 links: API processes keep all of them in memory.
CREATE FUNCTION kiff_t_{{tenant}}.link_wallet(used_nonce text, for_actor text, address bytea, acting text)
  RETURNS timestamptz
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  at timestamptz;
BEGIN
  DELETE FROM kiff.wallet_challenges c
   WHERE c.tenant = '{{tenant}}' AND c.user_id = acting AND c.actor = for_actor AND c.nonce = used_nonce
     AND c.expires_at > clock_timestamp();
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  UPDATE kiff.tenants SET links_version = links_version + 1 WHERE id = '{{tenant}}';
  INSERT INTO kiff.wallet_links AS l (tenant, actor, wallet, linked_by)
    VALUES ('{{tenant}}', for_actor, address, acting)
    ON CONFLICT (tenant, actor) DO UPDATE
      SET wallet = excluded.wallet, linked_by = excluded.linked_by, linked_at = clock_timestamp()
    RETURNING l.linked_at INTO at;
  IF (SELECT count(*) > 5000 FROM kiff.wallet_links l WHERE l.tenant = '{{tenant}}') THEN
    RAISE EXCEPTION USING ERRCODE = 'KF062', MESSAGE = 'the tenant has as many wallet links as it may have';
  END IF;
  PERFORM kiff_t_{{tenant}}.append_event('wallet.linked', jsonb_build_object(
    'by', acting, 'actor', for_actor, 'wallet', '0x' || encode(address, 'hex')));
  RETURN at;
END $$;

-- Whether there was a link to take away.
CREATE FUNCTION kiff_t_{{tenant}}.unlink_wallet(of_actor text, acting text) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  address bytea;
BEGIN
  PERFORM FROM kiff.tenants t WHERE t.id = '{{tenant}}' FOR NO KEY UPDATE;
  DELETE FROM kiff.wallet_links l WHERE l.tenant = '{{tenant}}' AND l.actor = of_actor RETURNING l.wallet INTO address;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  UPDATE kiff.tenants SET links_version = links_version + 1 WHERE id = '{{tenant}}';
  PERFORM kiff_t_{{tenant}}.append_event('wallet.unlinked', jsonb_build_object(
    'by', acting, 'actor', of_actor, 'wallet', '0x' || encode(address, 'hex')));
  RETURN true;
END $$;

CREATE FUNCTION kiff_t_{{tenant}}.list_wallet_links()
  RETURNS TABLE (actor text, wallet bytea, linked_by text, linked_at timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  SELECT l.actor, l.wallet, l.linked_by, l.linked_at FROM kiff.wallet_links l WHERE l.tenant = '{{tenant}}' ORDER BY l.actor
$$;

-- (Functions that list, and no grants on the shared tables: PostgreSQL keeps a table's grants in one row of a catalogue,
-- which would outgrow its page with the number of tenants.)
GRANT EXECUTE ON FUNCTION
  kiff_t_{{tenant}}.list_api_keys(),
  kiff_t_{{tenant}}.list_wallet_links(),
  kiff_t_{{tenant}}.create_api_key(text, bytea, text, text[], timestamptz, text),
  kiff_t_{{tenant}}.revoke_api_key(text, text),
  kiff_t_{{tenant}}.note_refusal(text, text, integer),
  kiff_t_{{tenant}}.open_wallet_challenge(text, text, text),
  kiff_t_{{tenant}}.link_wallet(text, text, bytea, text),
  kiff_t_{{tenant}}.unlink_wallet(text, text)
TO kiff_t_{{tenant}};
