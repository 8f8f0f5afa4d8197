-- The sample shop: products with three features each, such as size, weight and colour.
CREATE EXTENSION IF NOT EXISTS vector;
CREATE TABLE products (name text PRIMARY KEY, price numeric(10, 2) NOT NULL, features vector(3) NOT NULL);
INSERT INTO products VALUES
  ('lamp', 39.90, '[1, 2, 1]'),
  ('desk lamp', 29.90, '[1, 1, 1]'),
  ('chair', 119.00, '[4, 6, 2]'),
  ('table', 249.00, '[7, 9, 2]');
