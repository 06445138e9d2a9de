-- attempts: what the count of attempts says of the rows that wait and of those that failed. Reads at most {limit}.
select
  count(*) filter (where waits = 1 and spent = 1) as spent,
  max(attempts) filter (where waits = 1) as highest,
  min(item) filter (where waits = 1 and spent = 1) as spent_item,
  count(*) filter (where attempts is null) as uncounted,
  min(item) filter (where attempts is null) as uncounted_item,
  count(*) filter (where waits = 0) as failed,
  count(*) filter (where waits = 0 and attempts > 0) as failed_counted
from (
  select
    {item} as item,
    {attempts} as attempts,
    case when {ready} then 1 else 0 end as waits,
    case when {spent} then 1 else 0 end as spent
  from {rows}
  where {ready} or {failed}
  limit {limit}
) as tried
