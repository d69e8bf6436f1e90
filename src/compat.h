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

/* From 16 on, postgres.h has no variable-length types any more. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* This backend's number, from 0: below MaxBackends for all that run transactions. */
#if PG_VERSION_NUM >= 170000
#define SC_MY_BACKEND	((int) MyProcNumber)
#define SC_MY_LXID		(MyProc->vxid.lxid)
#else
#define SC_MY_BACKEND	((int) MyBackendId - 1)
#define SC_MY_LXID		(MyProc->lxid)
#endif

/* The process of a virtual transaction, or NULL; and the local number of what it runs. */
#if PG_VERSION_NUM >= 170000
#define SC_PROC_OF_VXID(id)	ProcNumberGetProc((id).procNumber)
#define SC_PROC_LXID(proc)	((proc)->vxid.lxid)
#else
#define SC_PROC_OF_VXID(id)	BackendIdGetProc((id).backendId)
#define SC_PROC_LXID(proc)	((proc)->lxid)
#endif

/* Is a lock of this mode or a stronger one held by this backend? */
#if PG_VERSION_NUM >= 170000
#define SC_LOCK_HELD(tag, mode) LockHeldByMe(tag, mode, false)
#else
#define SC_LOCK_HELD(tag, mode) LockHeldByMe(tag, mode)
#endif

/* Take a lock, for the session or the transaction, if that needs no wait; raises nothing. */
#if PG_VERSION_NUM >= 180000
#define SC_LOCK_ACQUIRE_NOWAIT(tag, mode, session) \
	LockAcquireExtended(tag, mode, session, true, false, NULL, false)
#else
#define SC_LOCK_ACQUIRE_NOWAIT(tag, mode, session) \
	LockAcquireExtended(tag, mode, session, true, false, NULL)
#endif

/* Does the current role own a database, a relation, or an extension? */
#if PG_VERSION_NUM >= 160000
#define SC_OWNS_DATABASE(oid) object_ownercheck(DatabaseRelationId, oid, GetUserId())
#define SC_OWNS_RELATION(oid) object_ownercheck(RelationRelationId, oid, GetUserId())
#define SC_OWNS_EXTENSION(oid) object_ownercheck(ExtensionRelationId, oid, GetUserId())
#else
#define SC_OWNS_DATABASE(oid) pg_database_ownercheck(oid, GetUserId())
#define SC_OWNS_RELATION(oid) pg_class_ownercheck(oid, GetUserId())
#define SC_OWNS_EXTENSION(oid) pg_extension_ownercheck(oid, GetUserId())
#endif

/* The type that a string names, and its modifier; an error if it names none. */
#if PG_VERSION_NUM >= 160000
#define SC_PARSE_TYPE_STRING(string, type, typmod) ((void) parseTypeString(string, type, typmod, NULL))
#else
#define SC_PARSE_TYPE_STRING(string, type, typmod) parseTypeString(string, type, typmod, false)
#endif

/* Was an error raised in a C function of this name? */
#define SC_IS_RAISED_BY(error, function) \
	((error)->funcname && strcmp((error)->funcname, function) == 0)

/*
 * Was an error raised because somebody wants this command to end?  Only
 * ProcessInterrupts() raises it for that reason; nothing but its name tells.
 */
#define SC_IS_CANCEL(error) \
	((error)->sqlerrcode == ERRCODE_QUERY_CANCELED && SC_IS_INTERRUPT(error))

/* Was it the server that ended the command: for a timeout, a shutdown, or as above? */
#define SC_IS_INTERRUPT(error) SC_IS_RAISED_BY(error, "ProcessInterrupts")

/* Was it lock_timeout? */
#define SC_IS_LOCK_TIMEOUT(error) \
	((error)->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE && SC_IS_INTERRUPT(error))

/* Was an error raised because a wait for a lock would have been a deadlock? */
#define SC_IS_DEADLOCK(error) \
	((error)->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED && SC_IS_RAISED_BY(error, "DeadLockReport"))

/* The file that the first block of a WAL record is in; the next xid, for the startup process; a mapped
 * relation's file. */
#if PG_VERSION_NUM >= 160000
#define SC_RECORD_FILE	RelFileLocator
#define SC_RECORD_GET_FILE(record) (&XLogRecGetBlock(record, 0)->rlocator)
#define SC_FILE_TABLESPACE	spcOid
#define SC_FILE_DATABASE	dbOid
#define SC_FILE_NUMBER		relNumber
#define SC_MAPPED_FILE(relid, shared) RelationMapOidToFilenumber(relid, shared)
#else
#define SC_RECORD_FILE	RelFileNode
#define SC_RECORD_GET_FILE(record) (&XLogRecGetBlock(record, 0)->rnode)
#define SC_FILE_TABLESPACE	spcNode
#define SC_FILE_DATABASE	dbNode
#define SC_FILE_NUMBER		relNode
#define SC_MAPPED_FILE(relid, shared) RelationMapOidToFilenode(relid, shared)
#endif
#if PG_VERSION_NUM >= 170000
#define SC_NEXT_FULL_XID	(TransamVariables->nextXid)
#else
#define SC_NEXT_FULL_XID	(ShmemVariableCache->nextXid)
#endif

