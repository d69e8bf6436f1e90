/*-------------------------------------------------------------------------
 *
 * checker.h
 *	  What the parts of the checker share.
 *
 * checker.c has the modes, what is compared, and a run from beginning to end;
 * sessions.c what readers and writers do, keys.c what writers do in mode keys;
 * disturb.c what goes on beside them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CHECKER_H
#define CHECKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libpq-fe.h>

#define MAX_WRITERS	64
#define MAX_READERS	64
#define MAX_TABLES	40
#define MAX_RUNS	64

/* Added to a number that is going to be rolled back: nobody may ever see it. */
#define NEVER		UINT64_C(1000000000000)

typedef enum
{
	LOST, UNSEEN, DIRTY, OWN, DIFFER, TORN, COLD, REFUSED, STUCK, ERRORS, VIOLATIONS
} Violation;

typedef enum
{
	HIT, INLINE, STALE, MISS, PRIVATE, STATUSES
} Status;

typedef enum
{
	M_PLAIN, M_2PC, M_SAVEPOINT, M_SYNC, M_RR, M_INLINE, M_PARTITION, M_COPY, M_FAULTS, M_CRASH,
	M_RESTART, M_FULL, M_OOM, M_CALLBACK, M_DDL, M_INHERIT, M_CLOSED, M_TEMPORARY, M_BULK, M_EAGER,
	M_PARTS, M_MEMBERS, M_NAMES, M_KEYS, M_EXTENSION, M_DATABASE, M_UNTRACKED, MODES
} Mode;

typedef struct
{
	const char *name;
	const char *what;

	/*
	 * SQLSTATEs of the errors that the mode provokes, in writers' sessions and
	 * in all others.  57P01 stands for any loss of the connection.
	 */
	const char *write_errors;
	const char *read_errors;
	bool		mixed;			/* writers do all kinds of transactions in turn */
	bool		alone;			/* they do not read inside a transaction: they
								 * would deadlock with DDL */
	bool		crashes;		/* what was not flushed may be lost */
	bool		still;			/* nothing concerns the summary checker_still: it stays a hit */
	bool		bounded;		/* users have a lock_timeout: see LOCK_BOUND */
} ModeInfo;

/* In mode ddl each of these statements moves a number of its own, beside the writers'. */
typedef enum
{
	D_ATTACH, D_TRUNCATE, D_PARTITION, D_VIEW, D_FUNCTION, D_MATVIEW, D_REWRITE, D_COLUMN, D_TRIGGER,
	DDLS
} Ddl;

/* Likewise in mode names: what a view is, and which view a name is. */
typedef enum
{
	N_VIEW, N_NAME,
	NAMES
} Names;

#define MAX_NUMBERS	(MAX_WRITERS + DDLS)

/* In mode keys there is a document of each key, in which each writer has a number. */
#define KEYS		12
#define ALL_NUMBERS	(MAX_NUMBERS * KEYS)

/* In mode eager each of these tables has the same number, which moves in all of them at once. */
#define LOCK_TABLES	3

/*
 * How long a statement of a user may wait for a lock, where no other user's
 * transaction holds one for longer than some milliseconds.
 */
#define LOCK_BOUND	"'2s'"

typedef struct
{
	_Atomic uint64_t committed; /* known to be committed */
	_Atomic uint64_t attempted; /* greatest that may be committed by now */
	_Atomic uint64_t commits;
	_Atomic int pid;			/* of its server process */
	_Atomic int other_pid;		/* of its second session's */
} Writer;

typedef struct
{
	_Atomic uint64_t answers[STATUSES];
	_Atomic uint64_t near_hits; /* see is_near() */
	_Atomic int pid;
} Reader;

typedef struct
{
	_Atomic int stop;
	_Atomic int in_commit;		/* writers between sending and having their COMMIT */
	_Atomic uint64_t last_commit;	/* ns */
	_Atomic uint64_t runs[MAX_RUNS];	/* start of each run of a server; see run_of() */
	_Atomic uint64_t seen[MAX_RUNS][ALL_NUMBERS];	/* greatest number that anybody has seen in it */
	_Atomic uint64_t known[MAX_RUNS][ALL_NUMBERS];	/* and that is known to be committed there */
	_Atomic uint64_t violations[VIOLATIONS];
	_Atomic uint64_t faults;
	_Atomic uint64_t failed_commits;	/* those that had to fail, and did */
	_Atomic uint64_t rebuilds;
	_Atomic uint64_t still;		/* reads of checker_still */
	_Atomic uint64_t longest;	/* wait for a lock, us */
	_Atomic uint64_t side;		/* mode database: what is committed there; NEVER: it ends */
	Writer		writers[ALL_NUMBERS];	/* see number_of() */
	Reader		readers[MAX_READERS + MAX_WRITERS + 1];
} Shared;

