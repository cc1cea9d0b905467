-- A nonce that is opened again (a reorganisation) sends the same bytes first: the blocks that pass its offers by count anew.

ALTER TABLE kiff.nonces ADD COLUMN reopened_block bigint CHECK (reopened_block >= 0);

DROP FUNCTION kiff.reopen_nonce(bigint, bytea, text, bigint);

-- None of its transactions is in a block any more: the same bytes go out again. (Even of one that was final, if the chain
-- really took that back: no later nonce could be used before it.) `head` is the newest block now.
CREATE FUNCTION kiff.reopen_nonce(chain bigint, wallet bytea, run text, tx_nonce bigint, head bigint) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM kiff.assert_holder(chain, wallet, run);
  UPDATE kiff.nonces
     SET state = 'open', mined_hash = NULL, mined_block = NULL, mined_block_hash = NULL, cost = NULL, mined_at = NULL,
         reopened_block = head
   WHERE chain_id = chain AND relayer = wallet AND nonce = tx_nonce AND state <> 'open';
END $$;
GRANT EXECUTE ON FUNCTION kiff.reopen_nonce(bigint, bytea, text, bigint, bigint) TO kiff_anchoring;
