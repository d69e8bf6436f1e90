/*-------------------------------------------------------------------------
 *
 * keys.c
 *	  What the checker's writers do in mode keys.
 *
 * There is a document of each key.  The number of a writer in it is the sum of v
 * over that writer's rows of the key, and never becomes less: each statement here
 * that takes something from a key adds more to it, or takes rows away whose v is
 * negative.  So what changes the rows of a key raises a number there, also if it
 * only takes a row away, and a document that misses it is too low.
 *
 * Of each writer there are, by the column m:
 *
 *	BASE	one row of each key
 *	MOVED	one row, which goes from key to key.  Its v is -1 before it leaves a key,
 *			and 1 when it has come to another
 *	ADDED	any number of rows with 1
 *	DEBT	any number of rows with -1, in a table of their own, which is truncated
 *	FAR		rows with 0, of keys that nobody reads: more than a transaction can name
 *
 * The tables are plain ones, one that is partitioned, and one that others inherit
 * from; each writer has its rows in one kind.  A key is a numeric, which is written
 * with one scale or another.
 *
 *-------------------------------------------------------------------------
 */
#include <stdarg.h>

#include "checker.h"

enum
{
	BASE, MOVED, ADDED, DEBT, FAR
};

typedef enum
{
	PLAIN, PARTITIONED, INHERITED, KINDS
} Kind;

/* What a writer's rows are. */
typedef struct
{
	uint64_t	numbers[KEYS];
	int			debts[KEYS];
	int			moved;			/* the key of its row MOVED */
	bool		has_come;		/* that has 1 */
} Rows;

static Rows rows;				/* as they are committed */
static Rows now;				/* and as the open transaction leaves them */
static int	last_key;			/* one that it has written */
static uint64_t mine[KEYS];		/* what this session has committed itself */
static bool locks;				/* it has a table locked */
static bool applies;			/* foreign keys do nothing in it */

static Kind
kind_of(int w)
{
	return (Kind) (w % KINDS);
}

/*-------------------------------------------------------------------------
 * Tables
 *-------------------------------------------------------------------------
 */

#define COLUMNS		"(k numeric NOT NULL, w int, m int, v bigint, part int)"

void
drop_keyed_tables(PGconn *conn)
{
	for (int w = 0; w < MAX_WRITERS; w++)
		setup(conn, "DROP TABLE IF EXISTS checker_debt_%d CASCADE", w);
	setup(conn, "DROP TABLE IF EXISTS checker_parent CASCADE");
}

void
create_keyed_tables(PGconn *conn)
{
	setup(conn, "CREATE TABLE checker_0 " COLUMNS "; CREATE UNIQUE INDEX ON checker_0 (w, k) WHERE m = %d;"
		  "CREATE TABLE checker_1 " COLUMNS " PARTITION BY LIST (part);"
		  "CREATE TABLE checker_1_0 PARTITION OF checker_1 FOR VALUES IN (0);"
		  "CREATE TABLE checker_1_1 PARTITION OF checker_1 FOR VALUES IN (1);"
		  "CREATE TABLE checker_2 " COLUMNS ";"
		  "CREATE TABLE checker_2_0 () INHERITS (checker_2);"
		  "CREATE TABLE checker_parent (w int, k numeric, PRIMARY KEY (w, k))", BASE);
	for (int w = 0; w < nwriters; w++)
	{
		if (kind_of(w) == PLAIN)
			setup(conn, "CREATE TABLE checker_debt_%d " COLUMNS ";"
				  "ALTER TABLE checker_debt_%d ADD FOREIGN KEY (w, k) REFERENCES checker_parent ON UPDATE CASCADE ON DELETE CASCADE",
				  w, w);
		else if (kind_of(w) == PARTITIONED)
			setup(conn, "CREATE TABLE checker_debt_%d PARTITION OF checker_1 FOR VALUES IN (%d)", w, 100 + w);
		else
			setup(conn, "CREATE TABLE checker_debt_%d () INHERITS (checker_2)", w);
		setup(conn, "CREATE INDEX ON checker_debt_%d (w, k)", w);
		setup(conn, "INSERT INTO checker_%s SELECT k, %d, %d, 1 + (k = 0)::int, 0 FROM generate_series(0, %d) k;"
			  "INSERT INTO checker_%s VALUES (0, %d, %d, -1, 0)",
			  kind_of(w) == INHERITED ? "2_0" : kind_of(w) == PARTITIONED ? "1" : "0", w, BASE, KEYS - 1,
			  kind_of(w) == INHERITED ? "2_0" : kind_of(w) == PARTITIONED ? "1" : "0", w, MOVED);
		for (int key = 0; key < KEYS; key++)
			atomic_store(&shared->writers[number_of(key, w)].attempted, 1);
	}
	setup(conn, "CREATE INDEX ON checker_0 (w, k); CREATE INDEX ON checker_1 (w, k);"
		  "CREATE INDEX ON checker_2 (w, k); CREATE INDEX ON checker_2_0 (w, k)");
}

