-- relation: the properties of the table as a whole; no row if it does not exist. `parts` are the table and its
-- partitions at all levels.
-- Cost: the catalogue, and the size of each part's file.
-- Binds: $1 the table, quoted and qualified
with parts as materialized (
  select c.oid, c.relkind, c.reltuples, c.relnamespace, c.relname
  from pg_class c
  where c.oid = to_regclass($1::text)
     or c.oid in (select relid from pg_partition_tree(to_regclass($1::text)))
),
counted as (
  select
    count(*) as parts,
    sum(s.n_live_tup)::bigint as n_live_tup,
    sum(s.n_dead_tup)::bigint as n_dead_tup,
    sum(s.n_tup_ins)::bigint as n_tup_ins,
    sum(s.n_tup_upd)::bigint as n_tup_upd,
    sum(s.n_tup_hot_upd)::bigint as n_tup_hot_upd,
    max(greatest(s.last_vacuum, s.last_autovacuum))::text as last_vacuum,
    max(greatest(s.last_analyze, s.last_autoanalyze))::text as last_analyze
  from parts
  join pg_stat_all_tables s on s.relid = parts.oid
  where parts.relkind = 'r'
)
select
  current_setting('server_version') as server_version,
  c.relkind::text as kind,
  array(
    select distinct a.attname::text
    from parts
    join pg_partitioned_table p on p.partrelid = parts.oid
    join pg_attribute a on a.attrelid = parts.oid and a.attnum = any (p.partattrs)
    where a.attnum > 0
  ) as partition_columns,
  coalesce(
    (select sum(parts.reltuples) from parts where parts.relkind = 'r' and parts.reltuples >= 0),
    -1
  )::bigint as rows_estimate,
  coalesce(
    (select sum(pg_relation_size(parts.oid)) from parts where parts.relkind = 'r'),
    0
  )::bigint as bytes,
  c.relrowsecurity as has_row_security,
  c.relforcerowsecurity as is_row_security_forced,
  case when c.relkind in ('r', 'p') then row_security_active(c.oid) else false end as is_row_security_active,
  coalesce(c.reloptions, '{}') as options,
  case c.relreplident when 'd' then 'default' when 'f' then 'full' when 'n' then 'nothing' else 'index' end
    as replica_identity,
  exists (
    select
    from pg_publication p
    join pg_publication_tables t on t.pubname = p.pubname
    join parts on parts.relname = t.tablename
    join pg_namespace n on n.oid = parts.relnamespace and n.nspname = t.schemaname
    where p.pubupdate
  ) as is_published,
  counted.parts > 0 as is_counted,
  coalesce(counted.n_live_tup, 0) as n_live_tup,
  coalesce(counted.n_dead_tup, 0) as n_dead_tup,
  coalesce(counted.n_tup_ins, 0) as n_tup_ins,
  coalesce(counted.n_tup_upd, 0) as n_tup_upd,
  coalesce(counted.n_tup_hot_upd, 0) as n_tup_hot_upd,
  counted.last_vacuum,
  counted.last_analyze
from pg_class c
cross join counted
where c.oid = to_regclass($1::text)
