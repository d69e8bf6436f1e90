/*-------------------------------------------------------------------------
 *
 * disturb.c
 *	  What goes on beside the checker's readers and writers.
 *
 *-------------------------------------------------------------------------
 */
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>

#include "checker.h"

/*-------------------------------------------------------------------------
 * Rebuilds
 *-------------------------------------------------------------------------
 */

void
rebuilder_main(void)
{
	Reader	   *stats = &shared->readers[nreaders];
	PGconn	   *conn;

	on_standby = read_conninfo != NULL;
	conn = connect_server(&stats->pid);
	while (!stopped())
	{
		reconnect(&conn, &stats->pid);
		atomic_fetch_add(&shared->rebuilds, 1);
		switch (below(6))
		{
			case 0:
				(void) execute(conn, "SELECT summary_cache_invalidate('checker')");
				break;
			case 1:
				(void) execute(conn, "SELECT summary_cache_invalidate('checker', 'numbers')");
				break;
			case 2:
				if (mode == M_INLINE || mode == M_PARTS)
					(void) execute(conn, "SELECT summary_cache_invalidate('checker', 'others')");
				break;
			default:
				(void) fetch(conn, stats, true, -1, 0, false);
		}
		if (mode == M_FULL)
		{
			/* that fit beside each other; of which one fits, or one section; or nothing */
			static const int sizes[] = {0, 1000, 50000, 200000, 350000, 600000, 1500000};

			(void) execute(conn, "UPDATE checker_filler SET n = %d, rival = %d",
						   sizes[one_in(2) ? 1 : below(7)], sizes[below(7)]);
		}
		if (mode == M_FAULTS && one_in(8))
			/*
			 * Builders run into their lock_timeout.  This has one as well: it may wait
			 * for a prepared transaction, and who is to finish that for a read that
			 * waits for this.
			 */
			(void) execute(conn, "DO $$BEGIN SET LOCAL lock_timeout = '1s';"
						   " LOCK TABLE checker_0 IN ACCESS EXCLUSIVE MODE; PERFORM pg_sleep(0.005); END$$");
		/* keep the tables small; the greatest number of each writer stays */
		if (mode == M_COPY && !on_standby && one_in(10))
			for (int t = 0; t < ntables; t++)
				(void) execute(conn, "DELETE FROM checker_%d a WHERE v < (SELECT max(v) FROM checker_%d b"
							   " WHERE b.w = a.w)", t, t);
		rest(rebuild_us / 2 + below(rebuild_us));
	}
	disconnect(conn);
}

/*-------------------------------------------------------------------------
 * Faults
 *-------------------------------------------------------------------------
 */

/* A number that a query gives; 0 if it gives none, or fails. */
static long
number_or_zero(PGconn *conn, const char *format, int argument)
{
	char		sql[200];
	PGresult   *result;
	long		value;

	snprintf(sql, sizeof(sql), format, argument);
	result = PQexec(conn, sql);
	value = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1 ?
		atol(PQgetvalue(result, 0, 0)) : 0;
	PQclear(result);
	return value;
}

/* SIGKILL for backends and the worker. */
static void
crash(PGconn **conn)
{
	int			victim = atomic_load(&shared->writers[below(nwriters)].pid);
	long		pid;

	for (int i = 0; i < 100 && !stopped(); i++)
		rest(5000 + below(10000));
	reconnect(conn, NULL);
	/* only what is a process of this server at this moment */
	pid = number_or_zero(*conn, one_in(3) ?
						 "SELECT max(pid) FROM pg_stat_activity WHERE backend_type = 'summary_cache worker'" :
						 "SELECT pid FROM pg_stat_activity WHERE pid = %d", victim);
	if (pid > 1 && kill((pid_t) pid, SIGKILL) == 0)
		atomic_fetch_add(&shared->faults, 1);
}

void
killer_main(void)
{
	PGconn	   *conn = connect_server(NULL);

	while (mode == M_CRASH && !stopped())
		crash(&conn);
	while (!stopped())
	{
		int			victim = below(2 * nwriters + nreaders + 1);
		int			pid = atomic_load(victim < nwriters ? &shared->writers[victim].pid :
									  victim < 2 * nwriters ? &shared->writers[victim - nwriters].other_pid :
									  &shared->readers[victim - 2 * nwriters].pid);

		rest(1000 + below(40000));
		switch (below(4))
		{
			case 0:
				(void) execute(conn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
							   " WHERE backend_type = 'summary_cache worker'");
				break;
			case 1:
				(void) execute(conn, "SELECT pg_terminate_backend(%d)", pid);
				break;
			default:
				(void) execute(conn, "SELECT pg_cancel_backend(%d)", pid);
		}
		atomic_fetch_add(&shared->faults, 1);
	}
	disconnect(conn);
}

