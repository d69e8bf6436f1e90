/*-------------------------------------------------------------------------
 *
 * assure.c
 *	  A primary assures its standbys that a transaction's DDL is none of theirs.
 *
 * A standby sees that a transaction has changed catalogs, and not what that means
 * (watch.c).  So DDL ends all its hits.  For most DDL that is right.  But a busy
 * primary creates and drops temporary tables all the time, which no section reads.
 *
 * The primary knows better.  Before such a transaction commits, it writes one more
 * record: in the catalogs of its database this transaction has changed nothing but
 * what belongs to temporary relations.  The standby then counts its changes of
 * catalogs for nothing.  What else the transaction has written counts as ever.
 *
 * The record is written if all of this is so:
 *
 *	-	No command, and no write of a catalog, was DDL for anybody else (hooks.c,
 *		ddl.c).  That is about what sections mean.
 *	-	Whatever was dropped is temporary, or a part of a relation.  What goes at the
 *		end of a session, by DISCARD, by ON COMMIT DROP or by autovacuum goes
 *		without a command, and takes along what depends on it.
 *	-	Every relation that the transaction's invalidations name is temporary, and
 *		there is one.  A standby knows tables by their files.  A permanent table that
 *		has got another file, in whatever way, has an invalidation.
 *
 * What comes later in the commit takes it back by another record: a command of
 * another library's callback, or a drop.
 *
 * The record is a logical message, the kind that the server has for extensions.
 * Anybody may write one of those by pg_logical_emit_message().  But that has the
 * database of its session.  Ours has none, which no SQL can bring about: only code
 * in the server can, and that can do anything.  For the same reason nobody who
 * decodes the WAL gets to see it, since a decoder looks at its own database's.
 * There is nothing in it that could be used for another transaction.
 *
 * A commit must not wait or fail for this.  If a catalog is locked, or there is no room
 * for one more lock, nothing is said.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_attrdef.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_policy.h"
#include "catalog/pg_rewrite.h"
#include "catalog/pg_trigger.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "replication/message.h"
#include "storage/lmgr.h"
#include "storage/sinval.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "assure.h"
#include "debug.h"
#include "oid_set.h"

/* What follows the prefix, SC_NAME. */
#define SAYS_TEMPORARY	1
#define SAYS_REFUSED	2

typedef struct Statement
{
	uint32		says;
	Oid			database;
} Statement;

static bool refused = false;	/* see sc_assure_refuse() */
static bool given = false;		/* it was said already */

static object_access_hook_type object_access_next;

/*-------------------------------------------------------------------------
 * The record
 *-------------------------------------------------------------------------
 */

static void
write_statement(uint32 says)
{
	xl_logical_message header;
	Statement	statement = {says, MyDatabaseId};

	memset(&header, 0, sizeof(header));
	header.dbId = InvalidOid;	/* the proof: see the head of this file */
	header.transactional = true;
	header.prefix_size = sizeof(SC_NAME);
	header.message_size = sizeof(statement);

	XLogBeginInsert();
	XLogRegisterData((char *) &header, SizeOfLogicalMessage);
	XLogRegisterData(SC_NAME, sizeof(SC_NAME));
	XLogRegisterData((char *) &statement, sizeof(statement));
	(void) XLogInsert(RM_LOGICALMSG_ID, XLOG_LOGICAL_MESSAGE);
}

ScAssurance
sc_assure_read(XLogReaderState *record, Oid *database)
{
	const xl_logical_message *message = (xl_logical_message *) XLogRecGetData(record);
	uint32		length = XLogRecGetDataLen(record);
	Statement	statement;

	if ((XLogRecGetInfo(record) & ~XLR_INFO_MASK) != XLOG_LOGICAL_MESSAGE ||
		length < SizeOfLogicalMessage + sizeof(SC_NAME) ||
		OidIsValid(message->dbId) ||
		message->prefix_size != sizeof(SC_NAME) ||
		memcmp(message->message, SC_NAME, sizeof(SC_NAME)) != 0)
		return SC_ASSURANCE_NONE;
	if (message->message_size != sizeof(statement) ||
		length != SizeOfLogicalMessage + sizeof(SC_NAME) + sizeof(statement))
		return SC_ASSURANCE_REFUSED;
	memcpy(&statement, message->message + sizeof(SC_NAME), sizeof(statement));
	*database = statement.database;
	return statement.says == SAYS_TEMPORARY && OidIsValid(statement.database) ?
		SC_ASSURANCE_GIVEN : SC_ASSURANCE_REFUSED;
}

/*-------------------------------------------------------------------------
 * What the transaction does
 *-------------------------------------------------------------------------
 */

void
sc_assure_refuse(void)
{
	refused = true;
	if (given && !SC_WEAK(SC_PROTOCOL_ASSURE_ALL))
	{
		given = false;
		write_statement(SAYS_REFUSED);
	}
}

