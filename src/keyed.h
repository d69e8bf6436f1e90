/*-------------------------------------------------------------------------
 *
 * keyed.h
 *	  By which column is each source of a query keyed?
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_KEYED_H
#define SC_KEYED_H

#include "access/attnum.h"
#include "nodes/pg_list.h"

/*
 * A column that is compared with a parameter: rows that have another value in it,
 * or NULL, do not change what the query returns.  If the parameter is NULL, no row does.
 */
typedef struct ScKeyed
{
	Oid			relid;
	AttrNumber	attno;			/* greater than 0 */
	int			parameter;		/* from 1 */
	Oid			hash_type;		/* by which a value of the column is hashed */
	Oid			value_type;		/* by which the parameter's value is hashed */
	Oid			opfamily;		/* the default hash family of both types */
	Oid			collation;		/* the column's, for both hashes */
} ScKeyed;

typedef struct ScNotKeyed
{
	Oid			relid;
	const char *reason;			/* may stand after "is not keyed: " */
} ScNotKeyed;

/*
 * Looks at a section's query, as it was analysed and rewritten and before it is
 * planned; its relations are locked.  Each relation that is scanned anywhere in it,
 * or that a function is given by name, is in one of the results, which are allocated
 * in the current memory context:
 *
 * keyed	 of ScKeyed; each (relid, attno, parameter) once.  A relation has several if
 *			 its scans compare differently.  Then a row may change the result if one of
 *			 its columns has the value of that column's parameter.
 * not_keyed of ScNotKeyed, each relation once.
 *
 * What functions read by themselves is not seen.  Runs no code of users.
 */
extern void sc_keyed_find(List *queries, List **keyed, List **not_keyed);

/*
 * The hash of a value that is not NULL.  False: the type has no extended hash function
 * of PostgreSQL's own in its default hash family.  The collation is that of ScKeyed.
 * Values that an operator of the family says are equal have the same hash, each by its
 * own type.
 */
extern bool sc_keyed_hash(Oid type, Oid collation, Datum value, uint64 *hash);

#endif							/* SC_KEYED_H */