/* What a query gives as text, to be freed. */
static char *
text(PGconn *conn, const char *sql)
{
	PGresult   *result = PQexec(conn, sql);
	char	   *value;

	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
		die("%s: %s", sql, PQerrorMessage(conn));
	value = strdup(PQgetvalue(result, 0, 0));
	PQclear(result);
	return value;
}

/* The whole server ends, and is started again. */
void
restarter_main(void)
{
	PGconn	   *conn = connect_server(NULL);
	char	   *bindir = text(conn, "SELECT setting FROM pg_config WHERE name = 'BINDIR'");
	char	   *data = text(conn, "SHOW data_directory");
	char		pidfile[2000];

	disconnect(conn);
	snprintf(pidfile, sizeof(pidfile), "%s/postmaster.pid", data);
	for (;;)
	{
		char		command[8000];
		const char *how = one_in(4) ? "fast" : "immediate";
		bool		started = false;

		for (int i = 0; i < 100 && !stopped(); i++)
			rest(5000 + below(5000));
		if (stopped())
			break;
		if (one_in(2))
		{
			FILE	   *file = fopen(pidfile, "r");
			long		pid = 0;

			if (file == NULL || fscanf(file, "%ld", &pid) != 1 || pid <= 1 || kill((pid_t) pid, SIGKILL) != 0)
				die("could not kill the server of %s", pidfile);
			fclose(file);
		}
		atomic_fetch_add(&shared->faults, 1);
		snprintf(command, sizeof(command), "'%s/pg_ctl' restart -w -s -m %s -D '%s' -l '%s' >/dev/null 2>&1",
				 bindir, how, data, server_log);
		/* the children of a killed one go when they notice; until then the directory is in use */
		for (int attempt = 0; attempt < 600 && !started; attempt++)
		{
			started = system(command) == 0;
			if (!started)
				rest(100000);
		}
		if (!started)
			die("the server did not start: %s", command);
	}
	free(bindir);
	free(data);
}

/*-------------------------------------------------------------------------
 * DDL
 *-------------------------------------------------------------------------
 */

/*
 * Execute commands after which a statement's number has moved by one, and ask
 * at once.
 */
static void
move(PGconn *conn, int ddl, const char *format,...)
{
	char		sql[2000];
	va_list		args;
	int			w = nwriters + ddl;
	uint64_t	value = atomic_load(&shared->writers[w].committed) + 1;

	va_start(args, format);
	vsnprintf(sql, sizeof(sql), format, args);
	va_end(args);
	if (commit(conn, w, value, sql))
		(void) fetch(conn, &shared->readers[nreaders], false, w, value, false);
	atomic_fetch_add(&shared->faults, 1);
}

/*
 * Partitions add to a number what is in them: -1 and 1 when they come, and
 * when they go the opposite, which the row in partition 0 makes up for.
 */
static void
move_partition(PGconn *conn, Ddl ddl)
{
	static bool detached = false;
	int			w = nwriters + ddl;

	switch (ddl)
	{
		case D_ATTACH:
			if (!detached)
				move(conn, ddl, "ALTER TABLE checker_0 DETACH PARTITION checker_0_3%s",
					 one_in(2) ? " CONCURRENTLY" : "");
			else
			{
				(void) execute(conn, "UPDATE checker_0_3 SET v = 1");
				move(conn, ddl, "ALTER TABLE checker_0 ATTACH PARTITION checker_0_3 FOR VALUES IN (3)");
				move(conn, ddl, "BEGIN; UPDATE checker_0 SET v = -1 WHERE w = %d AND part = 3;"
					 " UPDATE checker_0 SET v = v + 3 WHERE w = %d AND part = 0; COMMIT", w, w);
			}
			detached = !detached;
			break;

		case D_TRUNCATE:
			move(conn, ddl, "TRUNCATE checker_0_2");
			move(conn, ddl, "BEGIN; INSERT INTO checker_0 (w, v, part) VALUES (%d, -1, 2);"
				 " UPDATE checker_0 SET v = v + 2 WHERE w = %d AND part = 0; COMMIT", w, w);
			break;

		default:
			(void) execute(conn, "CREATE TABLE checker_0_4 PARTITION OF checker_0 FOR VALUES IN (4)");
			/* directly, where the root's triggers do not fire */
			move(conn, ddl, "INSERT INTO checker_0_4 (w, v, part) VALUES (%d, 1, 4)", w);
			move(conn, ddl, "BEGIN; DELETE FROM checker_0_4;"
				 " UPDATE checker_0 SET v = v + 2 WHERE w = %d AND part = 0; COMMIT", w);
			(void) execute(conn, "DROP TABLE checker_0_4");
	}
}

