-- proof: whether a description holds on a sample of rows. Every step only reads, and reads no more than the sample.

-- step: columns
-- The columns with their exact types and defaults.
-- Binds: $1 the table
select
  a.attname::text as name,
  format_type(a.atttypid, a.atttypmod) as type,
  case when a.attgenerated = '' and a.attidentity = '' then pg_get_expr(d.adbin, d.adrelid) end as default_value
from pg_attribute a
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attrelid = to_regclass($1::text)
  and a.attnum > 0
  and not a.attisdropped
order by a.attnum

-- step: sample
-- Rows from all over the table. What attach adds reads as null before it is there.
(
  select t.*:and_added
  from :table as t tablesample system (:percent)
  limit :sample_rows
)

-- step: states
-- The rows of the sample that are in no state, or in several, by the states and by the word of the status column.
select said.states, said.how_many, said.word, count(*) as row_count, min(said.key) as example
from (
  select
    :said_states as states,
    :count_said::bigint as how_many,
    :said_word as word,
    :shown_key as key
  from :sample t
) said
where said.how_many <> 1
group by said.states, said.how_many, said.word
order by said.how_many desc, count(*) desc
limit 10

-- step: written
-- A row of the sample that is not in the state that is written to it.
select said.states, said.word, said.key
from (
  select
    :said_states as states,
    t.:"status"::text as word,
    :shown_key as key
  from :written t
) said
where (:is_said and said.states is distinct from :said_alone::text)
   or said.word is distinct from :state_name::text
limit 1

-- step: rewritten
-- The rows after a write: the columns that it leaves, and those that it writes, in the column's own type.
(
  select
    :written_columns
  from :rows t
)

-- step: copy
-- An empty copy of the table, on which the indexes are tried.
create temp table rowlock_trial (like :table) on commit drop
