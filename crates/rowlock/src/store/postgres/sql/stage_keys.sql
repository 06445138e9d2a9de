-- stage_keys: the staging table of add_many, which goes with its transaction. COPY fills it: it cannot skip keys that
-- exist.
-- Binds: none
create temporary table rowlock_staged (key text not null) on commit drop
