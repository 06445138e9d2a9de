-- now: the database's time, in the one format that the table's times have; and whether the table has triggers, which
-- may change a row after a move. A verb reads the time once, within its transaction: 'now' is constant only within a
-- statement.
-- Binds: ?1 table
select
  strftime('%Y-%m-%dT%H:%M:%fZ', 'now'),
  exists (select 1 from sqlite_schema where type = 'trigger' and tbl_name = ?1 collate nocase)
