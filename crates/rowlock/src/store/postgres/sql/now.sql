-- now: the time that the database has.
select statement_timestamp() as now
