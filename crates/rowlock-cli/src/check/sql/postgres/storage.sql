-- storage: how the table is kept, from the catalogue and the statistics views. It reads no row of the table. Of a
-- partitioned table the sum over its partitions.
with parts as (
  select c.oid, c.relkind, c.relpersistence, c.reltuples, c.reloptions
  from pg_class c
  where c.oid = to_regclass({table_text})
     or c.oid in (select relid from pg_partition_tree(to_regclass({table_text})))
)
select
  coalesce(sum(s.n_live_tup), 0)::bigint as live,
  coalesce(sum(s.n_dead_tup), 0)::bigint as dead,
  coalesce(sum(s.n_tup_upd), 0)::bigint as updated,
  coalesce(sum(s.n_tup_hot_upd), 0)::bigint as updated_hot,
  min(
    extract(epoch from statement_timestamp() - greatest(s.last_vacuum, s.last_autovacuum))
  )::float8 as vacuumed_secs_ago,
  coalesce((
    select sum(w.avg_width)
    from pg_stats w
    join pg_namespace n on n.nspname = w.schemaname
    join pg_class c on c.relname = w.tablename and c.relnamespace = n.oid
    where c.oid = to_regclass({table_text}) and w.inherited = (c.relkind = 'p')
  ), 0)::bigint as row_bytes,
  count(*) filter (where parts.relpersistence = 'u') as unlogged,
  count(*) filter (where 'autovacuum_enabled=false' = any (parts.reloptions)) as autovacuum_off
from parts
left join pg_stat_all_tables s on s.relid = parts.oid
where parts.relkind = 'r'
