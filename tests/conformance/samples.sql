-- The rows behind test://template/{id}/data.
CREATE TABLE samples (id TEXT PRIMARY KEY, data TEXT NOT NULL);
INSERT INTO samples VALUES ('123', 'Data for ID: 123'), ('456', 'Data for ID: 456');
