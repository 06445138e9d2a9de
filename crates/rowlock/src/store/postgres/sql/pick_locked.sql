-- pick_locked: locks the items that a claim would take, by the pick of claim.sql, and names them, so that a batch that
-- failed can be tried in parts. Returns the tally even if there is no item.
--
-- Answer: the places of the rows, and their keys; as bytes in a database with the encoding SQL_ASCII, which does not
--         send bytes that are not valid text.
-- Binds:  $1 to $9 as in claim.sql
with
:pick
select named.*, tally.*
from (
  select
    (select count(*) from picked) as rowlock_picked,
    (select count(*) from chosen) as rowlock_chosen,
    not $9 and coalesce((select head.suspect from head), false) as rowlock_suspect_at_head
) tally
left join (
  select chosen.n, named.*
  from chosen
  cross join lateral (
    select
      concat(t.tableoid, ' ', t.ctid) as place,
      case when getdatabaseencoding() <> 'SQL_ASCII' then t.:"key"::text end as key,
      case when getdatabaseencoding() = 'SQL_ASCII' then convert_to(t.:"key"::text, 'SQL_ASCII') end as key_bytes,
      t.:"status"::text as word
    from :table t
    where t.:"key" = chosen.key
    limit 1
  ) named
) named on true
order by named.n