void
ddl_main(void)
{
	PGconn	   *conn = connect_server(NULL);

	while (!stopped())
	{
		Ddl			ddl = below(DDLS);
		unsigned long long next = atomic_load(&shared->writers[nwriters + ddl].committed) + 1;

		switch (ddl)
		{
			case D_VIEW:
				if (one_in(4))
					(void) execute(conn, "BEGIN; CREATE OR REPLACE VIEW checker_view AS SELECT %llu::bigint AS v; ROLLBACK",
								   (unsigned long long) NEVER + next);
				move(conn, ddl, "CREATE OR REPLACE VIEW checker_view AS SELECT %llu::bigint AS v", next);
				break;
			case D_FUNCTION:
				/* takes no lock that anybody waits for */
				if (one_in(4))
				{
					(void) execute(conn, "BEGIN");
					(void) execute(conn, "CREATE OR REPLACE FUNCTION checker_function() RETURNS bigint"
								   " LANGUAGE sql STABLE AS 'SELECT %llu::bigint'", next);
					(void) execute(conn, "PREPARE TRANSACTION 'checker_ddl'");
					move(conn, ddl, "COMMIT PREPARED 'checker_ddl'");
				}
				else
					move(conn, ddl, "CREATE OR REPLACE FUNCTION checker_function() RETURNS bigint"
						 " LANGUAGE sql STABLE AS 'SELECT %llu::bigint'", next);
				break;
			case D_MATVIEW:
				(void) execute(conn, "UPDATE checker_base SET v = %llu", next);
				move(conn, ddl, "REFRESH MATERIALIZED VIEW %s checker_matview", one_in(2) ? "CONCURRENTLY" : "");
				break;
			case D_REWRITE:
				move(conn, ddl, "ALTER TABLE checker_rewrite ALTER v TYPE bigint USING v + 1");
				break;
			case D_COLUMN:
				/* a table has 1600 columns, dropped ones included */
				if (next < 1500)
					move(conn, ddl, "ALTER TABLE checker_column DROP v, ADD v bigint DEFAULT %llu", next);
				break;
			case D_TRIGGER:
				(void) execute(conn, "ALTER TABLE checker_trigger DISABLE TRIGGER %s", one_in(2) ? "ALL" : "USER");
				move(conn, ddl, "UPDATE checker_trigger SET v = v + 1");
				(void) execute(conn, "ALTER TABLE checker_trigger ENABLE TRIGGER %s", one_in(2) ? "ALL" : "USER");
				move(conn, ddl, "UPDATE checker_trigger SET v = v + 1");
				break;
			default:
				move_partition(conn, ddl);
		}
		/* of the table that the writers write */
		if (one_in(8))
			(void) execute(conn, "ALTER TABLE checker_0 ALTER v TYPE bigint USING v + 0");
		if (one_in(8))
			(void) execute(conn, "ALTER TABLE checker_0 DISABLE TRIGGER ALL; ALTER TABLE checker_0 ENABLE TRIGGER ALL");
		rest(below(10000));
	}
	disconnect(conn);
}

/* DDL that changes nothing of the document. */
static void
change_nothing(PGconn *conn)
{
	switch (below(5))
	{
		case 0:
			(void) execute(conn, "REFRESH MATERIALIZED VIEW checker_matview");
			break;
		case 1:
			(void) execute(conn, "CREATE TABLE checker_report AS SELECT * FROM checker_0; DROP TABLE checker_report");
			break;
		case 2:
			(void) execute(conn, "GRANT SELECT ON checker_0 TO pg_monitor; REVOKE SELECT ON checker_0 FROM pg_monitor");
			break;
		case 3:
			(void) execute(conn, "BEGIN; CREATE TABLE checker_report (n int)");
			(void) fetch(conn, &shared->readers[nreaders], false, -1, 0, true);
			(void) execute(conn, "ROLLBACK");
			break;
		default:
			(void) execute(conn, "CREATE FUNCTION checker_unused() RETURNS int LANGUAGE sql AS 'SELECT 1'; DROP FUNCTION checker_unused()");
	}
	atomic_fetch_add(&shared->faults, 1);
	(void) fetch(conn, &shared->readers[nreaders], false, -1, 0, false);
}

