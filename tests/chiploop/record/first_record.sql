-- A record as the first chiploop wrote it: its tables, triggers and rows, word for word.
BEGIN TRANSACTION;
CREATE TABLE audit (
	seq INTEGER NOT NULL,
	at_utc VARCHAR(40) NOT NULL,
	table_name VARCHAR(64) NOT NULL,
	row_id INTEGER NOT NULL,
	row_key VARCHAR(255) NOT NULL,
	row_sha256 VARCHAR(64) NOT NULL,
	previous VARCHAR(64) NOT NULL,
	hash VARCHAR(64) NOT NULL,
	PRIMARY KEY (seq),
	UNIQUE (previous)
);
INSERT INTO "audit" VALUES(1,'2025-01-01T00:00:00.000000+00:00','events',1,'r1/state/1','5c02b696a36e30aeec9aa3e93fdee7d9cd05a1c66ac1e5f330f9a1a8be85e78b','0000000000000000000000000000000000000000000000000000000000000000','25b025ea8026e3916122c89353acb860d8694d0dbf65b6ee568114409562bcf1');
INSERT INTO "audit" VALUES(2,'2025-01-01T00:00:01.000000+00:00','readouts',1,'r1/c01/C01/CCL26/72.0/p1','e0a65e2b523d4484387ad55524d30ceddf2b35d41af4dd6ee4319327e9037988','25b025ea8026e3916122c89353acb860d8694d0dbf65b6ee568114409562bcf1','0c41760d8e60ed1477186dc45510b54a6504c891d18f1991b68276c19c816f65');
INSERT INTO "audit" VALUES(3,'2025-01-01T00:00:02.000000+00:00','readouts',2,'r1/c01/C02/CCL26/72.0/p1','17a692e9ea444e64dd40e9a6475934eac55026662064ab05949336d94cf757f1','0c41760d8e60ed1477186dc45510b54a6504c891d18f1991b68276c19c816f65','4c0b1cd8885ccc77197e29ab0af346d87d6dcf0bff689f46cb99917bbd668788');
INSERT INTO "audit" VALUES(4,'2025-01-01T00:00:03.000000+00:00','proposals',1,'r1/c02/p1','7b199c9efb08e67048fbcb0cd92d7e0b270a65db80501dc76a8832afe34a99b7','4c0b1cd8885ccc77197e29ab0af346d87d6dcf0bff689f46cb99917bbd668788','a2cbb3880617de4a1afa3bab8344d859fd777327b58162e3a81f7022aeba2369');
INSERT INTO "audit" VALUES(5,'2025-01-01T00:00:04.000000+00:00','decisions',1,'r1/c02/p1','74f0413d524ef2ce8a1bd0d8c7a449081b668b9db05087b918c2dd5bddd4a8d4','a2cbb3880617de4a1afa3bab8344d859fd777327b58162e3a81f7022aeba2369','c9653dec3f0cee66b25877223c0bed0470733c5c7a715bf19ea2debe934f680b');
CREATE TABLE calibrations (
	run_id VARCHAR(64) NOT NULL,
	cycle INTEGER NOT NULL,
	attempt INTEGER NOT NULL,
	content TEXT NOT NULL,
	id INTEGER NOT NULL,
	natural_key VARCHAR(255) NOT NULL,
	at_utc VARCHAR(40) NOT NULL,
	PRIMARY KEY (id),
	UNIQUE (natural_key)
);
CREATE TABLE chips (
	run_id VARCHAR(64) NOT NULL,
	chip_id VARCHAR(64) NOT NULL,
	line VARCHAR(64) NOT NULL,
	donor VARCHAR(64) NOT NULL,
	id INTEGER NOT NULL,
	natural_key VARCHAR(255) NOT NULL,
	at_utc VARCHAR(40) NOT NULL,
	PRIMARY KEY (id),
	UNIQUE (natural_key)
);
CREATE TABLE decisions (
	run_id VARCHAR(64) NOT NULL,
	proposal_sha256 VARCHAR(64) NOT NULL,
	action VARCHAR(16) NOT NULL,
	"by" VARCHAR(255) NOT NULL,
	why TEXT NOT NULL,
	id INTEGER NOT NULL,
	natural_key VARCHAR(255) NOT NULL,
	at_utc VARCHAR(40) NOT NULL,
	PRIMARY KEY (id),
	UNIQUE (natural_key)
);
INSERT INTO "decisions" VALUES('r1','347301527af9cf51ab131d2f266ad097989130b28c55b39d7286631050a3ad32','approve','lab','fine',1,'r1/c02/p1','2025-01-01T00:00:04.000000+00:00');
CREATE TABLE events (
	run_id VARCHAR(64) NOT NULL,
	kind VARCHAR(64) NOT NULL,
	time_h FLOAT NOT NULL,
	content TEXT NOT NULL,
	id INTEGER NOT NULL,
	natural_key VARCHAR(255) NOT NULL,
	at_utc VARCHAR(40) NOT NULL,
	PRIMARY KEY (id),
	UNIQUE (natural_key)
);
INSERT INTO "events" VALUES('r1','state',0.0,'{"state":"running","why":""}',1,'r1/state/1','2025-01-01T00:00:00.000000+00:00');
CREATE TABLE proposals (
	run_id VARCHAR(64) NOT NULL,
	cycle INTEGER NOT NULL,
	attempt INTEGER NOT NULL,
	content TEXT NOT NULL,
	id INTEGER NOT NULL,
	natural_key VARCHAR(255) NOT NULL,
	at_utc VARCHAR(40) NOT NULL,
	PRIMARY KEY (id),
	UNIQUE (natural_key)
);
INSERT INTO "proposals" VALUES('r1',2,1,'{"doses":[1]}',1,'r1/c02/p1','2025-01-01T00:00:03.000000+00:00');
CREATE TABLE raw_files (
	run_id VARCHAR(64) NOT NULL,
	sha256 VARCHAR(64) NOT NULL,
	name VARCHAR(255) NOT NULL,
	kind VARCHAR(64) NOT NULL,
	size_bytes INTEGER NOT NULL,
	time_h FLOAT NOT NULL,
	id INTEGER NOT NULL,
	natural_key VARCHAR(255) NOT NULL,
	at_utc VARCHAR(40) NOT NULL,
	PRIMARY KEY (id),
	UNIQUE (natural_key)
);
CREATE TABLE readouts (
	run_id VARCHAR(64) NOT NULL,
	cycle INTEGER NOT NULL,
	chip_id VARCHAR(64) NOT NULL,
	readout VARCHAR(64) NOT NULL,
	value FLOAT,
	unit VARCHAR(40) NOT NULL,
	sd FLOAT,
	scale VARCHAR(16) NOT NULL,
	time_h FLOAT NOT NULL,
	window_start_h FLOAT,
	censoring VARCHAR(16) NOT NULL,
	lower FLOAT,
	upper FLOAT,
	n INTEGER NOT NULL,
	qc VARCHAR(16) NOT NULL,
	reasons TEXT NOT NULL,
	method TEXT NOT NULL,
	plate VARCHAR(255) NOT NULL,
	wells TEXT NOT NULL,
	raw_sha256 VARCHAR(64) NOT NULL,
	id INTEGER NOT NULL,
	natural_key VARCHAR(255) NOT NULL,
	at_utc VARCHAR(40) NOT NULL,
	PRIMARY KEY (id),
	UNIQUE (natural_key)
);
INSERT INTO "readouts" VALUES('r1',1,'C01','CCL26',812.5,'pg/mL',0.08,'log',72.0,48.0,'none',NULL,NULL,2,'ok','[]','','p1','["A1","B1"]','',1,'r1/c01/C01/CCL26/72.0/p1','2025-01-01T00:00:01.000000+00:00');
INSERT INTO "readouts" VALUES('r1',1,'C02','CCL26',NULL,'pg/mL',0.08,'log',72.0,48.0,'left',NULL,7.8,1,'warn','["below LLOQ"]','','p1','[]','',2,'r1/c01/C02/CCL26/72.0/p1','2025-01-01T00:00:02.000000+00:00');
CREATE TABLE runs (
	study_id INTEGER NOT NULL,
	seed INTEGER NOT NULL,
	simulated BOOLEAN NOT NULL,
	software_version VARCHAR(40) NOT NULL,
	settings TEXT NOT NULL,
	id INTEGER NOT NULL,
	natural_key VARCHAR(255) NOT NULL,
	at_utc VARCHAR(40) NOT NULL,
	PRIMARY KEY (id),
	FOREIGN KEY(study_id) REFERENCES studies (id),
	UNIQUE (natural_key)
);
CREATE TABLE studies (
	name VARCHAR(64) NOT NULL,
	content TEXT NOT NULL,
	id INTEGER NOT NULL,
	natural_key VARCHAR(255) NOT NULL,
	at_utc VARCHAR(40) NOT NULL,
	PRIMARY KEY (id),
	UNIQUE (natural_key)
);
CREATE TRIGGER studies_no_update BEFORE UPDATE ON studies BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER studies_no_delete BEFORE DELETE ON studies BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE INDEX ix_chips_run_id ON chips (run_id);
CREATE TRIGGER chips_no_update BEFORE UPDATE ON chips BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER chips_no_delete BEFORE DELETE ON chips BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE INDEX ix_raw_files_run_id ON raw_files (run_id);
CREATE TRIGGER raw_files_no_update BEFORE UPDATE ON raw_files BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER raw_files_no_delete BEFORE DELETE ON raw_files BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE INDEX ix_readouts_run_id ON readouts (run_id);
CREATE TRIGGER readouts_no_update BEFORE UPDATE ON readouts BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER readouts_no_delete BEFORE DELETE ON readouts BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE INDEX ix_calibrations_run_id ON calibrations (run_id);
CREATE TRIGGER calibrations_no_update BEFORE UPDATE ON calibrations BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER calibrations_no_delete BEFORE DELETE ON calibrations BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE INDEX ix_proposals_run_id ON proposals (run_id);
CREATE TRIGGER proposals_no_update BEFORE UPDATE ON proposals BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER proposals_no_delete BEFORE DELETE ON proposals BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE INDEX ix_decisions_run_id ON decisions (run_id);
CREATE TRIGGER decisions_no_update BEFORE UPDATE ON decisions BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER decisions_no_delete BEFORE DELETE ON decisions BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE INDEX ix_events_run_id ON events (run_id);
CREATE TRIGGER events_no_update BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER events_no_delete BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER runs_no_update BEFORE UPDATE ON runs BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER runs_no_delete BEFORE DELETE ON runs BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
COMMIT;
