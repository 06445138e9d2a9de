-- schedule: rows whose due time is missing or out of reach. Reads at most {limit} rows that wait or are held.
select
  count(*) as waiting,
  count(*) filter (where has_due = 0) as without_due,
  min(item) filter (where has_due = 0) as without_due_item,
  count(*) filter (where due_age < {far_secs}) as far,
  min(due_age) as furthest_age,
  min(item) filter (where due_age < {far_secs}) as far_item
from (
  select
    {item} as item,
    case when {due} is null then 0 else 1 end as has_due,
    {due_age} as due_age
  from {rows}
  where {waiting}
  limit {limit}
) as queue
