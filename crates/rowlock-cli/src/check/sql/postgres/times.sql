-- times: the forms in which a column of text or of numbers holds times. Reads at most {limit} values.
select form, count(*) as n, min(item) as item, min(sample) as sample
from (
  select
    item,
    left(sample, 40) as sample,
    case
      when sample = '' or sample = '0' then 'none'
      when sample ~ '^-?[0-9]{12,}(\.[0-9]+)?$' then 'milliseconds'
      when sample ~ '^-?[0-9]+(\.[0-9]+)?$' then 'seconds'
      when sample ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z$' then 'iso_utc'
      when sample ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+[+-][0-9:]+$' then 'iso_offset'
      when sample ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+$' then 'iso_local'
      when sample ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:.]+$' then 'datetime'
      when sample ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:.]+ ?(Z|UTC|[+-][0-9:]+)$' then 'datetime_zone'
      when sample ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$' then 'day'
      else 'unreadable'
    end as form
  from (
    select {item} as item, cast({column} as text) as sample
    from {rows}
    where {column} is not null
    limit {limit}
  ) as read
) as formed
group by form
order by count(*) desc, form
