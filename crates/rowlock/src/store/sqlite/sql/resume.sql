-- resume: allows claims for a stage again.
-- Binds: ?1 stage's name
delete from :rowlock_stages
where pipeline = :'pipeline'
  and stage = ?1
