-- is_told: whether the table has the trigger that tells of inserts, and it fires.
--
-- Binds: $1 the table, quoted and qualified as in the statements   $2 the trigger's name
select exists (
  select
  from pg_trigger
  where tgrelid = to_regclass($1::text)
    and tgname = $2::text
    and tgenabled in ('O', 'A')
) as is_told
