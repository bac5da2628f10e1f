-- Times are UTC without a zone, as published.
create table x402_payments (
  id serial primary key,
  tx_hash varchar(255) not null unique,
  chain varchar(50) not null,
  amount_usdc decimal(18,6) not null,
  from_address varchar(255) not null,
  to_address varchar(255) not null,
  block_number bigint not null,
  confirmations int not null default 0,
  status varchar(50) not null default 'pending' check (status in ('pending', 'verified', 'expired', 'used')),
  risk_score decimal(3,2) not null default 0.1,
  requests_allocated int not null,
  requests_used int not null default 0 check (requests_used <= requests_allocated),
  created_at timestamp not null default (now() at time zone 'utc'),
  verified_at timestamp,
  expires_at timestamp not null,
  updated_at timestamp not null default (now() at time zone 'utc'),
  claimed_by varchar(255) not null default ''
--sqlite  , check (amount_usdc glob '*[0-9].[0-9][0-9][0-9][0-9][0-9][0-9]')
);
create table x402_tokens (
  id serial primary key,
  token_hash varchar(64) not null unique check (length(token_hash) = 64),
  payment_id int not null references x402_payments (id) on delete cascade,
  created_at timestamp not null default (now() at time zone 'utc'),
  expires_at timestamp not null,
  last_used_at timestamp
);
create table x402_usage (
  id serial primary key,
  payment_id int not null references x402_payments (id) on delete cascade,
  endpoint varchar(255) not null,
  method varchar(10) not null,
  status_code int,
  response_time_ms int,
  ip_address varchar(45),
  user_agent text,
  created_at timestamp not null default (now() at time zone 'utc')
);
create table x402_analytics (
  id serial primary key,
  hour_bucket timestamp not null,
  chain varchar(50) not null,
  total_payments int not null default 0,
  total_amount_usdc decimal(18,6) not null default '0.000000',
  total_requests int not null default 0,
  unique_payers int not null default 0,
  average_payment_usdc decimal(18,6),
  created_at timestamp not null default (now() at time zone 'utc'),
  unique (hour_bucket, chain)
);
create table x402_clock (ahead double precision not null);
insert into x402_clock values (0);
create index idx_x402_payments_tx_hash on x402_payments (tx_hash);
create index idx_x402_payments_chain on x402_payments (chain);
create index idx_x402_payments_from_address on x402_payments (from_address);
create index idx_x402_payments_status on x402_payments (status);
create index idx_x402_payments_expires_at on x402_payments (expires_at);
create index idx_x402_payments_created_at on x402_payments (created_at);
create index idx_x402_tokens_token_hash on x402_tokens (token_hash);
create index idx_x402_tokens_payment_id on x402_tokens (payment_id);
create index idx_x402_tokens_expires_at on x402_tokens (expires_at);
create index idx_x402_usage_payment_id on x402_usage (payment_id);
create index idx_x402_usage_endpoint on x402_usage (endpoint);
create index idx_x402_usage_created_at on x402_usage (created_at);
create index idx_x402_analytics_hour_bucket on x402_analytics (hour_bucket);
create index idx_x402_analytics_chain on x402_analytics (chain);
-- down
drop table x402_clock;
drop table x402_analytics;
drop table x402_usage;
drop table x402_tokens;
drop table x402_payments;
