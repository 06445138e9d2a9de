-- key_values: the kinds of values that a key's column holds, of at most {limit} rows. SQLite lets any value into most
-- columns, and NULL into a primary key.
select kind, count(*) as n, min(sample) as sample
from (
  select typeof({column}) as kind, substr(quote({column}), 1, 40) as sample
  from {rows}
  limit {limit}
) as found
group by kind
order by count(*) desc