/*
 * A view is another, and a name is another view's, since there is one in an earlier
 * schema of the section's search path, or none any more.
 */
void
names_main(void)
{
	PGconn	   *conn = connect_server(NULL);
	bool		hidden = false;

	while (!stopped())
	{
		unsigned long long view = atomic_load(&shared->writers[nwriters + N_VIEW].committed) + 1;
		unsigned long long name = atomic_load(&shared->writers[nwriters + N_NAME].committed) + 1;

		switch (below(4))
		{
			case 0:
				if (one_in(4))
					(void) execute(conn, "BEGIN; CREATE OR REPLACE VIEW checker_view AS SELECT %llu::bigint AS v; ROLLBACK",
								   (unsigned long long) NEVER + view);
				if (one_in(4))
				{
					(void) execute(conn, "BEGIN");
					(void) execute(conn, "CREATE OR REPLACE VIEW checker_view AS SELECT %llu::bigint AS v", view);
					(void) execute(conn, "PREPARE TRANSACTION 'checker_names'");
					move(conn, N_VIEW, "COMMIT PREPARED 'checker_names'");
				}
				else
					move(conn, N_VIEW, "CREATE OR REPLACE VIEW checker_view AS SELECT %llu::bigint AS v", view);
				break;
			case 1:
				if (!hidden)
					move(conn, N_NAME, "CREATE VIEW checker_first.checker_named AS SELECT %llu::bigint AS v", name);
				else
				{
					(void) execute(conn, "CREATE OR REPLACE VIEW public.checker_named AS SELECT %llu::bigint AS v", name);
					move(conn, N_NAME, "DROP VIEW checker_first.checker_named");
				}
				hidden = !hidden;
				break;
			default:
				change_nothing(conn);
		}
		rest(below(5000));
	}
	disconnect(conn);
}

/* The documents of both parents: what is below them, and all that has been committed there. */
static void
read_above(PGconn *conn, bool below_top, bool below_other)
{
	uint64_t	committed = 0;
	PGresult   *result;

	for (int w = 0; w < nnumbers; w++)
		committed += atomic_load(&shared->writers[w].committed);
	result = read_summary(conn, "SELECT status, document->>'top', document->>'other', document->>'top_sum',"
						  " document->>'other_sum' FROM summary_cache_fetch('checker_above')");
	if (result == NULL)
		return;
	if (strcmp(PQgetvalue(result, 0, 0), "stale") != 0)
	{
		if (atoi(PQgetvalue(result, 0, 1)) != (below_top ? nnumbers : 0) ||
			atoi(PQgetvalue(result, 0, 2)) != (below_other ? nnumbers : 0))
			violation(LOST, "%s: %s rows below one table, %s below the other", PQgetvalue(result, 0, 0),
					  PQgetvalue(result, 0, 1), PQgetvalue(result, 0, 2));
		if ((below_top && strtoull(PQgetvalue(result, 0, 3), NULL, 10) < committed) ||
			(below_other && strtoull(PQgetvalue(result, 0, 4), NULL, 10) < committed))
			violation(LOST, "%s: below one table the sum is %s, below the other %s, but %llu had been committed",
					  PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 3), PQgetvalue(result, 0, 4),
					  (unsigned long long) committed);
	}
	PQclear(result);
}

/*
 * The table in the middle of a tree leaves its parent for another.  This takes no
 * lock on the table below, whose writers are open, or prepared, meanwhile: also
 * one that ends only afterwards, so that a command that waited for it would run
 * into its lock_timeout.  What it brings along is counted in the documents of
 * both parents.
 */
