/*-------------------------------------------------------------------------
 *
 * common.h
 *	  What the fuzzers share: dice, texts, the log of statements, connections.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FUZZ_COMMON_H
#define FUZZ_COMMON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <libpq-fe.h>

#define SQL_SIZE	(64 * 1024)

#define lengthof(array) ((int) (sizeof(array) / sizeof((array)[0])))
#define PICK(array) (array)[below(lengthof(array))]

/* The options that both have; common_option() is false for any other. */
#define COMMON_OPTIONS \
	{"conninfo", required_argument, NULL, 'c'}, {"seconds", required_argument, NULL, 's'}, \
	{"rounds", required_argument, NULL, 'd'}, {"seed", required_argument, NULL, 'r'}, \
	{"statements", required_argument, NULL, 'm'}, {"log", required_argument, NULL, 'l'}

extern const char *conninfo;
extern int	seconds;
extern int	nrounds;
extern int	nstatements;		/* of each session in a round; each program has its own default */
extern uint64_t seed;
extern FILE *log_file;
extern uint64_t *dice;			/* the state of the generator in use */

extern double now(void);
extern void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
extern uint64_t next_random(void);
extern int	below(int n);
extern bool percent(int n);
extern const char *form(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern void log_line(int session, const char *kind, const char *format, ...) __attribute__((format(printf, 3, 4)));
extern PGconn *connect_to(const char *database, const char *user, const char *name, const char *more);
extern bool common_option(int option, const char *argument);

/* The control session, which each program has its own way to ask: it says what went
 * on when the server is gone.  attempt() is for what may fail because of what the
 * other sessions did. */
extern PGresult *ask(const char *sql);
extern void must(const char *sql);
extern void attempt(const char *sql);

extern void cancel_statement(PGconn *conn);

/* The exit status. */
extern int	report_violations(const char *const *names, const uint64_t *counts, int n);

#endif							/* FUZZ_COMMON_H */