static size_t
append(char *out, size_t size, size_t n, const char *format,...)
{
	va_list		args;

	va_start(args, format);
	n += vsnprintf(out + n, size - n, format, args);
	va_end(args);
	if (n >= size)
		die("a query does not fit");
	return n;
}

/* The numbers in the document of a key: columns of a section, or one value. */
void
make_keyed_query(char *out, size_t size, const char *key, bool is_section)
{
	size_t		n = append(out, size, 0, is_section ? "SELECT " : "SELECT json_build_array(");

	for (int kind = 0; kind < KINDS; kind++)
	{
		n = append(out, size, n, "%s(SELECT json_object_agg(w, v ORDER BY w) FROM (SELECT w, sum(v) AS v FROM ("
				   "SELECT w, v FROM checker_%d WHERE k = %s", kind > 0 ? ", " : "", kind, key);
		for (int w = 0; w < nwriters && kind == PLAIN; w += KINDS)
			n = append(out, size, n, " UNION ALL SELECT w, v FROM checker_debt_%d WHERE k = %s", w, key);
		n = append(out, size, n, ") r GROUP BY w) x)");
		if (is_section)
			n = append(out, size, n, " AS t%d", kind);
	}
	if (!is_section)
		(void) append(out, size, n, ")");
}

/*-------------------------------------------------------------------------
 * Statements
 *-------------------------------------------------------------------------
 */

/* The table that a statement on rows, other than debts, names. */
static const char *
table_of(int w)
{
	switch (kind_of(w))
	{
		case PLAIN:
			return "checker_0";
		case PARTITIONED:
			return "checker_1";
		default:
			return one_in(2) ? "checker_2" : "checker_2_0";
	}
}

static void
raise_number(int key, int by)
{
	now.numbers[key] += by;
	last_key = key;
}

/* Keys that differ: how many, and as an array's elements. */
static int
some_keys(int *list, int max, char *text, size_t size)
{
	int			n = 1 + below(max);
	int			first = below(KEYS);
	int			step = 1 + 4 * below(2);	/* has no divisor with KEYS */
	size_t		length = 0;

	for (int i = 0; i < n; i++)
	{
		list[i] = (first + i * step) % KEYS;
		length = append(text, size, length, "%s%s", i > 0 ? ", " : "", key_text(list[i]));
	}
	return n;
}

