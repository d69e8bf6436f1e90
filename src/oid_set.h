/*-------------------------------------------------------------------------
 *
 * oid_set.h
 *	  Hashes by Oid, sets of Oids, and lists without duplicates.
 *
 * A list that is searched for each Oid that is added to it takes time by the
 * square of their number, and how many there are is often up to the caller.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_OID_SET_H
#define SC_OID_SET_H

#include "nodes/pg_list.h"
#include "utils/hsearch.h"

#include "base.h"

/* An empty hash by Oid, in the current memory context. */
static inline HTAB *
sc_oid_hash(const char *name, Size entrysize)
{
	HASHCTL		info;

	info.keysize = sizeof(Oid);
	info.entrysize = entrysize;
	info.hcxt = CurrentMemoryContext;
	return hash_create(name, 64, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* An empty set, in the current memory context. */
static inline HTAB *
sc_oid_set(void)
{
	return sc_oid_hash("summary_cache Oids", sizeof(Oid));
}

static inline bool
sc_oid_set_has(HTAB *set, Oid oid)
{
	return hash_search(set, &oid, HASH_FIND, NULL) != NULL;
}

/* False if it was there already. */
static inline bool
sc_oid_set_add(HTAB *set, Oid oid)
{
	bool		found;

	(void) hash_search(set, &oid, HASH_ENTER, &found);
	return !found;
}

/* Oids in the order in which they were added, each once; empty: zeroes. */
typedef struct ScOidList
{
	List	   *list;
	HTAB	   *known;			/* NULL as long as they are few */
} ScOidList;

/* As many are searched for one by one. */
#define SC_OIDS_FEW		32

static inline bool
sc_oid_list_has(const ScOidList *oids, Oid oid)
{
	return oids->known ? sc_oid_set_has(oids->known, oid) : list_member_oid(oids->list, oid);
}

/* False if it was there already.  In the current memory context. */
static inline bool
sc_oid_list_add(ScOidList *oids, Oid oid)
{
	if (sc_oid_list_has(oids, oid))
		return false;
	oids->list = lappend_oid(oids->list, oid);
	if (oids->known)
		(void) sc_oid_set_add(oids->known, oid);
	else if (list_length(oids->list) > SC_OIDS_FEW)
	{
		ListCell   *lc;

		oids->known = sc_oid_set();
		foreach(lc, oids->list)
		{
			(void) sc_oid_set_add(oids->known, lfirst_oid(lc));
		}
	}
	return true;
}

#endif							/* SC_OID_SET_H */
