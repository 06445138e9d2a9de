-- add_many: moves the keys that COPY wrote into the staging table on, and skips those that exist, or come twice. For
-- calls of which `copy_keys.sql` found that some do.
--
-- Guarantee: all keys of a call, or none: one transaction, whatever their number. Everything else in a row takes its
--            default, but for the status if its default may be another. A key that is an identity is written as given, as
--            COPY does.
-- Index:     the key's, one look-up a key.
-- Binds:     none; see `stage_keys.sql`
insert into :table (:"key":and_status)
overriding system value
select (staged.key):::key_type:and_first_ready
from rowlock_staged staged
on conflict (:"key") do nothing
