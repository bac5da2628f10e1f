-- Times are UTC without a zone. Amounts are in the smallest unit, USDCx in cents where it is a price.
create table users (
  id text primary key,
  wallet_address varchar(42) not null unique,
  created_at timestamp not null
);
create table content (
  id text primary key,
  content_id varchar(50) not null unique,
  creator_id text not null references users (id) on delete cascade,
  price_stx bigint check (price_stx > 0),
  price_sbtc bigint check (price_sbtc > 0),
  price_usdcx bigint check (price_usdcx > 0),
  default_asset varchar(5) not null default 'STX' check (default_asset in ('STX', 'sBTC', 'USDCx')),
  metadata jsonb not null default '{}',
  ipfs_cid varchar(100),
  status varchar(10) not null default 'draft' check (status in ('draft', 'published', 'archived')),
  enabled int not null default 1 check (enabled in (0, 1)),
  published_at timestamp,
  created_at timestamp not null,
  updated_at timestamp not null
);
create table payments (
  id text primary key,
  tx_id varchar(66) not null unique
--sqlite    check (length(tx_id) = 66 and tx_id glob '0x*' and not substr(tx_id, 3) glob '*[^a-fA-F0-9]*'),
--postgresql    check (tx_id ~ '^0x[a-fA-F0-9]{64}$'),
  content_id varchar(50) not null references content (content_id) on delete cascade,
  payer_address varchar(42) not null,
  amount bigint not null check (amount >= 0),
  asset varchar(5) not null check (asset in ('STX', 'sBTC', 'USDCx')),
  creator_amount bigint not null default 0,
  platform_amount bigint not null default 0,
  collaborator_amount bigint not null default 0,
  status varchar(10) not null default 'pending' check (status in ('pending', 'confirmed', 'failed')),
  is_agent int not null default 0 check (is_agent in (0, 1)),
  agent_id varchar(100) not null default '',
  block_height bigint not null default 0,
  created_at timestamp not null,
  confirmed_at timestamp,
  claimed_by varchar(255) not null default ''
);
create table access_grants (
  id text primary key,
  user_address varchar(100) not null,
  content_id varchar(50) not null references content (content_id) on delete cascade,
  payment_id text not null references payments (id) on delete cascade,
  access_token varchar(64) not null default '',
  expires_at timestamp,
  revoked_at timestamp,
  created_at timestamp not null,
  unique (user_address, content_id)
);
create table api_keys (
  id text primary key,
  user_id text not null references users (id) on delete cascade,
  key_hash varchar(64) not null unique check (length(key_hash) = 64),
  key_preview varchar(16) not null,
  scopes jsonb not null,
  last_used_at timestamp,
  revoked_at timestamp,
  created_at timestamp not null
);
create table audit_logs (
  id text primary key,
  actor varchar(100) not null,
  action varchar(50) not null,
  entity varchar(100) not null,
  created_at timestamp not null
);
create table payment_events (
  id text primary key,
  time timestamp not null,
  tx_id varchar(66) not null,
  content_id varchar(50) not null,
  creator_id text not null,
  payer_address varchar(42) not null,
  amount bigint not null,
  asset varchar(5) not null,
  creator_amount bigint not null,
  is_agent int not null
);
create table x402_challenges (
  id text primary key,
  content_id varchar(50) not null references content (content_id) on delete cascade,
  requester varchar(100) not null,
  is_agent int not null default 0,
  amount bigint not null,
  asset varchar(5) not null,
  recipient varchar(42) not null,
  contract_addr varchar(100) not null default '',
  challenge_token varchar(36) not null unique,
  status varchar(10) not null default 'pending' check (status in ('pending', 'paid', 'expired')),
  expires_at timestamp not null,
  paid_tx_id varchar(66),
  paid_at timestamp,
  created_at timestamp not null,
  claimed_by varchar(255) not null default ''
);
create table agent_detections (
  id text primary key,
  agent_id varchar(100) not null,
  user_agent varchar(200) not null,
  confidence int not null,
  path varchar(200) not null,
  created_at timestamp not null
);
create table payment_nonces (
  id text primary key,
  nonce varchar(32) not null unique check (length(nonce) = 32),
  content_id varchar(50) not null references content (content_id) on delete cascade,
  claimed_by varchar(255) not null,
  tx_id varchar(66) not null default '',
  expires_at timestamp not null
);
create table x402_clock (ahead double precision not null);
insert into x402_clock values (0);
create index idx_payments_payer on payments (payer_address, created_at);
create index idx_payments_content on payments (content_id);
create index idx_grants_user on access_grants (user_address);
create index idx_events_time on payment_events (creator_id, time);
create index idx_challenges_expires on x402_challenges (expires_at);
create index idx_nonces_expires on payment_nonces (expires_at);
create index idx_detections_created on agent_detections (created_at);
create view revenue_hourly as select
--sqlite  substr(time, 1, 13) || ':00:00' as bucket,
--postgresql  to_char(time, 'YYYY-MM-DD HH24:00:00') as bucket,
  creator_id, asset, count(*) as payments, sum(amount) as amount,
  sum(creator_amount) as creator_amount, sum(is_agent) as agent_payments, count(distinct payer_address) as unique_payers
from payment_events group by bucket, creator_id, asset;
create view revenue_daily as select
--sqlite  substr(time, 1, 10) as bucket,
--postgresql  to_char(time, 'YYYY-MM-DD') as bucket,
  creator_id, asset, count(*) as payments, sum(amount) as amount,
  sum(creator_amount) as creator_amount, sum(is_agent) as agent_payments, count(distinct payer_address) as unique_payers
from payment_events group by bucket, creator_id, asset;
create view content_performance_daily as select
--sqlite  substr(time, 1, 10) as bucket,
--postgresql  to_char(time, 'YYYY-MM-DD') as bucket,
  content_id, creator_id, asset, count(*) as payments, sum(amount) as amount
from payment_events group by bucket, content_id, creator_id, asset;
--postgresql create function calculate_creator_revenue(creator text, since timestamp, until timestamp) returns table (asset varchar, amount numeric) language sql as $$
--postgresql   select asset, sum(creator_amount) from payment_events where creator_id = creator and time >= since and time < until group by asset order by asset
--postgresql $$;
-- down
--postgresql drop function calculate_creator_revenue(text, timestamp, timestamp);
drop view content_performance_daily;
drop view revenue_daily;
drop view revenue_hourly;
drop table x402_clock;
drop table payment_nonces;
drop table agent_detections;
drop table x402_challenges;
drop table payment_events;
drop table audit_logs;
drop table api_keys;
drop table access_grants;
drop table payments;
drop table content;
drop table users;