/* One row. */
static bool
update_one(PGconn *conn, int w)
{
	int			key = below(KEYS);

	raise_number(key, 1);
	switch (below(4))
	{
		case 0:
			/* the key's text changes, the key does not */
			return execute(conn, "UPDATE %s SET v = v + 1, k = %d.000 WHERE w = %d AND k = %d AND m = %d",
						   table_of(w), key, w, key, BASE);
		case 1:
			if (kind_of(w) == PLAIN)
				return execute(conn, "INSERT INTO checker_0 VALUES (%s, %d, %d, 0, 0) ON CONFLICT (w, k) WHERE m = 0"
							   " DO UPDATE SET v = checker_0.v + 1", key_text(key), w, BASE);
			return execute(conn, "MERGE INTO %s t USING (VALUES (%s)) s (k) ON t.w = %d AND t.m = %d AND t.k = s.k"
						   " WHEN MATCHED THEN UPDATE SET v = t.v + 1",
						   kind_of(w) == INHERITED ? "checker_2_0" : table_of(w), key_text(key), w, BASE);
		case 2:
			/* a loop that is left after its first row */
			return execute(conn, "DO $$ DECLARE r record; BEGIN FOR r IN UPDATE %s SET v = v + 1 WHERE w = %d AND k = %d AND m = %d"
						   " RETURNING v LOOP EXIT; END LOOP; END $$", table_of(w), w, key, BASE);
		default:
			return execute(conn, "UPDATE %s SET v = v + 1%s WHERE w = %d AND k = %s AND m = %d", table_of(w),
						   kind_of(w) == PARTITIONED && one_in(2) ? ", part = 1 - part" : "", w, key_text(key), BASE);
	}
}

/* Rows of several keys. */
static bool
update_some(PGconn *conn, int w)
{
	int			list[6];
	char		text[200];
	int			n = some_keys(list, 6, text, sizeof(text));

	for (int i = 0; i < n; i++)
		raise_number(list[i], 1);
	return execute(conn, "UPDATE %s SET v = v + 1 WHERE w = %d AND k IN (%s) AND m = %d", table_of(w), w, text, BASE);
}

static bool
insert_rows(PGconn *conn, int w)
{
	int			list[3];
	char		text[200];
	int			n = some_keys(list, 3, text, sizeof(text));
	char		rows[200];
	int			length = 0;

	for (int i = 0; i < n; i++)
		raise_number(list[i], 1);
	if (one_in(2))
		return execute(conn, "INSERT INTO %s SELECT k, %d, %d, 1, %d FROM unnest('{%s}'::numeric[]) k", table_of(w),
					   w, ADDED, below(2), text);
	for (int i = 0; i < n; i++)
		length = append(rows, sizeof(rows), length, "%s\t%d\t%d\t1\t%d\n", key_text(list[i]), w, ADDED, below(2));
	return copy(conn, kind_of(w) == INHERITED ? "COPY checker_2_0 FROM STDIN" :
				kind_of(w) == PARTITIONED ? "COPY checker_1 FROM STDIN" : "COPY checker_0 FROM STDIN", rows);
}

/* All rows of a key go, and one comes. */
static bool
replace_rows(PGconn *conn, int w)
{
	int			key = below(KEYS);

	raise_number(key, 1);
	return execute(conn, "WITH gone AS (DELETE FROM %s WHERE w = %d AND k = %s AND m IN (%d, %d) RETURNING v)"
				   " INSERT INTO %s SELECT %d, %d, %d, sum(v) + 1, 0 FROM gone", table_of(w), w, key_text(key), BASE, ADDED,
				   kind_of(w) == INHERITED ? "checker_2_0" : table_of(w), key, w, BASE);
}

/* A row leaves a key, which nothing else says, and comes to another. */
static bool
move_row(PGconn *conn, int w)
{
	int			from = now.moved;
	int			to = (from + 1 + below(KEYS - 1)) % KEYS;

	if (now.has_come)
	{
		raise_number(from, 1);
		now.has_come = false;
		return execute(conn, "UPDATE %s SET v = CASE m WHEN %d THEN v + 3 ELSE -1 END WHERE w = %d AND k = %s AND m IN (%d, %d)",
					   table_of(w), BASE, w, key_text(from), BASE, MOVED);
	}
	raise_number(from, 1);
	raise_number(to, 1);
	now.moved = to;
	now.has_come = true;
	return execute(conn, "UPDATE %s SET v = 1, k = %s%s WHERE w = %d AND m = %d", table_of(w), key_text(to),
				   kind_of(w) == PARTITIONED && one_in(2) ? ", part = 1 - part" : "", w, MOVED);
}

