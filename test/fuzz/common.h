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

extern const char *conninfo;
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

#endif							/* FUZZ_COMMON_H */
