-- Three notes to start with.
CREATE TABLE notes (
  id         INTEGER PRIMARY KEY,
  title      TEXT NOT NULL,
  body       TEXT NOT NULL,
  created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
);
INSERT INTO notes (title, body, created_at) VALUES
  ('Dentist', 'Call for a new appointment in May.', '2026-03-02T09:15:00Z'),
  ('Bike', 'The rear brake squeaks; new pads are in the cellar.', '2026-03-14T18:40:00Z'),
  ('Book list', 'The Left Hand of Darkness; Invisible Cities.', '2026-04-01T20:05:00Z');
