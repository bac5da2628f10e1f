-- Times are UTC without a zone. Money is in millionths of a dollar, SOL in lamports: both engines reckon whole numbers exactly.
create table x402_service_configs (
  id varchar(36) primary key,
  service_id varchar(36) not null,
  service_type varchar(50) not null default 'agent_execution',
  owner_wallet varchar(44) not null,
  platform_wallet varchar(44) not null,
  base_price bigint not null check (base_price > 0),
  currency varchar(4) not null default 'USDC' check (currency in ('USDC', 'SOL')),
  pricing_model varchar(20) not null default 'per_request' check (pricing_model in ('per_request', 'per_minute', 'per_kb', 'per_token')),
  min_payment bigint not null default 10000 check (min_payment >= 0),
  max_payment bigint check (max_payment > 0),
  max_session_amount bigint check (max_session_amount > 0),
  requires_preauth int not null default 0 check (requires_preauth in (0, 1)),
  allowed_origins text not null default '[]',
  webhook_url text not null default '',
  is_active int not null default 1 check (is_active in (0, 1)),
  created_at timestamp(3) not null,
  updated_at timestamp(3) not null
);
create table x402_payment_sessions (
  id varchar(36) primary key,
  wallet_address varchar(44) not null,
  session_token varchar(64) not null check (length(session_token) = 64),
  authorized_amount bigint not null check (authorized_amount > 0),
  remaining_amount bigint not null check (remaining_amount >= 0 and remaining_amount <= authorized_amount),
  currency varchar(4) not null check (currency in ('USDC', 'SOL')),
  resource_pattern varchar(200) not null,
  service_id varchar(36) not null,
  service_type varchar(50) not null,
  status varchar(10) not null default 'active' check (status in ('active', 'depleted', 'expired', 'revoked')),
  auto_renew int not null default 0 check (auto_renew in (0, 1)),
  renewal_amount bigint check (renewal_amount > 0),
  initial_payment_signature varchar(90) not null,
  sol_amount bigint check (sol_amount >= 0),
  usd_amount bigint not null check (usd_amount > 0),
  conversion_rate bigint check (conversion_rate > 0),
  expires_at timestamp(3) not null,
  last_used_at timestamp(3),
  created_at timestamp(3) not null,
  updated_at timestamp(3) not null
);
create table x402_payment_credits (
  id varchar(36) primary key,
  wallet_address varchar(44) not null,
  service_id varchar(36) not null,
  service_type varchar(50) not null,
  balance bigint not null check (balance >= 0),
  total_deposited bigint not null check (total_deposited >= 0),
  total_spent bigint not null default 0 check (total_spent >= 0),
  created_at timestamp(3) not null,
  updated_at timestamp(3) not null
);
create table x402_transactions (
  id varchar(36) primary key,
  wallet_address varchar(44) not null,
  service_id varchar(36) not null,
  service_type varchar(50) not null,
  session_id varchar(36) references x402_payment_sessions (id) on delete set null,
  transaction_signature varchar(90),
  amount bigint not null check (amount >= 0),
  currency varchar(4) not null check (currency in ('USDC', 'SOL')),
  status varchar(10) not null check (status in ('pending', 'completed', 'failed', 'refunded')),
  resource_type varchar(20) not null default 'agent_execution' check (resource_type in ('agent_execution', 'api_call', 'data_access')),
  resource_id varchar(200) not null default '',
  http_method varchar(6) not null default 'GET' check (http_method in ('GET', 'POST', 'PUT', 'DELETE', 'PATCH')),
  purpose varchar(20) not null check (purpose in ('proof', 'session', 'call', 'credit', 'credit_top_up', 'refused', 'log')),
  request_hash varchar(64) not null default '',
  error_code varchar(30) not null default '',
  created_at timestamp(3) not null
);
create table x402_payment_authorizations (
  id varchar(36) primary key,
  wallet_address varchar(44) not null,
  service_id varchar(36) not null,
  service_type varchar(50) not null,
  spending_limit_per_request bigint check (spending_limit_per_request >= 0),
  spending_limit_per_day bigint check (spending_limit_per_day >= 0),
  spending_limit_per_month bigint check (spending_limit_per_month >= 0),
  status varchar(10) not null default 'active' check (status in ('active', 'paused', 'revoked', 'expired')),
  day varchar(10) not null default '',
  day_spent bigint not null default 0,
  month varchar(7) not null default '',
  month_spent bigint not null default 0,
  expires_at timestamp(3),
  created_at timestamp(3) not null,
  updated_at timestamp(3) not null
);
create table x402_analytics (
  id varchar(36) primary key,
  date varchar(10) not null,
  service_id varchar(36) not null,
  service_type varchar(50) not null,
  total_requests bigint not null default 0,
  successful_payments bigint not null default 0,
  failed_payments bigint not null default 0,
  total_revenue bigint not null default 0,
  unique_wallets bigint not null default 0,
  updated_at timestamp(3) not null
);
create table x402_clock (ahead double precision not null);
insert into x402_clock values (0);
create unique index idx_configs_service on x402_service_configs (service_id, service_type);
create index idx_configs_owner on x402_service_configs (owner_wallet);
create index idx_configs_type on x402_service_configs (service_type);
create index idx_configs_active on x402_service_configs (is_active);
create unique index idx_sessions_token on x402_payment_sessions (session_token);
create unique index idx_sessions_signature on x402_payment_sessions (initial_payment_signature);
create index idx_sessions_wallet on x402_payment_sessions (wallet_address, created_at);
create index idx_sessions_wallet_status on x402_payment_sessions (wallet_address, status);
create index idx_sessions_service on x402_payment_sessions (service_id, service_type);
create index idx_sessions_expires on x402_payment_sessions (status, expires_at);
create index idx_sessions_created on x402_payment_sessions (created_at);
create unique index idx_credits_wallet_service on x402_payment_credits (wallet_address, service_id, service_type);
create index idx_credits_wallet on x402_payment_credits (wallet_address);
create index idx_credits_service on x402_payment_credits (service_id, service_type);
create index idx_credits_updated on x402_payment_credits (updated_at);
create unique index idx_transactions_claim on x402_transactions (transaction_signature) where purpose in ('proof', 'session', 'credit', 'credit_top_up');
create index idx_transactions_signature on x402_transactions (transaction_signature);
create index idx_transactions_wallet on x402_transactions (wallet_address, created_at);
create index idx_transactions_service on x402_transactions (service_id, service_type, created_at);
create index idx_transactions_status on x402_transactions (status, created_at);
create index idx_transactions_session on x402_transactions (session_id);
create index idx_transactions_purpose on x402_transactions (purpose, created_at);
create index idx_transactions_created on x402_transactions (created_at);
create index idx_authorizations_wallet on x402_payment_authorizations (wallet_address, service_id, service_type, status);
create index idx_authorizations_service on x402_payment_authorizations (service_id, service_type);
create index idx_authorizations_status on x402_payment_authorizations (status);
create index idx_authorizations_expires on x402_payment_authorizations (expires_at);
create unique index idx_analytics_day on x402_analytics (date, service_id, service_type);
create index idx_analytics_service on x402_analytics (service_id, service_type, date);
create index idx_analytics_date on x402_analytics (date);
-- down
drop table x402_clock;
drop table x402_analytics;
drop table x402_payment_authorizations;
drop table x402_transactions;
drop table x402_payment_credits;
drop table x402_payment_sessions;
drop table x402_service_configs;
