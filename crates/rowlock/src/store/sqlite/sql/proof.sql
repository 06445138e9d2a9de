-- proof: whether a description holds on a sample of rows. The user's table is only read: what is written is a temporary
-- table of the connection.

-- step: sample
-- Rows of the beginning and of the end of the table: the oldest ones and, where rows are added at the end, the latest.
-- What attach adds reads as null before it is there.
(
  select t.*:and_added
  from :table as t
  where :is_sampled
  limit :sample_rows
)

-- step: is_sampled
t._rowid_ <= (
  select coalesce(max(beginning.number), 0)
  from (select x._rowid_ as number from :table as x order by x._rowid_ limit :half_of_rows) as beginning
)
or t._rowid_ >= (
  select coalesce(min(ending.number), 0)
  from (select x._rowid_ as number from :table as x order by x._rowid_ desc limit :half_of_rows) as ending
)

-- step: copy
create temp table rowlock_proof as
select t.*:and_added
from :table as t
limit :written_rows

-- step: defaults
-- A row that has the table's defaults alone.
insert into temp.rowlock_proof (:columns)
values (:defaults)

-- step: states
-- The rows of the sample that are in no state, or in several, by the states and by the word of the status column.
select said.states, said.how_many, said.word, count(*), min(said.key)
from (
  select
    :said_states as states,
    :count_said as how_many,
    :said_word as word,
    t.:"key" as key
  from :sample as t
) as said
where said.how_many <> 1
group by said.states, said.how_many, said.word
order by said.how_many desc, count(*) desc
limit 10

-- step: write
-- Puts the rows into a state, as a move would.
update temp.rowlock_proof as t
set
  :assignments

-- step: written
-- A row that is not in the state that was written to it.
select said.states, said.word, said.key
from (
  select
    :said_states as states,
    t.:"status" as word,
    t.:"key" as key
  from temp.rowlock_proof as t
) as said
where (:is_said and said.states is not :said_alone)
   or said.word is not :state_name
limit 1
