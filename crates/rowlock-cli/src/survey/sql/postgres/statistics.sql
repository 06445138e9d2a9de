-- statistics: what the planner knows of the columns' values. For a partitioned table, what it knows of all partitions
-- together. Wide values are left out, and a role sees only what it may read.
-- Cost: the catalogue.
-- Binds: $1 the table, quoted and qualified   $2 the widest value, in bytes on average
select
  s.attname::text as name,
  s.null_frac::float8 as null_share,
  s.n_distinct::float8 as distinct_values,
  coalesce(s.most_common_vals::text::text[], '{}') as common_values,
  coalesce(s.most_common_freqs::float8[], '{}') as common_shares,
  coalesce((s.histogram_bounds::text::text[])[1:1] || (s.histogram_bounds::text::text[])[50:50], '{}') as examples
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
join pg_stats s on s.schemaname = n.nspname and s.tablename = c.relname and s.inherited = (c.relkind = 'p')
where c.oid = to_regclass($1::text)
  and s.avg_width <= $2::integer