void
inherit_main(void)
{
	PGconn	   *conn;
	PGconn	   *other;
	Writer	   *me = &shared->writers[nwriters];
	bool		below_top = false;
	bool		below_other = false;

	is_writer = true;
	conn = connect_server(NULL);
	other = connect_server(NULL);
	while (!stopped())
	{
		uint64_t	next = atomic_load(&me->committed) + 1;
		bool		holds = one_in(2);
		bool		prepares = holds && one_in(2);

		if (holds)
		{
			(void) execute(other, "BEGIN; UPDATE checker_0_0 SET v = %llu WHERE w = %d",
						   (unsigned long long) next, nwriters);
			if (prepares)
				(void) execute(other, "PREPARE TRANSACTION 'checker_held'");
		}
		if (!below_top && !below_other)
			below_top = execute(conn, "ALTER TABLE checker_0 INHERIT checker_top");
		else if (below_top && !below_other && one_in(2))
			below_other = execute(conn, "ALTER TABLE checker_0 INHERIT checker_other");
		else if (below_top)
			below_top = !execute(conn, "ALTER TABLE checker_0 NO INHERIT checker_top");
		else
			below_other = !execute(conn, "ALTER TABLE checker_0 NO INHERIT checker_other");
		atomic_fetch_add(&shared->faults, 1);

		/* a build between a writer's statement and its commit is what this is about */
		(void) fetch(conn, &shared->readers[nreaders], one_in(2), -1, 0, false);
		read_above(conn, below_top, below_other);
		if (holds && commit(other, nwriters, next, prepares ? "COMMIT PREPARED 'checker_held'" : "COMMIT"))
		{
			(void) fetch(conn, &shared->readers[nreaders], false, -1, 0, false);
			read_above(conn, below_top, below_other);
		}
		rest(below(10000));
	}
	disconnect(conn);
	disconnect(other);
}

/*
 * Beside writers without rights on the extension's schema: what makes their
 * sessions look everything up anew, without being DDL.
 */
void
closed_main(void)
{
	PGconn	   *conn = connect_server(NULL);

	while (!stopped())
	{
		switch (below(3))
		{
			case 0:
				(void) execute(conn, "TRUNCATE checker_free");
				break;
			case 1:
				(void) execute(conn, "ANALYZE checker_free");
				break;
			default:
				(void) execute(conn, "ANALYZE checker_%d", below(ntables));
		}
		atomic_fetch_add(&shared->faults, 1);
		read_still(conn, "after an invalidation");
		rest(below(10000));
	}
	disconnect(conn);
}

/*-------------------------------------------------------------------------
 * Temporary objects
 *-------------------------------------------------------------------------
 */

/* Each leaves nothing behind.  All of it may be in a transaction that writes. */
static const char *const temporary_commands[] = {
	"CREATE TEMP TABLE tmp (id serial, v bigint GENERATED ALWAYS AS IDENTITY, n int DEFAULT 1);"
	"INSERT INTO tmp (n) VALUES (1), (2); ALTER TABLE tmp ALTER v RESTART; ALTER SEQUENCE tmp_id_seq RESTART; DROP TABLE tmp",
	"CREATE TEMP TABLE tmp (LIKE checker_still INCLUDING ALL); CREATE INDEX ON tmp (n);"
	"ALTER TABLE tmp ADD more int DEFAULT 2; ALTER TABLE tmp RENAME more TO other; INSERT INTO tmp VALUES (7);"
	"TRUNCATE tmp; ALTER TABLE tmp RENAME TO tmp2; DROP TABLE tmp2",
	"CREATE TEMP TABLE tmp AS SELECT * FROM checker_still; CREATE TEMP VIEW tmp_view AS SELECT * FROM checker_still;"
	"CREATE VIEW tmp_other AS SELECT * FROM tmp; CREATE OR REPLACE VIEW tmp_other AS SELECT id, n FROM tmp WHERE n > 0;"
	"COMMENT ON TABLE tmp IS 'mine'; ALTER VIEW tmp_other RENAME TO tmp_third; DROP VIEW tmp_view, tmp_third; DROP TABLE tmp",
	"SELECT n INTO TEMP tmp FROM checker_still; ANALYZE tmp; DROP TABLE pg_temp.tmp",
	"CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; SELECT pg_temp.f();"
	"CREATE OR REPLACE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 2';"
	"ALTER FUNCTION pg_temp.f() STABLE; GRANT EXECUTE ON FUNCTION pg_temp.f() TO PUBLIC; DROP FUNCTION pg_temp.f()",
	"CREATE TEMP TABLE tmp (n int); GRANT SELECT ON tmp TO PUBLIC; REVOKE SELECT ON tmp FROM PUBLIC;"
	"ALTER TABLE tmp ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON tmp USING (n > 0); DROP POLICY mine ON tmp; DROP TABLE tmp",
	"CREATE TEMP TABLE tmp (n int); CREATE FUNCTION pg_temp.t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
	"CREATE TRIGGER mine BEFORE INSERT ON tmp FOR EACH ROW EXECUTE FUNCTION pg_temp.t(); INSERT INTO tmp VALUES (1);"
	"ALTER TABLE tmp DISABLE TRIGGER ALL; ALTER TABLE tmp ENABLE TRIGGER ALL; DROP TRIGGER mine ON tmp;"
	"CREATE RULE mine AS ON INSERT TO tmp DO INSTEAD NOTHING; DROP RULE mine ON tmp; DROP TABLE tmp; DROP FUNCTION pg_temp.t()",
	"CREATE TEMP SEQUENCE tmp; SELECT nextval('tmp'); ALTER SEQUENCE tmp RESTART; DROP SEQUENCE tmp",
	"CREATE TYPE pg_temp.e AS ENUM ('a'); ALTER TYPE pg_temp.e RENAME VALUE 'a' TO 'b'; DROP TYPE pg_temp.e;"
	"CREATE DOMAIN pg_temp.d AS int CHECK (VALUE > 0); DROP DOMAIN pg_temp.d; CREATE TYPE pg_temp.c AS (a int); DROP TYPE pg_temp.c",
	"CREATE TEMP TABLE tmp (n int) PARTITION BY LIST (n); CREATE TEMP TABLE tmp1 PARTITION OF tmp FOR VALUES IN (1);"
	"INSERT INTO tmp VALUES (1); ALTER TABLE tmp DETACH PARTITION tmp1; DROP TABLE tmp1; DROP TABLE tmp",
	"CREATE TEMP TABLE tmp (n int PRIMARY KEY); CREATE TEMP TABLE tmp2 (n int REFERENCES tmp ON DELETE CASCADE);"
	"INSERT INTO tmp VALUES (1); INSERT INTO tmp2 VALUES (1); TRUNCATE tmp CASCADE; DROP TABLE tmp, tmp2",
	"SET LOCAL search_path = pg_temp, public; CREATE TABLE tmp (n int); CREATE VIEW tmp_view AS SELECT n FROM tmp;"
	"DROP VIEW tmp_view; DROP TABLE tmp; RESET search_path",
};

