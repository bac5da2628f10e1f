create table words (
  slot bigint primary key,
  terms tsvector not null
);
create index words_terms on words using gin (terms);
