/*-------------------------------------------------------------------------
 *
 * sessions.c
 *	  The checker's readers and writers.
 *
 *-------------------------------------------------------------------------
 */
#include "checker.h"

/*-------------------------------------------------------------------------
 * Readers
 *-------------------------------------------------------------------------
 */

/* Both in one REPEATABLE READ transaction must be the same, whatever the status. */
static void
read_repeatable(PGconn *conn, Reader *stats)
{
	char		sql[sizeof(document_query) + 200];
	PGresult   *result;
	bool		first = one_in(2);

	if (!execute(conn, "BEGIN ISOLATION LEVEL REPEATABLE READ"))
		return;
	/* a snapshot that gets old before the read: newer documents must not be served */
	if (first)
		(void) execute(conn, "SELECT 1 FROM checker_0 LIMIT 1");
	if (first && one_in(4))
		rest(below(5000));
	for (int i = below(3); i >= 0; i--)
	{
		Demand		demand;

		take_demand(conn, 0, &demand);
		snprintf(sql, sizeof(sql),
				 "SELECT f.status, f.document::text, '{\"w\":' || (%s)::text || '}'"
				 " FROM summary_cache_fetch('checker') f", document_query);
		result = query(conn, sql);
		if (result == NULL)
			break;
		(void) count_answer(stats, PQgetvalue(result, 0, 0), &demand);
		if (strcmp(PQgetvalue(result, 0, 1), PQgetvalue(result, 0, 2)) != 0)
			violation(DIFFER, "%s: %s instead of %s", PQgetvalue(result, 0, 0),
					  PQgetvalue(result, 0, 1), PQgetvalue(result, 0, 2));
		PQclear(result);
	}
	(void) execute(conn, "COMMIT");
}

void
reader_main(int number)
{
	Reader	   *stats = &shared->readers[number];
	PGconn	   *conn;

	on_standby = read_conninfo != NULL;
	conn = connect_server(&stats->pid);
	while (!stopped())
	{
		reconnect(&conn, &stats->pid);
		if (mode == M_RR && number % 3 != 2)
		{
			read_repeatable(conn, stats);
			continue;
		}
		/* of several tables: in mode eager it could be in a deadlock by itself */
		if (mode != M_EAGER && one_in(4))
			(void) look(conn);
		/* on a standby a temporary type ends hits, also where nobody writes */
		if (modes[mode].still && !on_standby && one_in(2))
			read_still(conn, "a reader");
		if (mode == M_OOM && number % 2 == 0)
			(void) execute(conn, "SET summary_cache.debug_fail = '%s'", one_in(4) ? "json" : "");
		if (mode == M_FULL && one_in(4))
			(void) execute(conn, "SELECT status FROM summary_cache_fetch('checker_rival')");
		if (mode == M_FAULTS && one_in(50))
		{
			/* a builder or waiter that gives up */
			(void) execute(conn, "SET statement_timeout = '%dms'; SET lock_timeout = '%dms'",
						   1 + below(3), below(3));
			(void) fetch(conn, stats, one_in(2), -1, 0, false);
			(void) execute(conn, "RESET statement_timeout; RESET lock_timeout");
			continue;
		}
		for (int i = below(20); i >= 0 && !stopped(); i--)
			if (!fetch(conn, stats, false, -1, 0, false))
				break;
	}
	disconnect(conn);
}

/*-------------------------------------------------------------------------
 * Writers
 *-------------------------------------------------------------------------
 */

static bool
copy_row(PGconn *conn, int table, int w, uint64_t value)
{
	char		command[100];
	char		row[100];

	snprintf(command, sizeof(command), "COPY checker_%d (w, v) FROM STDIN", table);
	snprintf(row, sizeof(row), "%d\t%llu\n", w, (unsigned long long) value);
	return copy(conn, command, row);
}

/* A COPY that the client gives up after a row. */
static void
copy_in_vain(PGconn *conn, int table, int w, uint64_t value)
{
	char		text[100];
	PGresult   *result;

	snprintf(text, sizeof(text), "COPY checker_%d (w, v) FROM STDIN", table);
	result = query(conn, text);
	if (result == NULL)
		return;
	PQclear(result);
	snprintf(text, sizeof(text), "%d\t%llu\n", w, (unsigned long long) value);
	(void) PQputCopyData(conn, text, (int) strlen(text));
	(void) PQputCopyEnd(conn, "given up");
	while ((result = PQgetResult(conn)) != NULL)
		PQclear(result);
}

