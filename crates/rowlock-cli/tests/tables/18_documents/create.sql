create table documents (
  id uuid default gen_random_uuid() primary key,
  collection_ids uuid[],
  owner_id uuid,
  type text,
  metadata jsonb,
  title text,
  summary text,
  summary_embedding float4[],
  version text,
  size_in_bytes integer,
  ingestion_status text default 'pending',
  extraction_status text default 'pending',
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  ingestion_attempt_number integer default 0,
  raw_tsvector tsvector generated always as (to_tsvector('english', coalesce(title, ''))) stored,
  total_tokens integer default 0
);
create index documents_collections on documents using gin (collection_ids);
create index documents_text on documents using gin (raw_tsvector);
