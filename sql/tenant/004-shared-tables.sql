-- What a tenant's login reads of the shared tables is its group's to read (sql/product/006-commands.sql): an access list with
-- an entry per tenant would outgrow its catalogue row after a few hundred.
REVOKE SELECT ON kiff.tenants, kiff.logs FROM kiff_t_{{tenant}};
