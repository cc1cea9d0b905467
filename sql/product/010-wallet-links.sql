-- Wallets that are linked to actors, for attribution and nothing else: nothing that decides on access reads these tables.
-- Nobody is granted anything on them: each tenant's own functions (sql/tenant/) are the only way.

CREATE TABLE kiff.wallet_links (
  tenant text NOT NULL REFERENCES kiff.tenants (id),
  -- As records name it in `actor_id`.
  actor text COLLATE "C" NOT NULL CHECK (length(actor) BETWEEN 1 AND 256),
  wallet bytea NOT NULL CHECK (octet_length(wallet) = 20),
  linked_by text NOT NULL CHECK (length(linked_by) BETWEEN 1 AND 64),
  linked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant, actor)
);

-- One open challenge a user: a new one takes the place of the last, and using it takes it away.
CREATE TABLE kiff.wallet_challenges (
  tenant text NOT NULL REFERENCES kiff.tenants (id),
  user_id text NOT NULL CHECK (length(user_id) BETWEEN 1 AND 64),
  actor text COLLATE "C" NOT NULL CHECK (length(actor) BETWEEN 1 AND 256),
  nonce text NOT NULL CHECK (nonce ~ '^[A-Za-z0-9]{16,64}$'),
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (tenant, user_id)
);

ALTER TABLE kiff.wallet_links ENABLE ROW LEVEL SECURITY;
ALTER TABLE kiff.wallet_challenges ENABLE ROW LEVEL SECURITY;
