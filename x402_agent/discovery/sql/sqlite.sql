create virtual table words using fts5 (name, tags, category, description, host, columnsize = 0, tokenize = 'porter unicode61 remove_diacritics 2');
