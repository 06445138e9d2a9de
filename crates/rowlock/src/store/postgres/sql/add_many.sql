-- add_many: adds items by their keys.
--
-- Guarantee: all keys of a call are added, or none: it is one transaction, whatever their number.

-- step: copy
-- The fast path, for keys none of which exists yet. A key that exists is an error; the two other steps follow.
-- Buys:  half of the cost of the other two.
-- Binds: none; the keys follow in COPY's text format
copy :table (:"key") from stdin

-- step: staging_table
-- Dropped when its transaction ends. COPY fills it, because COPY cannot skip keys that exist.
-- Binds: none
create temporary table rowlock_staged (key text not null) on commit drop

-- step: insert
-- Inserts the keys of the staging table, and skips keys that exist or come twice. Every other column takes its default,
-- except the status where its default may be another word. A key in an identity column is written as given, as COPY
-- does.
-- Index: the key's, one lookup per key.
-- Binds: none
insert into :table (:"key":and_status)
overriding system value
select (staged.key):::key_type:and_first_ready
from rowlock_staged staged
on conflict (:"key") do nothing
