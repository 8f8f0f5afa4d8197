-- The sample shop: six customers, ten products and the orders of two months. Prices in EUR.
BEGIN;

CREATE TABLE customers (
  id    INTEGER PRIMARY KEY,
  name  TEXT NOT NULL,
  email TEXT NOT NULL UNIQUE,
  city  TEXT NOT NULL,
  since TEXT NOT NULL
);

CREATE TABLE products (
  sku   TEXT PRIMARY KEY,
  name  TEXT NOT NULL,
  price REAL NOT NULL,
  stock INTEGER NOT NULL
);

CREATE TABLE orders (
  id          TEXT PRIMARY KEY,
  customer_id INTEGER NOT NULL REFERENCES customers (id),
  status      TEXT NOT NULL CHECK (status IN ('open', 'shipped', 'delivered', 'returned', 'cancelled')),
  placed_at   TEXT NOT NULL,
  total       REAL NOT NULL
);

CREATE TABLE order_lines (
  order_id   TEXT NOT NULL REFERENCES orders (id),
  sku        TEXT NOT NULL REFERENCES products (sku),
  qty        INTEGER NOT NULL CHECK (qty > 0),
  unit_price REAL NOT NULL,
  PRIMARY KEY (order_id, sku)
);

CREATE TABLE order_notes (
  id         INTEGER PRIMARY KEY,
  order_id   TEXT NOT NULL REFERENCES orders (id),
  text       TEXT NOT NULL,
  urgent     INTEGER NOT NULL DEFAULT 0 CHECK (urgent IN (0, 1)),
  author     TEXT NOT NULL,
  created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
);

CREATE INDEX orders_by_customer ON orders (customer_id, placed_at);
CREATE INDEX notes_by_order ON order_notes (order_id);

INSERT INTO customers VALUES
  ( 3, 'Hanna Lindqvist', 'hanna.lindqvist@example.com', 'Uppsala', '2024-03-11'),
  ( 5, 'Marek Nowak',     'marek.nowak@example.com',     'Gdansk',  '2024-07-02'),
  ( 7, 'Ines Carvalho',   'ines.carvalho@example.com',   'Porto',   '2024-11-19'),
  ( 8, 'Jonas Weber',     'jonas.weber@example.com',     'Leipzig', '2025-02-05'),
  (11, 'Aoife Brennan',   'aoife.brennan@example.com',   'Galway',  '2025-08-23'),
  (12, 'Lucas Peeters',   'lucas.peeters@example.com',   'Ghent',   '2026-01-14');

INSERT INTO products VALUES
  ('KET-10', 'Gooseneck kettle 1 l',     59.00,  24),
  ('MUG-21', 'Stoneware mug blue',       14.50, 180),
  ('MUG-22', 'Stoneware mug sand',       14.50,  95),
  ('GRI-30', 'Hand coffee grinder',      79.00,  17),
  ('FIL-41', 'Paper filters 100 pieces',  6.90, 640),
  ('DRI-45', 'Glass dripper',            24.90,  52),
  ('COF-50', 'House blend coffee 1 kg',  21.80, 310),
  ('COF-51', 'Decaf coffee 500 g',       13.40, 120),
  ('TEA-60', 'Green tea 100 g',           9.80,  75),
  ('SCA-70', 'Kitchen scale with timer', 38.50,   0);

INSERT INTO orders VALUES
  ('ORD-1001',  7, 'shipped',   '2026-09-02T08:14:00Z', 122.60),
  ('ORD-1002',  3, 'delivered', '2026-09-03T17:40:00Z',  59.00),
  ('ORD-1003',  8, 'delivered', '2026-09-05T11:05:00Z',  71.80),
  ('ORD-1004',  5, 'returned',  '2026-09-08T19:22:00Z',  38.50),
  ('ORD-1005', 11, 'delivered', '2026-09-09T07:51:00Z',  65.40),
  ('ORD-1006',  7, 'delivered', '2026-09-12T13:30:00Z',  45.60),
  ('ORD-1007', 12, 'cancelled', '2026-09-15T21:08:00Z',  79.00),
  ('ORD-1008',  3, 'delivered', '2026-09-19T10:17:00Z',  48.60),
  ('ORD-1009',  8, 'returned',  '2026-09-22T15:45:00Z',  83.90),
  ('ORD-1010',  5, 'delivered', '2026-09-26T09:33:00Z',  53.60),
  ('ORD-1011',  7, 'returned',  '2026-09-30T18:02:00Z',  87.00),
  ('ORD-1012', 11, 'shipped',   '2026-10-02T12:29:00Z', 117.50),
  ('ORD-1013', 12, 'delivered', '2026-10-05T08:56:00Z',  53.60),
  ('ORD-1014',  3, 'cancelled', '2026-10-07T20:11:00Z',  14.50),
  ('ORD-1015',  8, 'shipped',   '2026-10-10T14:38:00Z', 130.80),
  ('ORD-1016',  7, 'open',      '2026-10-13T09:03:00Z',  88.40),
  ('ORD-1017',  5, 'open',      '2026-10-14T16:47:00Z',  92.40),
  ('ORD-1018',  7, 'open',      '2026-10-17T07:25:00Z',  78.10),
  ('ORD-1019', 11, 'open',      '2026-10-19T11:59:00Z',  58.00),
  ('ORD-1020',  7, 'open',      '2026-10-21T22:14:00Z',  38.50),
  ('ORD-1021', 12, 'shipped',   '2026-10-23T13:42:00Z',  99.20),
  ('ORD-1022',  7, 'open',      '2026-10-26T10:08:00Z', 113.80),
  ('ORD-1023',  3, 'open',      '2026-10-28T17:31:00Z', 122.40),
  ('ORD-1024',  8, 'open',      '2026-10-30T08:20:00Z',  31.60);

