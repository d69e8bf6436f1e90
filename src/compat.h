/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  Differences between server versions, and nothing else.
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_COMPAT_H
#define SC_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "summary_cache needs PostgreSQL 15 or later"
#endif

/* This backend's number, from 0: below MaxBackends for all that run transactions. */
#if PG_VERSION_NUM >= 170000
#define SC_MY_BACKEND	((int) MyProcNumber)
#define SC_MY_LXID		(MyProc->vxid.lxid)
#else
#define SC_MY_BACKEND	((int) MyBackendId - 1)
#define SC_MY_LXID		(MyProc->lxid)
#endif

/* Is a lock of this mode or a stronger one held by this backend? */
#if PG_VERSION_NUM >= 170000
#define SC_LOCK_HELD(tag, mode) LockHeldByMe(tag, mode, false)
#else
#define SC_LOCK_HELD(tag, mode) LockHeldByMe(tag, mode)
#endif

/* Does the current role own a database? */
#if PG_VERSION_NUM >= 160000
#define SC_OWNS_DATABASE(oid) object_ownercheck(DatabaseRelationId, oid, GetUserId())
#else
#define SC_OWNS_DATABASE(oid) pg_database_ownercheck(oid, GetUserId())
#endif

/* Is this process a background worker? */
#if PG_VERSION_NUM >= 170000
#define SC_IN_BACKGROUND_WORKER AmBackgroundWorkerProcess()
#else
#define SC_IN_BACKGROUND_WORKER IsBackgroundWorker
#endif

/* Before the declaration of a function that does not return. */
#if PG_VERSION_NUM >= 180000
#define SC_NORETURN pg_noreturn
#else
#define SC_NORETURN pg_attribute_noreturn()
#endif

/* Set when one trigger of one table fires; nothing recursive, no system triggers. */
#if PG_VERSION_NUM >= 160000
#define SC_SET_TRIGGER_FIRING(rel, name, fires) \
	EnableDisableTrigger(rel, name, InvalidOid, fires, false, false, ShareRowExclusiveLock)
#else
#define SC_SET_TRIGGER_FIRING(rel, name, fires) \
	EnableDisableTriggerNew2(rel, name, InvalidOid, fires, false, false, ShareRowExclusiveLock)
#endif

/* A shared hash table of a fixed size. */
#if PG_VERSION_NUM >= 190000
#define SC_SHMEM_INIT_HASH(name, size, info, flags) ShmemInitHash(name, size, info, flags)
#else
#define SC_SHMEM_INIT_HASH(name, size, info, flags) ShmemInitHash(name, size, size, info, flags)
#endif

#endif							/* SC_COMPAT_H */
