-- add_many: inserts the keys that COPY wrote into the staging table, and skips keys that exist or come twice. The
-- fallback where the plain COPY of `copy_keys.sql` is not possible, e.g. because some keys exist.
--
-- Guarantee: all keys of a call are added, or none: it is one transaction, whatever their number. Every other column
--            takes its default, except the status where its default may be another word. A key in an identity column is
--            written as given, as COPY does.
-- Index:     the key's, one lookup per key.
-- Binds:     none; see `stage_keys.sql`
insert into :table (:"key":and_status)
overriding system value
select (staged.key):::key_type:and_first_ready
from rowlock_staged staged
on conflict (:"key") do nothing
