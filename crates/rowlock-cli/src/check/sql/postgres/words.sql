-- words: the words of the status column that no state has, with their rows. Reads at most {limit} of them.
select word, count(*) as n, min(item) as item
from (
  select cast({status} as text) as word, {item} as item
  from {rows}
  where ({known}) is not true
  limit {limit}
) as stray
group by word
order by count(*) desc, word
limit 20
