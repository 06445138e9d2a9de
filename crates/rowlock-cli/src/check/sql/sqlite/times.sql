-- times: the forms in which a column holds times. Reads at most {limit} values.
select form, count(*) as n, min(item) as item, min(sample) as sample
from (
  select
    item,
    substr(cast(stored as text), 1, 40) as sample,
    case
      when stored = '' or stored = 0 or stored = '0' then 'none'
      when typeof(stored) in ('integer', 'real') and stored >= 100000000000 then 'milliseconds'
      when typeof(stored) in ('integer', 'real') then 'seconds'
      when stored not glob '*[^0-9.]*' and length(stored) >= 12 then 'milliseconds'
      when stored not glob '*[^0-9.]*' then 'seconds'
      when julianday(stored) is null and stored not glob '* UTC' then 'unreadable'
      when stored glob '????-??-??T*Z' then 'iso_utc'
      when stored glob '????-??-??T*[+-][0-9][0-9]:[0-9][0-9]' then 'iso_offset'
      when stored glob '????-??-??T*' then 'iso_local'
      when stored glob '????-??-?? *[+-][0-9][0-9]:[0-9][0-9]' then 'datetime_zone'
      when stored glob '????-??-?? *Z' or stored glob '* UTC' then 'datetime_zone'
      when stored glob '????-??-?? *' then 'datetime'
      when stored glob '????-??-??' then 'day'
      else 'unreadable'
    end as form
  from (
    select {item} as item, {column} as stored
    from {rows}
    where {column} is not null
    limit {limit}
  ) as read
) as formed
group by form
order by count(*) desc, form
