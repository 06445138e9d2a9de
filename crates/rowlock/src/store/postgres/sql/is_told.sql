-- is_told: whether the table has the trigger that notifies of inserts, and the trigger is enabled.
--
-- Binds: $1 the table, quoted and qualified as in the statements   $2 the trigger's name
select exists (
  select
  from pg_trigger
  where tgrelid = to_regclass($1::text)
    and tgname = $2::text
    and tgenabled in ('O', 'A')
) as is_told
