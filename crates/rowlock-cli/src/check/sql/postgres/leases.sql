-- leases: the rows in progress, by the age of their lease in seconds. Reads at most {limit} of them.
select
  count(*) as running,
  count(*) filter (where lease_age is null) as unleased,
  avg(row_age) filter (where lease_age is null) as unleased_age,
  min(item) filter (where lease_age is null) as unleased_item,
  count(*) filter (where lease_age > {stale_secs}) as old,
  avg(lease_age) filter (where lease_age > {stale_secs}) as old_age,
  max(lease_age) as oldest_age,
  min(item) filter (where lease_age > {stale_secs}) as old_item,
  count(*) filter (where lease_age < {ahead_secs}) as ahead,
  min(lease_age) as furthest_age,
  min(item) filter (where lease_age < {ahead_secs}) as ahead_item
from (
  select {item} as item, {lease_age} as lease_age, {row_age} as row_age
  from {rows}
  where {running}
  limit {limit}
) as held
