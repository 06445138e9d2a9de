-- resume: allows claims for a stage again.
--
-- Binds: $1 the stage's name
delete from :rowlock_stages
where pipeline = :'pipeline'
  and stage = $1::text
