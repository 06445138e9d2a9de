-- now: the database's clock, in the one format that the table's times have. A verb reads it once, within its
-- transaction: 'now' is constant within a statement only.
select strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