INSERT INTO order_lines VALUES
  ('ORD-1001', 'GRI-30', 1, 79.00),
  ('ORD-1001', 'COF-50', 2, 21.80),
  ('ORD-1002', 'KET-10', 1, 59.00),
  ('ORD-1003', 'MUG-21', 4, 14.50),
  ('ORD-1003', 'FIL-41', 2,  6.90),
  ('ORD-1004', 'SCA-70', 1, 38.50),
  ('ORD-1005', 'COF-50', 3, 21.80),
  ('ORD-1006', 'DRI-45', 1, 24.90),
  ('ORD-1006', 'FIL-41', 3,  6.90),
  ('ORD-1007', 'GRI-30', 1, 79.00),
  ('ORD-1008', 'TEA-60', 2,  9.80),
  ('ORD-1008', 'MUG-22', 2, 14.50),
  ('ORD-1009', 'KET-10', 1, 59.00),
  ('ORD-1009', 'DRI-45', 1, 24.90),
  ('ORD-1010', 'COF-51', 4, 13.40),
  ('ORD-1011', 'MUG-22', 6, 14.50),
  ('ORD-1012', 'SCA-70', 1, 38.50),
  ('ORD-1012', 'GRI-30', 1, 79.00),
  ('ORD-1013', 'COF-50', 1, 21.80),
  ('ORD-1013', 'FIL-41', 1,  6.90),
  ('ORD-1013', 'DRI-45', 1, 24.90),
  ('ORD-1014', 'MUG-21', 1, 14.50),
  ('ORD-1015', 'COF-50', 6, 21.80),
  ('ORD-1016', 'KET-10', 1, 59.00),
  ('ORD-1016', 'TEA-60', 3,  9.80),
  ('ORD-1017', 'GRI-30', 1, 79.00),
  ('ORD-1017', 'COF-51', 1, 13.40),
  ('ORD-1018', 'COF-50', 2, 21.80),
  ('ORD-1018', 'FIL-41', 5,  6.90),
  ('ORD-1019', 'MUG-21', 2, 14.50),
  ('ORD-1019', 'MUG-22', 2, 14.50),
  ('ORD-1020', 'SCA-70', 1, 38.50),
  ('ORD-1021', 'DRI-45', 2, 24.90),
  ('ORD-1021', 'FIL-41', 4,  6.90),
  ('ORD-1021', 'COF-50', 1, 21.80),
  ('ORD-1022', 'MUG-21', 6, 14.50),
  ('ORD-1022', 'COF-51', 2, 13.40),
  ('ORD-1023', 'KET-10', 1, 59.00),
  ('ORD-1023', 'DRI-45', 1, 24.90),
  ('ORD-1023', 'SCA-70', 1, 38.50),
  ('ORD-1024', 'TEA-60', 1,  9.80),
  ('ORD-1024', 'COF-50', 1, 21.80);

INSERT INTO order_notes VALUES
  (1, 'ORD-1001', 'Customer asks where the parcel is. Last scan is nine days old.',  1, 'Petra', '2026-09-16T09:12:00Z'),
  (2, 'ORD-1001', 'Search opened with the carrier.',                                 0, 'Petra', '2026-09-16T09:30:00Z'),
  (3, 'ORD-1004', 'Display stays dark with fresh batteries. Refund approved.',       0, 'Milan', '2026-09-18T14:05:00Z'),
  (4, 'ORD-1007', 'Cancelled before packing at the wish of the customer.',           0, 'Milan', '2026-09-15T21:40:00Z'),
  (5, 'ORD-1009', 'Kettle leaks at the handle. Photo is on file.',                   1, 'Petra', '2026-09-29T10:21:00Z'),
  (6, 'ORD-1011', 'Ordered the wrong colour. Will order blue instead.',              0, 'Sofia', '2026-10-08T16:48:00Z'),
  (7, 'ORD-1020', 'Scale is out of stock. Supplier expects it on 9 November.',       0, 'Sofia', '2026-10-22T08:03:00Z'),
  (8, 'ORD-1023', 'Please hold until the scale is back and send all in one parcel.', 0, 'Milan', '2026-10-29T09:55:00Z');

COMMIT;
