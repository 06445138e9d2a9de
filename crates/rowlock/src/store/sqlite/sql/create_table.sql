-- create_table: creates the pipeline's table, where there is none.
create table :table (
  :"key" :key_type not null primary key,
  :"status" text not null default :'first_ready',
  :"retry_count" integer not null default 0,
  :"reset_count" integer not null default 0,
  :"retry_after" text,
  :"error_message" text,
  :"heartbeat_at" text,
  :"claim_token" integer,
  :"claimed_by" text,
  :"claimed_at" text,
  :"resume_status" text,
  :"created_at" text default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  :"updated_at" text default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
)
