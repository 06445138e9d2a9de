-- visible: how many rows this role sees, of at most {limit}.
select count(*) as seen
from (select from {table} limit {limit}) as visible
