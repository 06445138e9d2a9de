create table photo_enrich_tasks (
  id bigint generated always as identity primary key,
  job_id bigint not null,
  listing_id uuid not null,
  listing_name text,
  website text,
  google_photo_url text,
  google_logo_url text,
  street_view_url text,
  current_hero text,
  current_logo text,
  current_crawl_notes text,
  task_status text not null default 'pending',
  hero_image_found boolean,
  hero_source text,
  gallery_count integer,
  logo_found boolean,
  finished_at timestamptz,
  updated_at timestamptz,
  attempt_count integer,
  fallback_reason text,
  firecrawl_url_trace jsonb,
  google_place_id text
);
create index photo_enrich_tasks_job on photo_enrich_tasks (job_id, task_status);
create function set_updated_at() returns trigger language plpgsql
as $$ begin new.updated_at := now(); return new; end $$;
-- Mistake: the lease is updated_at, and every update renews it.
create trigger photo_enrich_tasks_updated before update on photo_enrich_tasks
for each row execute function set_updated_at();
-- Mistake: row security without a policy.
alter table photo_enrich_tasks enable row level security;
