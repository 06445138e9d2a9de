-- policies: the row security policies of the table, each in a line.
-- Cost: the catalogue.
-- Binds: $1 the table, quoted and qualified
select
  concat_ws(
    ' ',
    p.polname::text,
    case when p.polpermissive then 'permits' else 'restricts' end,
    case p.polcmd
      when 'r' then 'select'
      when 'a' then 'insert'
      when 'w' then 'update'
      when 'd' then 'delete'
      else 'all'
    end,
    'using (' || pg_get_expr(p.polqual, p.polrelid) || ')',
    'with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')'
  ) as policy
from pg_policy p
where p.polrelid = to_regclass($1::text)
order by p.polname
