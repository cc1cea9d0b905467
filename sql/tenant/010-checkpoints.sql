-- The operator's checkpoint of a period stands by itself: while a tenant's signer is away, the log is published all the same.

-- Keeps a tree's checkpoint; the first stands. A seal's root is what it is of.
CREATE FUNCTION kiff_t_{{tenant}}.record_checkpoint(seal_seq integer, tree_root bytea, note text) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  UPDATE kiff_t_{{tenant}}.seals SET checkpoint = note WHERE seq = seal_seq AND root = tree_root AND checkpoint IS NULL
$$;
GRANT EXECUTE ON FUNCTION kiff_t_{{tenant}}.record_checkpoint(integer, bytea, text) TO kiff_signing;
