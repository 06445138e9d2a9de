-- add_columns: adds the columns that a table of the user's lacks, one per step. SQLite allows no default that calls a
-- function here: an item that is inserted without `created_at` has none, and is older than all that have one.

-- step: status
alter table :table add column :"status" text not null default :'first_ready'

-- step: retry_count
alter table :table add column :"retry_count" integer not null default 0

-- step: reset_count
alter table :table add column :"reset_count" integer not null default 0

-- step: retry_after
alter table :table add column :"retry_after" text

-- step: error_message
alter table :table add column :"error_message" text

-- step: heartbeat_at
alter table :table add column :"heartbeat_at" text

-- step: claim_token
alter table :table add column :"claim_token" integer

-- step: claimed_by
alter table :table add column :"claimed_by" text

-- step: claimed_at
alter table :table add column :"claimed_at" text

-- step: resume_status
alter table :table add column :"resume_status" text

-- step: created_at
alter table :table add column :"created_at" text

-- step: updated_at
alter table :table add column :"updated_at" text
