create table "X402Tenant" (
  id text primary key,
  email text not null unique,
  tier text not null default 'free' check (tier in ('free', 'starter', 'pro', 'enterprise')),
  status text not null default 'active' check (status in ('active', 'suspended', 'cancelled')),
  "solanaPaymentAddress" text unique,
  "basePaymentAddress" text unique,
  "ethereumPaymentAddress" text unique,
  "monthlyVerificationLimit" int not null default 1000,
  "monthlyVerificationsUsed" int not null default 0,
  "quotaResetDate" timestamp not null,
  "enabledChains" text not null default '["solana","base"]',
  "stripeCustomerId" text unique,
  "stripeSubscriptionId" text unique,
  "createdAt" timestamp not null,
  "updatedAt" timestamp not null
);
create table "X402ApiKey" (
  id text primary key,
  "tenantId" text not null references "X402Tenant" (id) on delete cascade,
  "keyHash" text not null unique,
  environment text not null check (environment in ('live', 'test')),
  scopes text not null default '["verify","settle","analytics"]',
  "isActive" int not null default 1,
  "lastUsedAt" timestamp,
  "revokedAt" timestamp,
  "createdAt" timestamp not null
);
create table "X402Verification" (
  id serial primary key,
  "tenantId" text not null references "X402Tenant" (id) on delete cascade,
  "txHash" text not null,
  chain text not null,
  success int not null,
  "amountUsdc" decimal(18,6),
  "errorCode" text,
  "errorMessage" text,
  "apiKeyId" text,
  "ipAddress" text,
  "responseTimeMs" int,
  "createdAt" timestamp not null
);
create index "X402Verification_tenantId_idx" on "X402Verification" ("tenantId");
create index "X402Verification_txHash_idx" on "X402Verification" ("txHash");
create index "X402Verification_chain_idx" on "X402Verification" (chain);
create index "X402Verification_createdAt_idx" on "X402Verification" ("createdAt");
create index "X402Verification_tenantId_createdAt_idx" on "X402Verification" ("tenantId", "createdAt");
-- down
drop table "X402Verification";
drop table "X402ApiKey";
drop table "X402Tenant";
