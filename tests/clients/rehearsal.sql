-- The tables of rehearsal.yaml, made when its database is empty.
CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE shelf (box TEXT, title TEXT, text TEXT, PRIMARY KEY (box, title));
INSERT INTO shelf VALUES
  ('blue', 'alpha', 'The first letter.'),
  ('blue', 'atlas', 'A book of maps.'),
  ('red', 'apple', 'A fruit.'),
  ('red', 'beta', 'The second letter.');