/* One statement that makes value the writer's number. */
static bool
write_value(PGconn *conn, int w, uint64_t value)
{
	unsigned long long v = value;
	int			table = w % ntables;

	switch (mode)
	{
		case M_PARTITION:
		case M_DDL:
			if (w % 3 == 0)
				return execute(conn, "UPDATE checker_0 SET v = %llu WHERE w = %d", v, w);
			if (w % 3 == 1)
				return execute(conn, "UPDATE checker_0_%d SET v = %llu WHERE w = %d", w % 2, v, w);
			/* moves the row: a delete and an insert */
			return execute(conn, "UPDATE checker_0 SET v = %llu, part = 1 - part WHERE w = %d", v, w);

		case M_MEMBERS:
			/* by the root alone, to a partition that the statement does not name: the row stays */
			if (w % 4 == 0)
				return execute(conn, "INSERT INTO checker_0 VALUES (%d, %llu, %d)", w, v, w / 4 % 2);
			/* moves the row, which no other writer's is in the partition of */
			if (w % 4 == 1)
				return execute(conn, "UPDATE checker_0 SET v = %llu, part = 1 - part WHERE w = %d", v, w);
			if (w % 4 == 2)
				return execute(conn, "UPDATE checker_0_%d SET v = %llu WHERE w = %d", w % 2, v, w);
			return execute(conn, "UPDATE checker_0 SET v = %llu WHERE w = %d AND part = %d", v, w, w % 2);

		case M_INHERIT:
			/* not through the table above, which ALTER TABLE locks: see inherit_main() */
			return execute(conn, "UPDATE checker_0_0 SET v = %llu WHERE w = %d", v, w);

		case M_COPY:
			return copy_row(conn, table, w, value);

		case M_KEYS:
			return write_keys(conn, w, value > NEVER);

		case M_PARTS:
			/* what is in two parts of a section; at times, of the other one */
			if (one_in(2) && !(execute(conn, "UPDATE checker_left SET v = %llu WHERE w = %d", v, w) &&
							   execute(conn, "UPDATE checker_right SET v = %llu WHERE w = %d", v, w)))
				return false;
			return execute(conn, "UPDATE checker_twin SET v = %llu WHERE w = %d", v, w) &&
				execute(conn, "UPDATE checker_%d SET v = %llu WHERE w = %d", table, v, w);

		default:
			/* of a table that is no source */
			if (mode == M_CLOSED && one_in(2) && !execute(conn, "INSERT INTO checker_free VALUES (%d)", w))
				return false;
			if (mode == M_PLAIN && one_in(4))
				return execute(conn, "DELETE FROM checker_%d WHERE w = %d", table, w) &&
					execute(conn, "INSERT INTO checker_%d (w, v) VALUES (%d, %llu)", table, w, v);
			return execute(conn, "UPDATE checker_%d SET v = %llu WHERE w = %d", table, v, w);
	}
}

/* The writer's number in the tables, after all it has begun is finished. */
static uint64_t
value_now(PGconn **conn, int w)
{
	char		sql[200];
	PGresult   *result;
	uint64_t	value;

	for (;;)
	{
		if (mode == M_COPY || mode == M_MEMBERS)
			snprintf(sql, sizeof(sql), "SELECT max(v) FROM checker_%d WHERE w = %d", w % ntables, w);
		else
			snprintf(sql, sizeof(sql), "SELECT v FROM checker_%d WHERE w = %d FOR UPDATE",
					 mode == M_PARTITION ? 0 : w % ntables, w);
		result = query(*conn, sql);
		if (result && PQntuples(result) == 1)
			break;
		PQclear(result);
		reconnect(conn, &shared->writers[w].pid);
	}
	value = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
	PQclear(result);
	return value;
}

/*
 * Their files are removed when the transaction is visible already, but not yet
 * replayed in full.
 */
static void
truncate_junk(PGconn *conn, int w)
{
	char		sql[1000] = "TRUNCATE";
	size_t		n = strlen(sql);

	for (int i = 0; i < njunk; i++)
		n += snprintf(sql + n, sizeof(sql) - n, "%s checker_junk_%d_%d", i > 0 ? "," : "", w, i);
	(void) execute(conn, "%s", sql);
}

