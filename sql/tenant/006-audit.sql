-- What the signer reads itself before it signs: entries, and whether what can be disclosed still is what they commit to.

GRANT SELECT ON kiff_t_{{tenant}}.log_head, kiff_t_{{tenant}}.records TO kiff_signing;

-- Leaf indexes in [from_index, to_index) whose body is not what its entry commits to, in order. An erased body is not missed: it
-- says nothing, and its leaf stands. Only indexes leave this function; the signer sees no content.
-- HMAC-SHA-256 (RFC 2104) with a key of 32 bytes and blocks of 64, from the one hash that PostgreSQL has built in.
CREATE FUNCTION kiff_t_{{tenant}}.unkept_commitments(from_index bigint, to_index bigint) RETURNS SETOF bigint
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT k.leaf_index
    FROM (
      SELECT b.leaf_index, b.body, b.record_offset, r.entry,
             ('x' || encode(substring(b.salt FROM 1 FOR 8), 'hex'))::bit(64)::bigint AS s1,
             ('x' || encode(substring(b.salt FROM 9 FOR 8), 'hex'))::bit(64)::bigint AS s2,
             ('x' || encode(substring(b.salt FROM 17 FOR 8), 'hex'))::bit(64)::bigint AS s3,
             ('x' || encode(substring(b.salt FROM 25 FOR 8), 'hex'))::bit(64)::bigint AS s4
        FROM kiff_t_{{tenant}}.bodies b JOIN kiff_t_{{tenant}}.records r ON r.leaf_index = b.leaf_index
       WHERE b.leaf_index >= from_index AND b.leaf_index < to_index
    ) k,
    LATERAL (SELECT x'3636363636363636'::bigint AS i, x'5c5c5c5c5c5c5c5c'::bigint AS o) pad,
    LATERAL (SELECT sha256(int8send(k.s1 # pad.i) || int8send(k.s2 # pad.i) || int8send(k.s3 # pad.i) || int8send(k.s4 # pad.i)
                           || '\x3636363636363636363636363636363636363636363636363636363636363636'::bytea || k.body) AS hash) inside,
    LATERAL (SELECT sha256(int8send(k.s1 # pad.o) || int8send(k.s2 # pad.o) || int8send(k.s3 # pad.o) || int8send(k.s4 # pad.o)
                           || '\x5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c'::bytea || inside.hash) AS hash) outside
   -- An entry ends with its commitment: 64 hex digits, a quote, a brace.
   WHERE substring(k.entry FROM octet_length(k.entry) - 65 FOR 64) <> convert_to(encode(outside.hash, 'hex'), 'UTF8')
      OR substring(k.body FROM k.record_offset - 9 FOR 10) <> '\x2c227265636f7264223a'::bytea -- ,"record":
   ORDER BY k.leaf_index;
END;
GRANT EXECUTE ON FUNCTION kiff_t_{{tenant}}.unkept_commitments(bigint, bigint) TO kiff_signing;
