-- matching: how many rows match a predicate, with one of them. Reads at most {limit} of them.
select count(*) as n, min(item) as item
from (
  select {item} as item
  from {rows}
  where {predicate}
  limit {limit}
) as found
