/*-------------------------------------------------------------------------
 *
 * common.c
 *	  What the fuzzers share: dice, texts, the log of statements, connections.
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common.h"

const char *conninfo = "";
int			seconds = 10;
int			nrounds = 1;
int			nstatements;
uint64_t	seed = 1;
FILE	   *log_file;
uint64_t   *dice;

double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

void
die(const char *format, ...)
{
	va_list		args;

	va_start(args, format);
	fprintf(stderr, "fuzz: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	exit(2);
}

/* splitmix64: any seed will do, also one that is a small number. */
uint64_t
next_random(void)
{
	uint64_t	z = *dice += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

int
below(int n)
{
	return (int) (next_random() % (uint64_t) n);
}

bool
percent(int n)
{
	return below(100) < n;
}

/* A few results live until a statement is put together. */
const char *
form(const char *format, ...)
{
	static char pool[32][SQL_SIZE];
	static int	next;
	char	   *result = pool[next++ % lengthof(pool)];
	va_list		args;

	va_start(args, format);
	vsnprintf(result, SQL_SIZE, format, args);
	va_end(args);
	return result;
}

void
log_line(int session, const char *kind, const char *format, ...)
{
	va_list		args;

	if (!log_file)
		return;
	fprintf(log_file, "%.6f %d %s: ", now(), session, kind);
	va_start(args, format);
	vfprintf(log_file, format, args);
	va_end(args);
	fprintf(log_file, "\n");
	fflush(log_file);
}

/* user: NULL for the one of --conninfo; NULL if it cannot be had. */
PGconn *
connect_to(const char *database, const char *user, const char *name, const char *more)
{
	const char *keywords[] = {"dbname", "dbname", "user", "application_name", "options", NULL};
	const char *values[] = {conninfo, database, user, name, more, NULL};
	PGconn	   *conn = PQconnectdbParams(keywords, values, 1);

	if (PQstatus(conn) == CONNECTION_OK)
		return conn;
	PQfinish(conn);
	return NULL;
}

void
must(const char *sql)
{
	PGresult   *result = ask(sql);

	if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
		die("%s: %s", sql, PQresultErrorMessage(result));
	PQclear(result);
}

void
attempt(const char *sql)
{
	PQclear(ask(sql));
}

void
cancel_statement(PGconn *conn)
{
	PGcancel   *handle = PQgetCancel(conn);
	char		error[256];

	if (handle)
	{
		(void) PQcancel(handle, error, sizeof(error));
		PQfreeCancel(handle);
	}
}

bool
common_option(int option, const char *argument)
{
	switch (option)
	{
		case 'c':
			conninfo = argument;
			return true;
		case 's':
			seconds = atoi(argument);
			return true;
		case 'd':
			nrounds = atoi(argument);
			return true;
		case 'r':
			seed = strtoull(argument, NULL, 10);
			return true;
		case 'm':
			nstatements = atoi(argument);
			return true;
		case 'l':
			if (!(log_file = fopen(argument, "w")))
				die("%s: %s", argument, strerror(errno));
			return true;
		default:
			return false;
	}
}

int
report_violations(const char *const *names, const uint64_t *counts, int n)
{
	uint64_t	all = 0;

	printf("violations:");
	for (int i = 0; i < n; i++)
	{
		printf(" %s %llu", names[i], (unsigned long long) counts[i]);
		all += counts[i];
	}
	printf("\n");
	return all ? 1 : 0;
}