static bool
add_debts(PGconn *conn, int w)
{
	int			list[4];
	char		text[200];
	int			n = some_keys(list, 4, text, sizeof(text));
	char		debts[30] = "checker_1";

	if (kind_of(w) != PARTITIONED || one_in(2))
		snprintf(debts, sizeof(debts), "checker_debt_%d", w);
	for (int i = 0; i < n; i++)
	{
		now.debts[list[i]]++;
		raise_number(list[i], 1);
	}
	if (kind_of(w) == PLAIN &&
		!execute(conn, "INSERT INTO checker_parent SELECT %d, k FROM unnest('{%s}'::numeric[]) k ON CONFLICT DO NOTHING", w, text))
		return false;
	return execute(conn, "INSERT INTO %s SELECT k, %d, %d, -1, %d FROM unnest('{%s}'::numeric[]) k", debts, w, DEBT, 100 + w, text) &&
		execute(conn, "UPDATE %s SET v = v + 2 WHERE w = %d AND k IN (%s) AND m = %d", table_of(w), w, text, BASE);
}

/*
 * All debts go, by a statement that names no row.  On a standby the replay of two of
 * these would be in a deadlock with a query that reads both tables.
 */
static bool
truncate_debts(PGconn *conn, int w)
{
	locks = read_conninfo == NULL;
	for (int key = 0; key < KEYS; key++)
		if (now.debts[key] > 0)
		{
			raise_number(key, now.debts[key]);
			now.debts[key] = 0;
		}
	return execute(conn, locks ? "TRUNCATE checker_debt_%d" : "DELETE FROM checker_debt_%d", w);
}

/* Those of a key go. */
static bool
pay_debts(PGconn *conn, int w)
{
	int			key = below(KEYS);

	for (int i = 0; i < KEYS && now.debts[key] == 0; i++)
		key = (key + 1) % KEYS;
	if (now.debts[key] == 0)
		return add_debts(conn, w);
	raise_number(key, now.debts[key]);
	now.debts[key] = 0;
	if (kind_of(w) == PLAIN && !applies && one_in(2))
		return execute(conn, "DELETE FROM checker_parent WHERE w = %d AND k = %s", w, key_text(key));
	if (kind_of(w) != PLAIN && one_in(2))
		return execute(conn, "DELETE FROM checker_%d WHERE w = %d AND k = %s AND m = %d", kind_of(w) == PARTITIONED ? 1 : 2,
					   w, key_text(key), DEBT);
	return execute(conn, "DELETE FROM checker_debt_%d WHERE k = %s", w, key_text(key));
}

/* Debts of one key become those of another, by the key that they refer to. */
static bool
cascade_debts(PGconn *conn, int w)
{
	int			from = below(KEYS);
	int			to = below(KEYS);

	for (int i = 0; i < KEYS && now.debts[from] == 0; i++)
		from = (from + 1) % KEYS;
	for (int i = 0; i < KEYS && (now.debts[to] > 0 || to == from); i++)
		to = (to + 1) % KEYS;
	if (kind_of(w) != PLAIN || applies || now.debts[from] == 0 || now.debts[to] > 0 || to == from)
		return add_debts(conn, w);
	now.debts[to] = now.debts[from];
	now.debts[from] = 0;
	raise_number(to, 1);
	raise_number(from, now.debts[to]);
	return execute(conn, "DELETE FROM checker_parent WHERE w = %d AND k = %d", w, to) &&
		execute(conn, "UPDATE checker_parent SET k = %s WHERE w = %d AND k = %s", key_text(to), w, key_text(from)) &&
		execute(conn, "UPDATE checker_0 SET v = v + %d WHERE w = %d AND k = %s AND m = %d", now.debts[to] + 1, w, key_text(to), BASE);
}

