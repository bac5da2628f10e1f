create table catalogue (version integer not null);
create table passes (
  number integer primary key,
  started double precision not null,
  ended double precision
);
create table frontier (
  id varchar(32) primary key,
  root text not null,
  kind varchar(40) not null,
  url text not null,
  method varchar(8) not null,
  host text not null,
  state text not null,
  pass integer not null,
  status varchar(8) not null,
  due double precision not null,
  tries integer not null default 0,
  why text not null default '',
  etag text not null default '',
  modified text not null default '',
  digest varchar(64) not null default '',
  following text not null default '[]'
);
create index frontier_waiting on frontier (status, due);
create index frontier_root on frontier (root, pass);
create table hosts (
  host text primary key,
  free double precision not null,
  refusals integer not null default 0
);
create table listings (
  service varchar(16) not null,
  source text not null,
  page varchar(32) not null,
  origin text not null,
  method varchar(8) not null,
  path text not null,
  tool text not null,
  url text not null,
  name text not null,
  description text not null,
  category text not null,
  tags text not null,
  prices text not null,
  payers bigint,
  calls bigint,
  updated double precision,
  flags text not null,
  pass integer not null,
  first double precision not null,
  last double precision not null,
  missed integer not null default 0,
  primary key (service, source)
);
create index listings_page on listings (page);
create index listings_source on listings (source, pass);
create table dirty (
  service varchar(16) primary key
);
create table probes (
  service varchar(16) not null,
  at double precision not null,
  verdict varchar(24) not null,
  status integer not null,
  prices text not null,
  why text not null,
  primary key (service, at)
);
create table outcomes (
  payment varchar(64) primary key,
  service varchar(16) not null,
  at double precision not null,
  outcome varchar(12) not null,
  micros bigint
);
create index outcomes_service on outcomes (service);
create table learned (
  ledger varchar(16) primary key,
  upto double precision not null
);
create table skips (
  pass integer not null,
  root text not null,
  page text not null,
  place text not null,
  why text not null
);
create table services (
  seq integer primary key,
  id varchar(16) not null unique,
  slot bigint not null unique,
  host text not null,
  origin text not null,
  method varchar(8) not null,
  path text not null,
  tool text not null,
  url text not null,
  name text not null,
  description text not null,
  category text not null,
  tags text not null,
  prices text not null,
  micros bigint,
  rails text not null,
  networks text not null,
  payees text not null,
  sources text not null,
  verdict varchar(24) not null,
  probed double precision,
  agreement varchar(12) not null,
  payers bigint,
  calls bigint,
  good integer not null,
  bad integer not null,
  first double precision not null,
  last double precision not null,
  missed integer not null,
  flags text not null
);
create index services_host on services (host);
create table ground (
  medians text not null,
  hosts text not null,
  total integer not null
);
--sqlite create virtual table words using fts5 (name, tags, category, description, host, columnsize = 0, tokenize = 'porter unicode61 remove_diacritics 2');
--postgresql create table words (
--postgresql   slot bigint primary key,
--postgresql   terms tsvector not null
--postgresql );
--postgresql create index words_terms on words using gin (terms);