/* In mode bulk, what the writer's own table has by its own summary; exactly, inside its transaction. */
static void
read_one(PGconn *conn, Reader *stats, int w, uint64_t value, bool inside)
{
	char		sql[200];
	Demand		demand;
	PGresult   *result;
	uint64_t	found;

	take_demand(conn, 0, &demand);
	snprintf(sql, sizeof(sql), "SELECT status, document->>'n' FROM summary_cache_fetch('checker_bulk_%d')", w);
	result = read_summary(conn, sql);
	if (result == NULL)
		return;
	(void) count_answer(stats, PQgetvalue(result, 0, 0), &demand);
	found = strtoull(PQgetvalue(result, 0, 1), NULL, 10);
	if (found != value)
		violation(OWN, "%s%s: writer %d has %llu in its own table, but found %llu", PQgetvalue(result, 0, 0),
				  inside ? " in its own transaction" : "", w, (unsigned long long) value,
				  (unsigned long long) found);
	PQclear(result);
}

/* False if no transaction began: what follows would commit by itself. */
static bool
begin(PGconn *conn, int w)
{
	static const char *const sync[] = {"on", "local", "off"};

	if (!execute(conn, "BEGIN"))
		return false;
	/* what was not flushed may be lost in a crash */
	if (mode == M_SYNC || (!may_lose_commits() && !remote_apply && one_in(4)))
		(void) execute(conn, "SET LOCAL synchronous_commit = %s", sync[below(3)]);
	if (commit_delay_us > 0 && one_in(2))
		(void) execute(conn, "SET LOCAL commit_delay = %d; SET LOCAL commit_siblings = 0",
					   commit_delay_us);
	if (njunk > 0 && mode != M_2PC && one_in(2))
		truncate_junk(conn, w);
	if (nsubtransactions > 0 && w == 0)
		(void) execute(conn, "DO $$ BEGIN FOR i IN 1 .. %d LOOP BEGIN INSERT INTO checker_filler VALUES (0, 0);"
					   " EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$", nsubtransactions);
	if (mode == M_FAULTS && one_in(50))
		(void) execute(conn, "SET LOCAL statement_timeout = '%dms'; SET LOCAL lock_timeout = '%dms'",
					   1 + below(3), 1 + below(3));
	if (mode == M_OOM && one_in(2))
		(void) execute(conn, "SET LOCAL summary_cache.debug_fail = 'marks'");
	if (mode == M_KEYS)
		begin_keys();
	return true;
}

/* A writer's own read, and its commit; in mode keys of several numbers. */
static bool
fetch_own(PGconn *conn, Reader *stats, bool force, int w, uint64_t value, bool inside)
{
	if (mode == M_KEYS)
		return fetch_own_key(conn, stats, force, w, inside);
	return fetch(conn, stats, force, w, value, inside);
}

static bool
commit_own(PGconn *conn, int w, uint64_t value, const char *command)
{
	return mode == M_KEYS ? commit_keys(conn, w, command, true) : commit(conn, w, value, command);
}

/*
 * Finish what a session of this writer may have left prepared, one way or the
 * other.  The name tells what must not be committed.
 */
static bool
finish_prepared(PGconn *conn, int w)
{
	char		sql[200];
	PGresult   *result;
	bool		finished;

	snprintf(sql, sizeof(sql), "SELECT gid FROM pg_prepared_xacts WHERE gid IN ('checker_%d', 'checker_%d_never')",
			 w, w);
	result = query(conn, sql);
	if (result == NULL)
		return false;
	/* after a restart documents are built meanwhile, and nobody knows its tables */
	if (PQntuples(result) > 0 && may_lose_commits() && one_in(2))
		rest(below(500000));
	finished = PQntuples(result) == 0 ||
		execute(conn, "%s PREPARED '%s'",
				strstr(PQgetvalue(result, 0, 0), "never") == NULL && one_in(2) ? "COMMIT" : "ROLLBACK",
				PQgetvalue(result, 0, 0));
	PQclear(result);
	return finished;
}