/* Is this process a background worker? */
#if PG_VERSION_NUM >= 170000
#define SC_IN_BACKGROUND_WORKER AmBackgroundWorkerProcess()
#else
#define SC_IN_BACKGROUND_WORKER IsBackgroundWorker
#endif

/* A wait event of our own: by name where the server has such names. */
#if PG_VERSION_NUM >= 170000
#define SC_NEW_WAIT_EVENT(name) WaitEventExtensionNew(name)
#else
#define SC_NEW_WAIT_EVENT(name) PG_WAIT_EXTENSION
#endif

/* The origin of what this session applies, as it is logged; 0: it is no replica of anything. */
#if PG_VERSION_NUM >= 190000
#define SC_REPLICATION_ORIGIN (replorigin_xact_state.origin)
#else
#define SC_REPLICATION_ORIGIN replorigin_session_origin
#endif

/* Let no setting of the database's or the server's end this process's transactions. */
#if PG_VERSION_NUM >= 170000
#define SC_NO_TRANSACTION_TIMEOUT() \
	SetConfigOption("transaction_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE)
#else
#define SC_NO_TRANSACTION_TIMEOUT() ((void) 0)
#endif

/* Before the declaration of a function that does not return. */
#if PG_VERSION_NUM >= 180000
#define SC_NORETURN pg_noreturn
#else
#define SC_NORETURN pg_attribute_noreturn()
#endif

/* The last argument of functions that from 16 on may report an error instead of raising it. */
#if PG_VERSION_NUM >= 160000
#define SC_NO_SOFT_ERROR , NULL
#else
#define SC_NO_SOFT_ERROR
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

/*
 * For each relation that a plan writes, its index in the range table.
 * Allocates nothing.
 */
#if PG_VERSION_NUM >= 190000
#define SC_FOREACH_RESULT(index, stmt) \
	for (int index = -1; (index = bms_next_member((stmt)->resultRelationRelids, index)) >= 0;)
#else
/* NOLINTBEGIN(bugprone-macro-parentheses): it is declared here */
#define SC_FOREACH_RESULT(index, stmt) \
	for (int n_ = 0, index; n_ < list_length((stmt)->resultRelations) && \
		 (index = list_nth_int((stmt)->resultRelations, n_)) > 0; n_++)
/* NOLINTEND(bugprone-macro-parentheses) */
#endif

/* Commands that change no query's result and are not in every version. */
#if PG_VERSION_NUM >= 190000
#define SC_CASE_HARMLESS	case T_RepackStmt: case T_WaitStmt
#else
#define SC_CASE_HARMLESS	case T_ClusterStmt
#endif

/* Does DROP OWNED revoke roles that the role has granted, which count in all databases? */
#define SC_DROP_OWNED_REVOKES_ROLES (PG_VERSION_NUM >= 160000)

/* May the current user read what a query has in FROM? */
#if PG_VERSION_NUM >= 160000
#define SC_MAY_READ(query) ExecCheckPermissions((query)->rtable, (query)->rteperminfos, false)
#else
#define SC_MAY_READ(query) ExecCheckRTPerms((query)->rtable, false)
#endif

/* The parameters of a hash table's allocator. */
#if PG_VERSION_NUM >= 190000
#define SC_HASH_ALLOC_PARAMS Size size, void *arg
#else
#define SC_HASH_ALLOC_PARAMS Size size
#endif

/* Look for a function; the rest are the places of the result. */
#if PG_VERSION_NUM >= 190000
#define SC_FUNC_GET_DETAIL(name, nargs, types, ...) \
	func_get_detail(name, NIL, NIL, nargs, types, false, false, false, &(int) {0}, __VA_ARGS__)
#else
#define SC_FUNC_GET_DETAIL(name, nargs, types, ...) \
	func_get_detail(name, NIL, NIL, nargs, types, false, false, false, __VA_ARGS__)
#endif

/* The name of a value of an enum setting, given as its struct config_generic. */
#if PG_VERSION_NUM >= 190000
#define SC_ENUM_NAME(setting, value) config_enum_lookup_by_value(setting, value)
#else
#define SC_ENUM_NAME(setting, value) \
	config_enum_lookup_by_value((struct config_enum *) (setting), value)
#endif

/* Is a column's value not stored in its row? */
#ifdef ATTRIBUTE_GENERATED_VIRTUAL
#define SC_IS_VIRTUAL(attribute) ((attribute)->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL)
#else
#define SC_IS_VIRTUAL(attribute) false
#endif

/* From 18 on, the library can say what it is: pg_get_loaded_modules(). */
#if PG_VERSION_NUM >= 180000
#define SC_MODULE_MAGIC PG_MODULE_MAGIC_EXT(.name = SC_NAME, .version = SC_VERSION)
#else
#define SC_MODULE_MAGIC PG_MODULE_MAGIC
#endif

#endif							/* SC_COMPAT_H */
