-- columns_now: a fingerprint of the table's columns that differs after each change of them.
--
-- A statement that was prepared before such a change may be outdated ("cached plan must not change result type"). Sent
-- unprepared, together with the other statements that begin a user's transaction.
--
-- Index: pg_attribute's own, by its relation.
-- Binds: none
select (count(*) || ' ' || coalesce(sum(a.xmin::text::bigint), 0))::text as columns_now
from pg_attribute as a
where a.attrelid = to_regclass(:table_name)
