create table documents (id uuid primary key, deleted_at timestamptz);
create table document_versions (
  id uuid default gen_random_uuid() primary key,
  document_id uuid not null references documents (id),
  extraction_status text not null check (extraction_status in ('pending', 'processing', 'ready', 'failed')),
  extraction_error text,
  extraction_started_at timestamptz,
  extraction_completed_at timestamptz,
  extraction_attempt_count integer,
  extracted_text_path text,
  embedding_status text not null default 'not_applicable'
    check (embedding_status in ('not_applicable', 'pending', 'processing', 'ready', 'failed')),
  embedding_error text,
  embedding_started_at timestamptz,
  embedding_completed_at timestamptz,
  embedding_attempt_count integer not null default 0 check (embedding_attempt_count between 0 and 50),
  version_no integer,
  created_at timestamptz not null default now()
);
create index document_versions_embedding on document_versions (embedding_status, embedding_started_at, created_at)
where embedding_status in ('pending', 'processing');
-- Mistake: row security that shows nothing to a role without a policy.
alter table document_versions enable row level security;
create policy owners on document_versions using (current_user = 'postgres');
