create table outbox (
  idempotent_key uuid default gen_random_uuid() primary key,
  partition_key uuid not null,
  destinations jsonb not null,
  headers jsonb,
  payload text not null,
  attempts integer not null default 0,
  created_at timestamptz not null default now(),
  process_after timestamptz not null default now(),
  processed_at timestamptz
);
create index outbox_waiting on outbox (partition_key, process_after, attempts) where processed_at is null;
create index outbox_processed on outbox (processed_at);
create index outbox_created on outbox (created_at);
-- Who is at work is said in another table, by the row's partition.
create table outbox_lock (partition_key uuid primary key, lock_id uuid not null, processing_until timestamptz not null);