/* In a transaction.  Then it may keep nobody from a hit: not itself, nor, in another session, others. */
void
temporary_ddl(PGconn *conn, PGconn *other)
{
	const char *commands = temporary_commands[below((int) (sizeof(temporary_commands) / sizeof(temporary_commands[0])))];
	char		when[200];

	snprintf(when, sizeof(when), "after %.150s", commands);
	(void) execute(conn, "%s", commands);
	read_still(conn, when);
	if (other)
		read_still(other, when);
	atomic_fetch_add(&shared->faults, 1);
}

/*
 * Tables with the names of sources, and one that inherits from one, are seen by
 * nobody else, and leave others their hits.
 */
void
temporary_main(void)
{
	Reader	   *stats = &shared->readers[nreaders];
	PGconn	   *conn;
	PGconn	   *other = connect_server(NULL);

	is_writer = true;
	conn = connect_server(NULL);
	while (!stopped())
	{
		switch (below(8))
		{
			case 0:
				(void) execute(conn, "CREATE TEMP TABLE checker_0 (w int, v bigint); CREATE TEMP TABLE checker_still (id int);"
							   "INSERT INTO checker_0 VALUES (0, %llu)", (unsigned long long) NEVER);
				(void) fetch(conn, stats, one_in(2), -1, 0, false);
				read_still(conn, "beside a temporary table of its name");
				(void) execute(conn, "DROP TABLE pg_temp.checker_0, pg_temp.checker_still");
				break;
			case 1:
				/* its own reads have these rows, and are private */
				(void) execute(conn, "CREATE TEMP TABLE tmp () INHERITS (checker_still); INSERT INTO tmp VALUES (7)");
				read_still(other, "beside another session's temporary table that inherits");
				if (number(conn, "SELECT (document->>'still')::int FROM summary_cache_fetch('checker_still')") != 2)
					violation(OWN, "the rows of a temporary table that inherits are not in its session's document");
				(void) execute(conn, "DROP TABLE tmp");
				break;
			case 2:
				/* what is left goes with the session */
				(void) execute(conn, "CREATE TEMP TABLE checker_0 (id serial); CREATE FUNCTION pg_temp.g() RETURNS int LANGUAGE sql AS 'SELECT 1'");
				disconnect(conn);
				conn = connect_server(NULL);
				break;
			case 3:
				(void) execute(conn, "CREATE TEMP TABLE tmp (id serial)");
				(void) execute(conn, "DISCARD ALL");
				(void) execute(conn, "SET lock_timeout = " LOCK_BOUND);
				break;
			default:
				(void) execute(conn, "BEGIN");
				temporary_ddl(conn, other);
				(void) execute(conn, one_in(4) ? "ROLLBACK" : "COMMIT");
		}
		atomic_fetch_add(&shared->faults, 1);
		read_still(other, "after temporary DDL");
		read_still(conn, "after its own temporary DDL");
		rest(below(10000));
	}
	disconnect(conn);
	disconnect(other);
}