/* What an answer to be asked for now must contain. */
typedef struct
{
	int			run;
	int			key;			/* of the document; 0 where there is one only */
	uint64_t	committed[MAX_NUMBERS];
	uint64_t	seen[MAX_NUMBERS];
	uint64_t	sent_at;
	bool		pending;
	uint64_t	last_commit;
} Demand;

/* checker.c */
extern Shared *shared;
extern const char *conninfo;
extern const char *read_conninfo;	/* of a standby, or NULL */
extern bool on_standby;			/* where this process connects to */
extern bool outages;			/* servers come and go, and lose commits */
extern bool remote_apply;
extern const char *server_log;
extern int	nwriters;
extern int	nreaders;
extern int	ntables;
extern int	nnumbers;			/* in a document: of the writers, then of the Ddl */
extern int	pause_us;
extern int	rebuild_us;
extern int	commit_delay_us;
extern int	njunk;
extern int	nsubtransactions;
extern Mode mode;
extern const ModeInfo modes[MODES];
extern bool is_writer;			/* this process does what users do: no error
								 * but a provoked one is right */
extern char document_query[16384];	/* one row, one column: what the document has */
extern char define_command[20000];	/* of its section "numbers" */

extern void raise_to(_Atomic uint64_t *target, uint64_t value);
extern void die(const char *format,...);
extern void violation(Violation kind, const char *format,...);
extern int	below(int n);
extern bool one_in(int n);
extern void rest(int us);
extern bool stopped(void);
extern uint64_t now_ns(void);

extern PGconn *connect_server(_Atomic int *pid);
extern void disconnect(PGconn *conn);
extern PGconn *connect_database(const char *database);
extern void reconnect(PGconn **conn, _Atomic int *pid);
extern bool may_fail(void);
extern bool may_lose_commits(void);
extern PGresult *query(PGconn *conn, const char *sql);
extern bool execute(PGconn *conn, const char *format,...);
extern bool copy(PGconn *conn, const char *command, const char *rows);
extern void setup(PGconn *conn, const char *format,...);
extern long number(PGconn *conn, const char *format,...);

extern bool fetch(PGconn *conn, Reader *stats, bool force, int own, uint64_t own_value, bool inside);
extern bool look(PGconn *conn);
extern PGresult *read_summary(PGconn *conn, const char *sql);
extern void read_still(PGconn *conn, const char *when);
extern bool fetch_key(PGconn *conn, Reader *stats, int key, bool force, int own, uint64_t own_value, bool inside);
extern int	number_of(int key, int w);
extern const char *key_text(int key);
extern void take_demand(PGconn *conn, int key, Demand *demand);
extern Status count_answer(Reader *stats, const char *name, Demand *demand);
extern void note_committed(PGconn *conn, int w, uint64_t value);
extern bool commit(PGconn *conn, int w, uint64_t value, const char *command);

/* sessions.c */
extern void reader_main(int number);
extern void writer_main(int w);

/* keys.c */
extern void create_keyed_tables(PGconn *conn);
extern void drop_keyed_tables(PGconn *conn);
extern void make_keyed_query(char *out, size_t size, const char *key, bool is_section);
extern void begin_keys(void);
extern bool write_keys(PGconn *conn, int w, bool abandon);
extern bool may_read_keys(void);
extern bool commit_keys(PGconn *conn, int w, const char *command, bool itself);
extern void attempt_keys(int w);
extern bool fetch_own_key(PGconn *conn, Reader *stats, bool force, int w, bool inside);
extern bool fetch_finished_key(PGconn *conn, Reader *stats, int w);

/* disturb.c */
extern void rebuilder_main(void);
extern void killer_main(void);
extern void restarter_main(void);
extern void ddl_main(void);
extern void inherit_main(void);
extern void names_main(void);
extern void closed_main(void);
extern void temporary_main(void);
extern void eager_main(void);
extern void temporary_ddl(PGconn *conn, PGconn *other);
extern void extension_main(void);
extern void database_main(void);

#endif							/* CHECKER_H */