static void
write_prepared(PGconn *conn, PGconn *other, Reader *stats, int w, uint64_t value)
{
	char		command[200];
	bool		abandon = one_in(4);
	PGconn	   *finisher = one_in(2) ? conn : other;

	if (!begin(conn, w))
		return;
	if (!write_value(conn, w, abandon ? value + NEVER : value))
		return;
	/* from here on a session that ends may leave it behind to be committed */
	if (!abandon && mode == M_KEYS)
		attempt_keys(w);
	else if (!abandon)
		atomic_store(&shared->writers[w].attempted, value);
	if (!execute(conn, "PREPARE TRANSACTION 'checker_%d%s'", w, abandon ? "_never" : ""))
		return;
	if (one_in(2))
		rest(below(may_lose_commits() ? 20000 : 2000));
	/* a session that has prepared goes on reading, unless it could wait for that itself */
	if (mode != M_KEYS && one_in(4))
		(void) fetch(conn, stats, false, -1, 0, false);
	if (abandon)
		(void) execute(finisher, "ROLLBACK PREPARED 'checker_%d_never'", w);
	else
	{
		snprintf(command, sizeof(command), "COMMIT PREPARED 'checker_%d'", w);
		if (mode == M_KEYS)
			(void) commit_keys(finisher, w, command, finisher == conn);
		else
			(void) commit(finisher, w, value, command);
	}
	if (mode == M_KEYS)
	{
		if (!abandon && one_in(4))
			(void) fetch_finished_key(finisher, stats, w);
	}
	else if (one_in(4))
		(void) fetch(finisher, stats, false, w, atomic_load(&shared->writers[w].committed), false);
}

/*
 * Another library's callback comes before the commit, or the PREPARE: earlier
 * or later than summary_cache's.  It fails, then nobody may ever see what was
 * written; or it writes, or writes and fails.
 */
static void
write_with_callback(PGconn *conn, int w, uint64_t value)
{
	static const char *const failures[] = {"SELECT 1/0", "SELECT pg_terminate_backend(pg_backend_pid())"};
	const char *side = one_in(2) ? "before" : "after";
	int			table = w % ntables;
	bool		fails = one_in(2);
	bool		late = one_in(2);
	bool		ok;

	if (!begin(conn, w))
		return;
	if (fails)
		ok = execute(conn, "SET LOCAL callback.%s_sql = '%s'", side, failures[below(2)]);
	else if (late)
		ok = execute(conn, "SET LOCAL callback.%s_sql = 'UPDATE checker_%d SET v = %llu WHERE w = %d'", side,
					 table, (unsigned long long) value, w);
	else
		ok = execute(conn, "SET LOCAL callback.%s_sql = 'SELECT 1'", side);
	if (!ok)
		return;
	if ((fails || !late || one_in(2)) && !write_value(conn, w, fails || late ? value + NEVER : value))
		return;
	if (!fails)
		(void) commit(conn, w, value, "COMMIT");
	else if (execute(conn, one_in(4) ? "PREPARE TRANSACTION 'checker_%d_never'" : "COMMIT", w))
		violation(ERRORS, "a transaction that another library fails is committed");
	else
		atomic_fetch_add(&shared->failed_commits, 1);
}

/*
 * Unless the transaction was cancelled before: then it ends here, since there is
 * no savepoint to go back to.
 */
static bool
set_savepoint(PGconn *conn)
{
	if (execute(conn, "SAVEPOINT a"))
		return true;
	(void) execute(conn, "ROLLBACK");
	return false;
}

static void
write_savepoints(PGconn *conn, Reader *stats, int w, uint64_t value)
{
	bool		wrote;

	if (!begin(conn, w))
		return;
	if (!set_savepoint(conn))
		return;
	wrote = write_value(conn, w, value + NEVER);
	if (mode != M_KEYS && one_in(4))
		(void) fetch(conn, stats, false, w, value + NEVER, true);
	(void) execute(conn, "ROLLBACK TO a");
	if (mode == M_KEYS)
		begin_keys();
	/* who was cancelled before it wrote reads like others: another session of it may have committed */
	if (one_in(4))
		(void) fetch_own(conn, stats, false, wrote ? w : -1, value - 1, true);
	if (one_in(4))
	{
		(void) execute(conn, one_in(2) ? "COMMIT" : "ROLLBACK");
		return;
	}
	(void) execute(conn, "SAVEPOINT b");
	(void) write_value(conn, w, value);
	(void) execute(conn, "RELEASE b");
	(void) commit_own(conn, w, value, "COMMIT");
}

/*
 * COPY into the writer's own table, which may be truncated before.  When a COPY
 * is over, also one that failed or was rolled back, who reads other tables is
 * answered like others.  The others' tables are not read here: to who has an
 * older snapshot a table that another truncates is empty, in PostgreSQL as well.
 */
