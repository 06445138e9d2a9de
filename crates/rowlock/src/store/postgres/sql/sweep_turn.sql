-- sweep_turn: whose turn it is to sweep. Of all workers of a pipeline one sweeps in each interval: a sweep reads
-- everything in progress, and fifty workers that each swept would read fifty times as much.
--
-- Guarantee: one caller per interval gets the turn. A caller waits for no other, except while another takes the very
--            first turn: if another transaction has the row locked, it has the turn. But no caller can keep the turn:
--            twice the interval after the last turn, every caller gets it. So does every caller if the row's value is
--            unreadable, or is a time far ahead. A time just ahead is that of a statement which began after this one
--            and was faster.
-- Binds:     $1 seconds between turns
with
last as (
  select :swept_age as age
  from :rowlock_meta m
  where m.key = :swept_key
),
taken as (
  update :rowlock_meta
  set value = extract(epoch from statement_timestamp())::text
  where key in (
    -- Reads the row's own time again, and not that of `last`: a faster caller may have changed it since.
    select m.key
    from :rowlock_meta m
    where m.key = :swept_key and coalesce(:swept_age not between -$1::float8 and $1::float8, true)
    for no key update skip locked
  )
  returning key
),
first as (
  insert into :rowlock_meta (key, value)
  select :swept_key, extract(epoch from statement_timestamp())::text
  where not exists (select from last)
  on conflict do nothing
  returning key
)
select
  case
    when exists (select from taken) or exists (select from first) then 0
    when not exists (select from last) then $1::float8
    when (select age between -$1::float8 and 2 * $1::float8 from last)
      then greatest($1::float8 - (select age from last), $1::float8 / 10)
    else 0
  end::float8 as seconds
