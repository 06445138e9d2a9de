-- states: the rows that are in more than one state, by these states. Reads at most {limit} of them.
select states, count(*) as n, min(item) as item
from (
  select {item} as item, {states} as states
  from {rows}
  where {how_many} > 1
  limit {limit}
) as several
group by states
order by count(*) desc, states
limit 10