static void
write_bulk(PGconn *conn, Reader *stats, int w, uint64_t value)
{
	bool		abandon = one_in(8);
	uint64_t	mine = abandon ? value + NEVER : value;

	if (!begin(conn, w))
		return;
	if (one_in(4))
	{
		bool		in_vain = one_in(2);

		if (!set_savepoint(conn))
			return;
		if (in_vain)
			copy_in_vain(conn, w, w, value + NEVER);
		else if (copy_row(conn, w, w, value + NEVER))
			read_one(conn, stats, w, value + NEVER, true);
		(void) execute(conn, "ROLLBACK TO a");
		read_still(conn, in_vain ? "after a COPY that was given up" : "after a COPY that was rolled back");
		read_one(conn, stats, w, value - 1, true);
	}
	if (one_in(4))
	{
		(void) execute(conn, "TRUNCATE checker_%d", w);
		read_still(conn, "after a TRUNCATE");
	}
	if (copy_row(conn, w, w, mine))
	{
		read_still(conn, "after a COPY");
		read_one(conn, stats, w, mine, true);
	}
	if (abandon)
		(void) execute(conn, "ROLLBACK");
	else if (commit(conn, w, value, "COMMIT") && one_in(2))
		read_one(conn, stats, w, value, false);
}

static void
write_transaction(PGconn *conn, Reader *stats, int w, uint64_t value)
{
	bool		abandon = one_in(8);

	if (!begin(conn, w))
		return;
	if (mode == M_TEMPORARY && one_in(4))
		temporary_ddl(conn, NULL);
	if (!write_value(conn, w, abandon ? value + NEVER : value))
	{
		(void) execute(conn, "ROLLBACK");
		return;
	}
	if (mode != M_COPY && !modes[mode].alone && (mode != M_KEYS || (may_read_keys() && !abandon)) && one_in(16) &&
		!fetch_own(conn, stats, one_in(8), w, abandon ? value + NEVER : value, true))
	{
		(void) execute(conn, "ROLLBACK");
		return;
	}
	if (abandon)
		(void) execute(conn, "ROLLBACK");
	else
		(void) commit_own(conn, w, value, "COMMIT");
}

void
writer_main(int w)
{
	Writer	   *me = &shared->writers[w];
	Reader	   *stats = &shared->readers[nreaders + 1 + w];
	bool		prepares = mode == M_2PC || modes[mode].mixed;
	PGconn	   *conn;
	PGconn	   *other;

	is_writer = true;
	conn = connect_server(&me->pid);
	other = prepares ? connect_server(&me->other_pid) : NULL;
	while (!stopped())
	{
		uint64_t	committed = atomic_load(&me->committed);
		int			kind = modes[mode].mixed ? below(4) : -1;

		/* the first write of a session looks up most */
		if (mode == M_CLOSED && one_in(20))
		{
			disconnect(conn);
			conn = connect_server(&me->pid);
		}

		if (mode == M_CALLBACK && kind > 1)
			write_with_callback(conn, w, committed + 1);
		else if (mode == M_2PC || kind == 0)
			write_prepared(conn, other, stats, w, committed + 1);
		else if (mode == M_BULK)
			write_bulk(conn, stats, w, committed + 1);
		else if (mode == M_SAVEPOINT || kind == 1)
			write_savepoints(conn, stats, w, committed + 1);
		else
			write_transaction(conn, stats, w, committed + 1);
		if (may_fail() && atomic_load(&me->committed) == committed)
		{
			/* a server that ends keeps busy what the other session was finishing, until it is back */
			if (modes[mode].crashes && other && PQstatus(other) != CONNECTION_OK)
			{
				disconnect(conn);
				conn = connect_server(&me->pid);
			}
			/* nobody knows how it ended; what can be read is committed */
			do
			{
				reconnect(&conn, &me->pid);
				if (PQtransactionStatus(conn) != PQTRANS_IDLE)
					(void) execute(conn, "ROLLBACK");
				reconnect(&conn, &me->pid);
			} while (prepares && !finish_prepared(conn, w));
			atomic_store(&me->committed, value_now(&conn, w));
			if (other)
				reconnect(&other, &me->other_pid);
		}
		/* not if the other session committed it, now or before a transaction that was given up */
		else if (one_in(8) && (mode == M_KEYS || atomic_load(&me->committed) > committed) && mode != M_2PC && kind != 0 &&
				 !modes[mode].alone)
			(void) fetch_own(conn, stats, false, w, atomic_load(&me->committed), false);
		if (pause_us > 0)
			rest(below(pause_us));
	}
	disconnect(conn);
	disconnect(other);
}
