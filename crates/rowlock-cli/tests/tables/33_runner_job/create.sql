create table "runnerJob" (
  id serial primary key,
  uuid uuid not null,
  type varchar(255) not null,
  payload jsonb not null,
  "privatePayload" jsonb not null,
  state integer not null,
  failures integer not null default 0,
  error varchar,
  priority integer not null,
  "processingJobToken" varchar,
  progress integer,
  "startedAt" timestamptz,
  "finishedAt" timestamptz,
  "createdAt" timestamptz not null,
  "updatedAt" timestamptz not null,
  "dependsOnRunnerJobId" integer references "runnerJob" (id),
  "runnerId" integer
);
