-- triggers: the enabled triggers of the table that its owner made, with the source of their functions.
-- Cost: the catalogue.
-- Binds: $1 the table, quoted and qualified   $2 the longest source, in characters
select
  t.tgname::text as name,
  concat_ws(
    ' ',
    case when t.tgtype & 2 <> 0 then 'before' when t.tgtype & 64 <> 0 then 'instead of' else 'after' end,
    concat_ws(
      ' or ',
      case when t.tgtype & 4 <> 0 then 'insert' end,
      case when t.tgtype & 16 <> 0 then 'update' end,
      case when t.tgtype & 8 <> 0 then 'delete' end,
      case when t.tgtype & 32 <> 0 then 'truncate' end
    )
  ) as moment,
  left(p.prosrc, $2::integer) as source
from pg_trigger t
join pg_proc p on p.oid = t.tgfoid
where t.tgrelid = to_regclass($1::text)
  and not t.tgisinternal
  and t.tgenabled <> 'D'
order by t.tgname