/* Does an object that is dropped concern only those who see temporary ones? */
static bool
may_go(Oid class, Oid object)
{
	AttrNumber	attnum;
	HeapTuple	tuple;
	bool		isnull = true;
	Datum		namespace = 0;
	int			cache;

	switch (class)
	{
		case AttrDefaultRelationId:
		case TriggerRelationId:
		case RewriteRelationId:
		case PolicyRelationId:
			/* the invalidation of the relation that has it tells */
			return true;
		default:
			break;
	}
	if (!is_objectclass_supported(class))
		return false;
	attnum = get_object_attnum_namespace(class);
	cache = get_object_catcache_oid(class);
	if (attnum == InvalidAttrNumber || cache < 0)
		return false;
	tuple = SearchSysCache1(cache, ObjectIdGetDatum(object));
	if (!HeapTupleIsValid(tuple))
		return false;
	namespace = SysCacheGetAttr(cache, tuple, attnum, &isnull);
	ReleaseSysCache(tuple);
	return !isnull && isAnyTempNamespace(DatumGetObjectId(namespace));
}

static void
object_access(ObjectAccessType access, Oid class, Oid object, int part, void *arg)
{
	if (object_access_next)
		object_access_next(access, class, object, part, arg);
	if (access == OAT_DROP && !refused && !may_go(class, object))
		sc_assure_refuse();
}

/*
 * Is a relation temporary?  It may be dropped already: so all that was ever in
 * pg_class under its Oid has to be.
 */
static bool
is_temporary(Relation pg_class, Oid relid)
{
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	bool		found = false;
	bool		temporary = true;

	ScanKeyInit(&key, Anum_pg_class_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(pg_class, ClassOidIndexId, true, SnapshotAny, 1, &key);
	while (temporary && (tuple = systable_getnext(scan)) != NULL)
	{
		found = true;
		temporary = ((Form_pg_class) GETSTRUCT(tuple))->relpersistence == RELPERSISTENCE_TEMP;
	}
	systable_endscan(scan);
	return found && temporary;
}

/* Are the relations that the invalidations name all temporary?  There must be one. */
static bool
names_only_temporary(Relation pg_class, const SharedInvalidationMessage *messages, int nmessages)
{
	ScOidList	relations = {0};

	for (int i = 0; i < nmessages; i++)
	{
		const SharedInvalidationMessage *message = &messages[i];

		if (message->id >= 0 || message->id == SHAREDINVALSNAPSHOT_ID)
			continue;			/* rows of catalogs */
		if (message->id != SHAREDINVALRELCACHE_ID)
			return false;
		if (sc_oid_list_add(&relations, message->rc.relId) && !is_temporary(pg_class, message->rc.relId))
			return false;
	}
	return relations.list != NIL;
}

/* False if somebody would have to be waited for, or if there is no room for the lock. */
static bool
lock_to_read(Oid catalog)
{
	LOCKTAG		tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, catalog);
	return SC_LOCK_ACQUIRE_NOWAIT(&tag, AccessShareLock, false) != LOCKACQUIRE_NOT_AVAIL;
}

static bool
is_harmless(const SharedInvalidationMessage *messages, int nmessages)
{
	/* all that is read here */
	static const Oid catalogs[] = {RelationRelationId, ClassOidIndexId, ExtensionRelationId, ExtensionNameIndexId};
	int			nlocked = 0;
	bool		harmless = false;

	while (nlocked < lengthof(catalogs) && lock_to_read(catalogs[nlocked]))
		nlocked++;
	if (nlocked == lengthof(catalogs))
	{
		Relation	pg_class;

		AcceptInvalidationMessages();
		pg_class = table_open(RelationRelationId, NoLock);
		/* without the extension there is nobody to assure */
		harmless = names_only_temporary(pg_class, messages, nmessages) &&
			OidIsValid(get_extension_oid(SC_NAME, true));
		table_close(pg_class, NoLock);
	}
	while (nlocked > 0)
		UnlockRelationOid(catalogs[--nlocked], AccessShareLock);
	return harmless;
}

void
sc_assure_before_commit(void)
{
	SharedInvalidationMessage *messages;
	int			nmessages;
	bool		init_file;
	bool		harmless;

	if ((refused && !SC_WEAK(SC_PROTOCOL_ASSURE_ALL)) || given || !XLogStandbyInfoActive() ||
		!TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return;
	nmessages = xactGetCommittedInvalidationMessages(&messages, &init_file);
	if (nmessages == 0)
		return;
	harmless = SC_WEAK(SC_PROTOCOL_ASSURE_ALL) ||
		(!init_file && is_harmless(messages, nmessages));
	pfree(messages);
	if (!harmless)
		return;
	write_statement(SAYS_TEMPORARY);
	given = true;
}

void
sc_assure_end(void)
{
	refused = false;
	given = false;
}

void
sc_assure_init(void)
{
	object_access_next = object_access_hook;
	object_access_hook = object_access;
}
