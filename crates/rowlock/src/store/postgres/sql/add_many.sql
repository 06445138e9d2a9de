-- add_many: moves the keys that COPY wrote into the staging table on, and skips those that exist, or come twice. For
-- calls of which `copy_keys.sql` found that some do.
--
-- Guarantee: all keys of a call, or none: one transaction, whatever their number. Everything else in a row takes its
--            default.
-- Index:     the key's, one look-up a key.
-- Binds:     none; see `stage_keys.sql`
insert into :table (:"key")
select (staged.key):::key_type
from rowlock_staged staged
on conflict do nothing
