create table sync_queue (
  id text primary key,
  table_name text not null,
  record_id text not null,
  operation text not null,
  payload_json text not null,
  priority text not null,
  attempts integer not null default 0,
  last_attempt_at text,
  synced_at text,
  status text not null default 'pending',
  created_at text
);
