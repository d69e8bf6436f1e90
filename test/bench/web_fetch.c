/*
 * Executes a statement again and again, prepared and in the binary format, as drivers
 * do it (pgbench would have each byte as two digits).  Prints executions a second.
 *
 * web_fetch CONNINFO STATEMENT SECONDS
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <libpq-fe.h>

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

int
main(int argc, char **argv)
{
	PGconn	   *connection;
	PGresult   *result;
	double		began,
				ended,
				seconds;
	long		calls = 0;

	if (argc != 4)
		return 2;
	seconds = atof(argv[3]);
	connection = PQconnectdb(argv[1]);
	result = PQprepare(connection, "fetch", argv[2], 0, NULL);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
	{
		fputs(PQerrorMessage(connection), stderr);
		return 1;
	}
	PQclear(result);
	began = now();
	do
	{
		result = PQexecPrepared(connection, "fetch", 0, NULL, NULL, NULL, 1);
		if (PQresultStatus(result) != PGRES_TUPLES_OK)
		{
			fputs(PQerrorMessage(connection), stderr);
			return 1;
		}
		PQclear(result);
		calls++;
		ended = now();
	} while (ended < began + seconds);
	printf("%.1f\n", (double) calls / (ended - began));
	PQfinish(connection);
	return 0;
}
