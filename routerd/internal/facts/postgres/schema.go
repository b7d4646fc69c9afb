package postgres

// schemaVersion is what trunkline_schema says of tables this program writes.
const schemaVersion = 1

// Schema makes the tables; it may be run again. They stand in the first schema
// of the user's search_path. Times are nanoseconds since 1970, machine time, 0
// for never: exact, as in the routers' files. The views show them as dates.
const Schema = `
CREATE TABLE IF NOT EXISTS fact (
	idx   bigint  NOT NULL,
	n     integer NOT NULL,
	at    bigint  NOT NULL,
	kind  text    NOT NULL,
	call  text    NOT NULL,
	leg   text    NOT NULL,
	agent text    NOT NULL,
	queue text    NOT NULL,
	node  text    NOT NULL,
	attrs jsonb   NOT NULL,
	PRIMARY KEY (idx, n)
);
CREATE INDEX IF NOT EXISTS fact_at ON fact USING brin (at);
CREATE INDEX IF NOT EXISTS fact_call ON fact (call) WHERE call <> '';

CREATE TABLE IF NOT EXISTS call_cdr (
	idx         bigint  NOT NULL,
	n           integer NOT NULL,
	call        text    NOT NULL,
	outcome     text    NOT NULL,
	ended_by    text    NOT NULL,
	cause       text    NOT NULL,
	code        integer NOT NULL,
	trunk       text    NOT NULL,
	edge        text    NOT NULL,
	from_number text    NOT NULL,
	to_number   text    NOT NULL,
	sip_call_id text    NOT NULL,
	queue       text    NOT NULL,
	agent       text    NOT NULL,
	node        text    NOT NULL,
	ticket      bigint  NOT NULL,
	offers      integer NOT NULL,
	arrived     bigint  NOT NULL,
	answered    bigint  NOT NULL,
	enqueued    bigint  NOT NULL,
	bridged     bigint  NOT NULL,
	ended       bigint  NOT NULL,
	codec       text    NOT NULL,
	suite       text    NOT NULL,
	media       text    NOT NULL,
	PRIMARY KEY (idx, n)
);
CREATE INDEX IF NOT EXISTS call_cdr_arrived ON call_cdr (arrived);
CREATE INDEX IF NOT EXISTS call_cdr_queue ON call_cdr (queue, arrived);
CREATE INDEX IF NOT EXISTS call_cdr_agent ON call_cdr (agent, arrived) WHERE agent <> '';

CREATE TABLE IF NOT EXISTS leg_cdr (
	idx      bigint  NOT NULL,
	n        integer NOT NULL,
	call     text    NOT NULL,
	leg      text    NOT NULL,
	role     text    NOT NULL,
	agent    text    NOT NULL,
	cause    text    NOT NULL,
	code     integer NOT NULL,
	started  bigint  NOT NULL,
	answered bigint  NOT NULL,
	ended    bigint  NOT NULL,
	codec    text    NOT NULL,
	suite    text    NOT NULL,
	media    text    NOT NULL,
	PRIMARY KEY (idx, n)
);
CREATE INDEX IF NOT EXISTS leg_cdr_call ON leg_cdr (call);

CREATE TABLE IF NOT EXISTS agent_span (
	idx    bigint  NOT NULL,
	n      integer NOT NULL,
	agent  text    NOT NULL,
	began  bigint  NOT NULL,
	ended  bigint  NOT NULL,
	status text    NOT NULL,
	reason text    NOT NULL,
	state  text    NOT NULL,
	call   text    NOT NULL,
	queue  text    NOT NULL,
	PRIMARY KEY (idx, n)
);
CREATE INDEX IF NOT EXISTS agent_span_ended ON agent_span (ended);
CREATE INDEX IF NOT EXISTS agent_span_agent ON agent_span (agent, ended);

CREATE OR REPLACE VIEW call_report AS SELECT
	call, outcome, ended_by, cause, code, trunk, from_number, to_number, queue, agent, ticket, offers,
	to_timestamp(arrived / 1e9) AS arrived, to_timestamp(nullif(answered, 0) / 1e9) AS answered,
	to_timestamp(nullif(enqueued, 0) / 1e9) AS enqueued, to_timestamp(nullif(bridged, 0) / 1e9) AS bridged,
	to_timestamp(ended / 1e9) AS ended,
	CASE WHEN enqueued = 0 THEN 0 WHEN bridged <> 0 THEN bridged - enqueued ELSE ended - enqueued END / 1e9 AS wait_seconds,
	CASE WHEN bridged = 0 THEN 0 ELSE ended - bridged END / 1e9 AS talk_seconds
	FROM call_cdr;
CREATE OR REPLACE VIEW agent_report AS SELECT
	agent, status, reason, state, call, queue, to_timestamp(began / 1e9) AS began, to_timestamp(ended / 1e9) AS ended,
	(ended - began) / 1e9 AS seconds
	FROM agent_span;

CREATE TABLE IF NOT EXISTS trunkline_schema (version integer PRIMARY KEY);
INSERT INTO trunkline_schema VALUES (1) ON CONFLICT DO NOTHING;
`