/*-------------------------------------------------------------------------
 * Locks of several sources
 *-------------------------------------------------------------------------
 */

static void
shuffle(int *numbers, int n)
{
	for (int i = n - 1; i > 0; i--)
	{
		int			j = below(i + 1);
		int			swapped = numbers[i];

		numbers[i] = numbers[j];
		numbers[j] = swapped;
	}
}

/* A command that takes a lock: for how long does it wait at most? */
static bool
execute_timed(PGconn *conn, const char *format, int argument)
{
	uint64_t	began = now_ns();
	bool		ok = execute(conn, format, argument);

	raise_to(&shared->longest, (now_ns() - began) / 1000);
	return ok;
}

/* All tables that nobody else writes get a new number, in any order. */
static void
truncate_all(PGconn *conn)
{
	uint64_t	value = atomic_load(&shared->writers[nwriters].committed) + 1;
	int			order[LOCK_TABLES];
	bool		ok;

	for (int i = 0; i < LOCK_TABLES; i++)
		order[i] = i;
	shuffle(order, LOCK_TABLES);
	ok = execute(conn, "BEGIN");
	for (int i = 0; i < LOCK_TABLES && ok; i++)
	{
		ok = execute_timed(conn, "TRUNCATE checker_lock_%d", order[i]) &&
			execute(conn, "INSERT INTO checker_lock_%d VALUES (%llu)", order[i], (unsigned long long) value);
		if (one_in(2))
			rest(below(10000));
	}
	if (!ok)
		(void) execute(conn, "ROLLBACK");
	else if (commit(conn, nwriters, value, "COMMIT"))
		(void) fetch(conn, &shared->readers[nreaders], false, nwriters, value, false);
}

/* The writers' tables and the others are locked in any order, but for the one that is held for long. */
static void
lock_all(PGconn *conn)
{
	static const char *const commands[] = {
		"LOCK TABLE %s%d IN ACCESS EXCLUSIVE MODE", "LOCK TABLE %s%d IN ACCESS EXCLUSIVE MODE",
		"LOCK TABLE %s%d IN SHARE ROW EXCLUSIVE MODE",
	};
	int			order[MAX_TABLES + LOCK_TABLES];
	int			n = ntables + LOCK_TABLES - 1;
	bool		ok;

	for (int i = 0; i < n; i++)
		order[i] = i;
	shuffle(order, n);
	ok = execute(conn, "BEGIN");
	for (int i = 0; i < n && ok; i++)
	{
		char		command[200];
		bool		theirs = order[i] < ntables;

		snprintf(command, sizeof(command), commands[below(3)], theirs ? "checker_" : "checker_lock_",
				 theirs ? order[i] : order[i] - ntables);
		ok = execute_timed(conn, command, 0);
		if (one_in(4))
			rest(below(5000));
	}
	(void) execute(conn, ok ? "COMMIT" : "ROLLBACK");
}

/*
 * No build, of the worker or of a reader, may be a reason for a deadlock with
 * these, nor for a long wait of these or of the writers.  All others that they
 * could wait for hold their locks for milliseconds only; but for one session
 * that keeps one source locked, which nobody else needs meanwhile.
 */
void
eager_main(void)
{
	PGconn	   *conn;
	PGconn	   *holder;
	uint64_t	held_until = 0;

	is_writer = true;
	conn = connect_server(NULL);
	holder = connect_server(NULL);
	/* rather be the victim than whoever waits as well */
	setup(conn, "SET deadlock_timeout = '200ms'");
	while (!stopped())
	{
		if (held_until > 0 && now_ns() > held_until)
		{
			(void) execute(holder, "COMMIT");
			held_until = 0;
		}
		if (held_until == 0 && one_in(100) &&
			execute(holder, "BEGIN; LOCK TABLE checker_lock_%d IN ACCESS EXCLUSIVE MODE", LOCK_TABLES - 1))
			held_until = now_ns() + UINT64_C(3000000000);
		if (held_until > 0 || one_in(2))
			lock_all(conn);
		else
			truncate_all(conn);
		atomic_fetch_add(&shared->faults, 1);
		/* the worker has its turn */
		rest(below(40000));
	}
	disconnect(holder);
	disconnect(conn);
}