/* More keys than a transaction can name, before what it does to others. */
static bool
write_far(PGconn *conn, int w)
{
	return execute(conn, "INSERT INTO %s SELECT k, %d, %d, 0, 0 FROM generate_series(1000, 6000) k; DELETE FROM %s WHERE w = %d AND m = %d",
				   table_of(w), w, FAR, table_of(w), w, FAR) && update_one(conn, w);
}

/* What is rolled back, or would have to be. */
static bool
write_never(PGconn *conn, int w)
{
	int			key = below(KEYS);

	return execute(conn, "UPDATE %s SET v = v + %llu WHERE w = %d AND k = %s AND m IN (%d, %d)", table_of(w),
				   (unsigned long long) NEVER, w, key_text(key), BASE, ADDED);
}

/*-------------------------------------------------------------------------
 * Transactions
 *-------------------------------------------------------------------------
 */

/* A transaction begins, or what was written since is gone. */
void
begin_keys(void)
{
	/* as create_keyed_tables() has left them */
	for (int key = 0; key < KEYS && rows.numbers[key] == 0; key++)
		rows.numbers[key] = 1;
	now = rows;
	locks = applies = false;
	last_key = below(KEYS);
}

/* Some statements; if they are to be given up, with what nobody may see. */
bool
write_keys(PGconn *conn, int w, bool abandon)
{
	static bool (*const statements[]) (PGconn *, int) = {
		update_one, update_one, update_some, insert_rows, replace_rows, replace_rows, move_row, move_row, move_row,
		add_debts, pay_debts, pay_debts, cascade_debts, truncate_debts
	};
	const int	nstatements = (int) (sizeof(statements) / sizeof(statements[0]));
	int			n = 1 + below(one_in(4) ? 4 : 1);

	/*
	 * Who writes through the table above locks all below it, so others would be in a
	 * deadlock with one that truncates and does anything else.
	 */
	if (kind_of(w) != PLAIN && one_in(nstatements))
		return truncate_debts(conn, w);

	/* ENABLE ALWAYS */
	if (one_in(24))
	{
		applies = true;
		if (!execute(conn, "SET LOCAL session_replication_role = replica"))
			return false;
	}
	if (one_in(400) && !write_far(conn, w))
		return false;
	for (int i = 0; i < n; i++)
		if (!statements[below(kind_of(w) == PLAIN ? nstatements : nstatements - 1)] (conn, w))
			return false;
	return !abandon || write_never(conn, w);
}

/* Whoever has locked a table, or a transaction that is prepared, must not wait for others. */
bool
may_read_keys(void)
{
	return !locks;
}

/* From here on what was written may be seen. */
void
attempt_keys(int w)
{
	for (int key = 0; key < KEYS; key++)
		if (now.numbers[key] > rows.numbers[key])
			atomic_store(&shared->writers[number_of(key, w)].attempted, now.numbers[key]);
}

/*
 * As commit(), of all numbers that the transaction has raised; is it this session that
 * commits, or another one, of the same writer?
 */
bool
commit_keys(PGconn *conn, int w, const char *command, bool itself)
{
	int			key = last_key;

	attempt_keys(w);
	if (!commit(conn, number_of(key, w), now.numbers[key], command))
		return false;
	for (key = 0; key < KEYS; key++)
		if (now.numbers[key] > rows.numbers[key])
		{
			note_committed(conn, number_of(key, w), now.numbers[key]);
			if (itself)
				mine[key] = now.numbers[key];
		}
	rows = now;
	return true;
}

/* Read a key that was written, or another one, in the transaction or after it. */
bool
fetch_own_key(PGconn *conn, Reader *stats, bool force, int w, bool inside)
{
	int			key = one_in(4) ? below(KEYS) : last_key;

	return fetch_key(conn, stats, key, force, w, inside ? now.numbers[key] : mine[key], inside);
}

/* Read what a session has committed that was prepared by this one or another. */
bool
fetch_finished_key(PGconn *conn, Reader *stats, int w)
{
	return fetch_key(conn, stats, last_key, false, w, rows.numbers[last_key], false);
}
