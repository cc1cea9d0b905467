-- A passkey can be taken away: the admin's own, or by another one. The row is evidence like its registration; the signer judges it and
-- counts the passkey no more, also in approvals that were given before. Everybody is told, as of a new one.
INSERT INTO kiff.command_issuers (kind, issuer) VALUES ('custody.passkey.remove', 'kiff_c');

ALTER TABLE kiff.notices DROP CONSTRAINT notices_kind_check;
ALTER TABLE kiff.notices ADD CONSTRAINT notices_kind_check CHECK (kind IN ('migration-started', 'handover-proposed',
  'acceptance-requested', 'handover-accepted', 'handover-cancelled', 'migration-undone', 'passkey-registered', 'passkey-removed'));

CREATE FUNCTION kiff.notice_passkey_removed() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF TG_OP = 'INSERT' OR OLD.state <> 'done' THEN
    PERFORM kiff.make_notice(NEW.tenant, NULL, 'passkey-removed', jsonb_build_object('removedAt', floor(extract(epoch FROM NEW.changed_at))));
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER notice_passkey_removed AFTER INSERT OR UPDATE ON kiff.command_results FOR EACH ROW
  WHEN (NEW.kind = 'custody.passkey.remove' AND NEW.state = 'done') EXECUTE FUNCTION kiff.notice_passkey_removed();