/*-------------------------------------------------------------------------
 * The extension itself
 *-------------------------------------------------------------------------
 */

void
extension_main(void)
{
	PGconn	   *conn = connect_server(NULL);
	bool		defined = true;

	/* a deadlock with a reader may undo any of this: rather than wait for it long */
	setup(conn, "SET deadlock_timeout = '20ms'");
	while (!stopped() || !defined)
	{
		switch (below(4))
		{
			case 0:
				(void) execute(conn, "SELECT summary_cache_drop('checker')");
				defined = false;
				break;
			case 1:
				if (execute(conn, "DROP EXTENSION summary_cache CASCADE"))
					defined = false;
				break;
			case 2:
				(void) execute(conn, "BEGIN; DROP EXTENSION summary_cache CASCADE; SELECT 1 FROM pg_sleep(0.002); ROLLBACK");
				break;
			default:
				if (execute(conn, "BEGIN; DROP EXTENSION IF EXISTS summary_cache CASCADE; CREATE EXTENSION summary_cache; %s; COMMIT",
							define_command))
					defined = true;
		}
		if (PQtransactionStatus(conn) != PQTRANS_IDLE)
			(void) execute(conn, "ROLLBACK");
		atomic_fetch_add(&shared->faults, 1);
		rest(below(20000));
		if (!defined && execute(conn, "CREATE EXTENSION IF NOT EXISTS summary_cache") &&
			execute(conn, "%s", define_command))
			defined = true;
		for (int i = below(20); i > 0 && !stopped(); i--)
			rest(10000);
	}
	disconnect(conn);
}

/*-------------------------------------------------------------------------
 * Other databases
 *-------------------------------------------------------------------------
 */

#define SIDE	"checker_side"

/* A reader of the other database, until that ends or shall end. */
static void
read_side(void)
{
	PGconn	   *conn = connect_database(SIDE);

	for (;;)
	{
		uint64_t	committed = atomic_load(&shared->side);
		PGresult   *result;

		if (committed == NEVER)
			break;
		result = PQexec(conn, "SELECT status, document->>'n' FROM summary_cache_fetch('side')");
		if (PQresultStatus(result) != PGRES_TUPLES_OK)
		{
			/* a database is dropped by force, or was gone before this came */
			if (PQstatus(conn) == CONNECTION_OK)
				violation(ERRORS, "in another database: %s", PQerrorMessage(conn));
			PQclear(result);
			break;
		}
		if (strcmp(PQgetvalue(result, 0, 0), "stale") != 0 &&
			strtoull(PQgetvalue(result, 0, 1), NULL, 10) < committed)
			violation(LOST, "in another database: %s has %s, but %llu had been committed",
					  PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1), (unsigned long long) committed);
		PQclear(result);
	}
	disconnect(conn);
}

/* Each takes slots, sections, memory, a worker: all of which must come back. */
void
database_main(void)
{
	PGconn	   *conn = connect_server(NULL);

	setup(conn, "DROP DATABASE IF EXISTS " SIDE);
	while (!stopped())
	{
		PGconn	   *side;
		pid_t		readers[2];
		bool		force = one_in(2);

		setup(conn, "CREATE DATABASE " SIDE " TEMPLATE template0");
		side = connect_database(SIDE);
		setup(side, "CREATE EXTENSION summary_cache;"
			  "CREATE TABLE side (n bigint); INSERT INTO side VALUES (0); CREATE TABLE other (n bigint);"
			  "SELECT summary_cache_define('side', 'n', 'SELECT n FROM side');"
			  "SELECT summary_cache_define('side', 'others', 'SELECT count(*) AS c FROM other', refresh => 'inline')");
		atomic_store(&shared->side, 0);
		for (int r = 0; r < 2; r++)
		{
			readers[r] = fork();
			if (readers[r] < 0)
				die("fork failed");
			if (readers[r] == 0)
			{
				read_side();
				_exit(0);
			}
		}
		for (int n = 1; n <= 50; n++)
		{
			setup(side, "UPDATE side SET n = %d", n);
			atomic_store(&shared->side, n);
			rest(below(4000));
		}
		disconnect(side);
		if (force)
			setup(conn, "DROP DATABASE " SIDE " WITH (FORCE)");
		atomic_store(&shared->side, NEVER);
		for (int r = 0; r < 2; r++)
			(void) waitpid(readers[r], NULL, 0);
		if (!force)
			setup(conn, "DROP DATABASE " SIDE);
		atomic_fetch_add(&shared->faults, 1);
	}
	disconnect(conn);
}
