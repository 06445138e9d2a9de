-- stage_keys: the staging table of add_many, dropped when its transaction ends. COPY fills it, because COPY cannot skip
-- keys that exist.
--
-- Binds: none
create temporary table rowlock_staged (key text not null) on commit drop
