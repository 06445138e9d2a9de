-- columns_now: a mark of the table's columns, which is another one after each change of them.
--
-- A statement that was prepared before such a change may be outdated ("cached plan must not change result type").
-- Sent unprepared, with what else a transaction of the user's begins with.
-- Index: pg_attribute's own, by its relation. No binds.
select (count(*) || ' ' || coalesce(sum(a.xmin::text::bigint), 0))::text as columns_now
from pg_attribute as a
where a.attrelid = to_regclass(:table_name)
