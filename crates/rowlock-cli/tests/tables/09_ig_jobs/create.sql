create table ig_jobs (
  ig_code text primary key,
  owner_id uuid,
  r2_bucket text,
  r2_key text,
  transcript_text text,
  status text not null default 'queued'
    check (status in ('queued', 'audio_ready', 'transcribing', 'transcribed', 'no_speech')),
  transcribed_at timestamptz,
  updated_at timestamptz not null default now(),
  error_message text
);
