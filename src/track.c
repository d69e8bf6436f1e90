/*-------------------------------------------------------------------------
 *
 * track.c
 *	  Which tables are tracked, and the triggers on them.
 *
 * A tracked table has a statement trigger, ENABLE ALWAYS, which fires for every
 * statement that names the table.
 *
 * What applies the changes of another server executes no statements, only rows.
 * A row trigger would fire there (ENABLE REPLICA), but every local writer would
 * pay for it, too: for any table that has one the executor fetches each old row
 * once more, whether it fires or not.  Instead, a transaction that applies such
 * changes is taken to have written each tracked table that it holds a writer's
 * lock on (see sc_commit_applies()).
 *
 * A statement on a partitioned or inherited table fires the triggers of the
 * table that it names, not those of the tables that hold the rows.  So every
 * member of a source's tree has the trigger.
 *
 * Which word a table has must not change while a transaction that has marked it
 * is open, prepared ones included.  Partitions share the word of the topmost
 * partitioned table: ATTACH and DETACH lock the writers of all partitions below
 * out.  INHERIT and NO INHERIT do not, they lock the table that they name only.
 * So under plain inheritance each table has a word of its own, and the label of
 * a source has the words of all tables that inherit from it.  Which ones these
 * are is found out after the label was begun; what changes it later is DDL, which
 * moves the catch-all word of the label.
 *
 * A member of a tree of partitions that a section reads by itself has a word beside
 * its root's (word.c).  Who writes a partition marks the words of all that it is a
 * part of, and of itself, as far as there are any.  Who writes a table that has
 * partitions may write any of them: the executor shows which, when a plan has ended;
 * for everything else, all members of the tree count.  So a label that has a member's
 * word instead of the root's is moved by whatever may have changed a row below the
 * member.
 *
 * A source from which documents are kept by the value of a column has a second trigger,
 * for each row and ENABLE ALWAYS, whose arguments are the names of such columns: it says
 * the values that a row had and that it has (see commit.c).  A table with partitions has
 * no rows, and a row trigger there would be cloned to its partitions: it has one for
 * each statement instead, which only shows that the tree is keyed.  Rows that somebody
 * writes without firing triggers are no rows of a table that has it: every writer that
 * began before it was there has ended when it is.
 *
 * Another session's temporary table may inherit from a source.  Nobody else ever
 * reads it, so it has no trigger, and no label has its word.  A session with such
 * a table of its own reads the source privately.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "nodes/makefuncs.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "clock.h"
#include "commit.h"
#include "compat_guc.h"
#include "debug.h"
#include "extension.h"
#include "keyed.h"
#include "oid_set.h"
#include "role.h"
#include "settings.h"
#include "shmem.h"
#include "subtransaction.h"
#include "track.h"

#define TRIGGER_NAME	"summary_cache_statement"
#define KEY_TRIGGER_NAME	"summary_cache_keys"
#define EVENTS_OF_ROWS	(TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE)
#define TRIGGER_TGTYPE	(TRIGGER_TYPE_AFTER | TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | \
						 TRIGGER_TYPE_DELETE | TRIGGER_TYPE_TRUNCATE)

/* A tree of partitions that is deeper is one to who writes its lowest ones. */
#define MAX_PATH	4

/* A column whose values are said. */
typedef struct KeyColumn
{
	AttrNumber	attnum;			/* InvalidAttrNumber: there is none, or its
								 * value is not in the row */
	bool		is_varlena;
	Oid			type;
	Oid			collation;
	uint64		seed;			/* sc_key_seed() */
} KeyColumn;

typedef struct KeyColumns
{
	int			n;
	KeyColumn	columns[FLEXIBLE_ARRAY_MEMBER];
} KeyColumns;

/*
 * What this backend knows of a table, by relid; forgotten when the table's
 * relcache entry is invalidated.
 */
typedef struct TrackedTable
{
	Oid			relid;			/* hash key */
	bool		valid;			/* cleared by an invalidation of the table */
	bool		alone;			/* not a partition */
	bool		has_partitions; /* or could have some */
	int8		npath;			/* of a partition: how many members of the
								 * tree it is a part of, itself included but
								 * not the root; -1: too many */
	Oid			path[MAX_PATH]; /* and which ones */
	uint64		read_at;		/* invalidations when it was read */
	bool		tracked;
	bool		catch_all;		/* its writes concern every summary */
	LocalTransactionId marked_lxid; /* transaction that has marked it already */
	Oid			function;		/* of the trigger, if it is tracked */
	Oid			key_function;	/* of the key trigger, if it has one */
	KeyColumns *keys;			/* of that; NULL: not known yet */
	bool		has_children;
	bool		provable;		/* known to be: see sc_track_examine() */
	ScSlotRef	ref;
} TrackedTable;

#define MAX_TRACKED_TABLES 4096

static HTAB *tracked_tables = NULL;

/* The one that was looked up last: a statement looks up its table twice. */
static TrackedTable *last_table = NULL;

/*
 * Relcache invalidations seen so far, and when the last one was of all tables.
 * A table that is alone is itself invalidated when it becomes a partition; but a
 * partition is not always, when its parent becomes one.
 */
static uint64 invalidations = 0;
static uint64 flushed_at = 0;

PG_FUNCTION_INFO_V1(sc_touch);
PG_FUNCTION_INFO_V1(sc_key);

/* A table changed its shape or its triggers, or joined or left a tree. */
static void
relcache_callback(Datum arg, Oid relid)
{
	TrackedTable *table;

	invalidations++;
	if (!OidIsValid(relid))
	{
		flushed_at = invalidations;
		return;
	}
	table = hash_search(tracked_tables, &relid, HASH_FIND, NULL);
	if (table)
		table->valid = false;
}

/* Memory for tracked_tables: a writer must not fail for want of it. */
static void *
alloc_no_error(SC_HASH_ALLOC_PARAMS)
{
	return MemoryContextAllocExtended(TopMemoryContext, size, MCXT_ALLOC_NO_OOM);
}

static Trigger *
find_trigger_named(TriggerDesc *desc, const char *name)
{
	if (desc)
		for (int i = 0; i < desc->numtriggers; i++)
			if (strcmp(desc->triggers[i].tgname, name) == 0)
				return &desc->triggers[i];
	return NULL;
}

/* The trigger of our name, whosever it is. */
static Trigger *
find_trigger(TriggerDesc *desc)
{
	return find_trigger_named(desc, TRIGGER_NAME);
}

/*
 * The function of our triggers; InvalidOid if the extension is gone.  A writer
 * needs no rights to find it: the extension may live in a schema that is closed
 * to him.
 */
static Oid
trigger_function(const char *name)
{
	Oid			schema = sc_extension_schema(true);

	if (!OidIsValid(schema))
		return InvalidOid;
	return GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
						   CStringGetDatum(name),
						   PointerGetDatum(buildoidvector(NULL, 0)),
						   ObjectIdGetDatum(schema));
}

static Oid
touch_function(void)
{
	return trigger_function("summary_cache_touch");
}

static Oid
key_function(void)
{
	return trigger_function("summary_cache_key");
}

/*-------------------------------------------------------------------------
 * Trees
 *-------------------------------------------------------------------------
 */

/* The tables that a table inherits from, or is a partition of, directly. */
static List *
parents_of(Oid relid)
{
	Relation	inherits = table_open(InheritsRelationId, AccessShareLock);
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	List	   *parents = NIL;

	ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(inherits, InheritsRelidSeqnoIndexId, true, NULL, 1, &key);
	while ((tuple = systable_getnext(scan)) != NULL)
		parents = lappend_oid(parents, ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent);
	systable_endscan(scan);
	table_close(inherits, AccessShareLock);
	return parents;
}

/* The table that a table is a partition of, directly; InvalidOid: of none. */
static Oid
partitioned_by(Oid relid)
{
	List	   *parents;
	Oid			parent = InvalidOid;

	if (!get_rel_relispartition(relid) && !SC_WEAK(SC_PROTOCOL_TREE_WORD))
		return InvalidOid;
	parents = parents_of(relid);
	if (parents != NIL)
		parent = linitial_oid(parents);
	list_free(parents);
	return parent;
}

/*
 * The table whose word a table has: the topmost table that it is a partition of,
 * directly or not, or itself.  While DETACH CONCURRENTLY waits for the writers of
 * a partition, the partition still has the word that they have marked: it is one
 * until it is really detached, and then these are locked out.
 */
Oid
sc_track_root(Oid relid)
{
	Oid			parent;

	while (OidIsValid(parent = partitioned_by(relid)))
		relid = parent;
	return relid;
}

/* A partition and all that it is a part of, without the root, which is returned apart. */
static List *
path_below_root(Oid relid, Oid *root)
{
	List	   *path = NIL;
	Oid			parent;

	for (; OidIsValid(parent = partitioned_by(relid)); relid = parent)
		path = lappend_oid(path, relid);
	*root = relid;
	return path;
}

/*
 * The lowest member of a source's tree of partitions that all are below, or are,
 * which a query reads there; InvalidOid if that is the root, or if it is not known
 * what is read.  What has partitions has no rows of its own.
 */
Oid
sc_track_member(Oid source, List *read)
{
	Oid			root = sc_track_root(source);
	List	   *common = NIL;
	bool		any = false;
	ListCell   *lc;

	if (get_rel_relkind(root) != RELKIND_PARTITIONED_TABLE)
		return InvalidOid;
	foreach(lc, read)
	{
		Oid			relid = lfirst_oid(lc);
		Oid			its_root;
		List	   *path;
		ListCell   *step;

		if (get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE)
			continue;
		path = path_below_root(relid, &its_root);
		if (its_root != root)
			continue;
		if (!any)
			common = path;
		any = true;
		foreach(step, common)
		{
			if (!list_member_oid(path, lfirst_oid(step)))
				common = foreach_delete_current(common, step);
		}
		if (common == NIL)
			break;
	}
	/* from the lowest on */
	return common ? linitial_oid(common) : InvalidOid;
}

/* A table and all that it inherits from, or is a partition of, directly or not. */
static List *
with_ancestors(Oid relid)
{
	List	   *ancestors = list_make1_oid(relid);
	ListCell   *lc;

	/* the list grows as we go along */
	foreach(lc, ancestors)
	{
		ancestors = list_concat_unique_oid(ancestors, parents_of(lfirst_oid(lc)));
	}
	return ancestors;
}

/* Does the label of a source stand for a table, which may be one of its members? */
bool
sc_track_covers(Oid source, Oid relid)
{
	return source == relid || list_member_oid(with_ancestors(relid), sc_track_root(source));
}

/*-------------------------------------------------------------------------
 * Sets of sources
 *
 * Of many sources and many tables, each table is to be told from what is stored
 * of the sources, and not by a look at each of them.
 *-------------------------------------------------------------------------
 */

struct ScCover
{
	HTAB	   *sources;		/* their Oids */
	HTAB	   *roots;			/* of those that are partitions; NULL: not
								 * looked for yet */
};

/* An empty set, in the current memory context. */
ScCover *
sc_track_cover(void)
{
	ScCover    *cover = palloc(sizeof(ScCover));

	cover->sources = sc_oid_set();
	cover->roots = NULL;
	return cover;
}

static void
add_root(ScCover *cover, Oid source)
{
	Oid			root = sc_track_root(source);

	if (root != source)
		(void) sc_oid_set_add(cover->roots, root);
}

void
sc_track_cover_add(ScCover *cover, const Oid *sources, int nsources)
{
	for (int i = 0; i < nsources; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (sc_oid_set_add(cover->sources, sources[i]) && cover->roots)
			add_root(cover, sources[i]);
	}
}

/* Is one of these a source of the set? */
static bool
has_any(HTAB *set, List *relids)
{
	ListCell   *lc;

	foreach(lc, relids)
	{
		if (sc_oid_set_has(set, lfirst_oid(lc)))
			return true;
	}
	return false;
}

static void
find_roots(ScCover *cover)
{
	HASH_SEQ_STATUS seq;
	Oid		   *source;

	cover->roots = sc_oid_set();
	hash_seq_init(&seq, cover->sources);
	while ((source = hash_seq_search(&seq)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		add_root(cover, *source);
	}
}

/*
 * sc_track_covers() of any of the sources.  A source covers what is below it, and
 * one that is a partition all of its tree.
 */
bool
sc_track_is_covered(ScCover *cover, Oid relid)
{
	List	   *ancestors;
	bool		covered;

	if (sc_oid_set_has(cover->sources, relid))
		return true;
	ancestors = with_ancestors(relid);
	covered = has_any(cover->sources, ancestors);
	/* of one that is in no tree, or is gone, there is no partition */
	if (!covered && (list_length(ancestors) > 1 ||
					 (get_rel_relkind(relid) != '\0' && has_subclass(relid))))
	{
		if (cover->roots == NULL)
			find_roots(cover);
		covered = has_any(cover->roots, ancestors);
	}
	list_free(ancestors);
	return covered;
}

/*
 * Is the slot of a table one that labels of these sources have?  That of a
 * partition is not, but in doubt it is kept.
 */
bool
sc_track_needs_slot(ScCover *cover, Oid relid)
{
	return sc_oid_set_has(cover->sources, relid) ||
		(!get_rel_relispartition(relid) && sc_track_is_covered(cover, relid));
}

/* Is a table, which may be gone, some session's temporary one? */
static bool
is_temporary(Oid relid)
{
	Oid			schema = get_rel_namespace(relid);

	return OidIsValid(schema) && isAnyTempNamespace(schema);
}

/* The members of a tree, which are not locked; NIL if it is gone. */
static List *
members_of(Oid root)
{
	return get_rel_relkind(root) == '\0' ? NIL : find_all_inheritors(root, NoLock, NULL);
}

/*
 * The tables whose words are in the label of a source, as it is now: the root's
 * stands for a tree of partitions.  A table that is gone may still have a slot.
 */
List *
sc_track_words(Oid relid)
{
	Oid			root = sc_track_root(relid);
	List	   *words = NIL;
	ListCell   *lc;

	if (get_rel_relkind(root) == RELKIND_PARTITIONED_TABLE || SC_WEAK(SC_PROTOCOL_TREE_WORD))
		return list_make1_oid(root);
	foreach(lc, members_of(root))
	{
		if (!is_temporary(lfirst_oid(lc)))
			words = lappend_oid(words, lfirst_oid(lc));
	}
	return words ? words : list_make1_oid(root);
}

/* Of these tables, those in a tree of partitions, and all between them and its root. */
static List *
members_above(Oid root, List *read)
{
	ScOidList	members = {list_make1_oid(root)};
	ListCell   *lc;

	foreach(lc, read)
	{
		List	   *path = NIL;
		Oid			relid = lfirst_oid(lc);

		/* as far as to one that was found to be in the tree before */
		while (OidIsValid(relid) && !sc_oid_list_has(&members, relid))
		{
			path = lcons_oid(relid, path);
			relid = partitioned_by(relid);
		}
		if (OidIsValid(relid))
		{
			ListCell   *step;

			foreach(step, path)
			{
				(void) sc_oid_list_add(&members, lfirst_oid(step));
			}
		}
	}
	return members.list;
}

/*
 * The members of a tree that concern a query, the root first; they are not locked.
 * read: the tables that the query reads, NIL if it may read any.
 *
 * Who writes a row of a partition names the partition, or one that it is a part
 * of.  So in a tree of partitions, what a query reads and what is above that
 * concerns it, and nothing else: the rows of other members are not in its result,
 * whether their changes are noticed or not.  And the label has one word for the
 * tree.  Under plain inheritance it has all members' words: all of them concern
 * the query.
 */
static List *
concerned_members(Oid root, List *read)
{
	if (read != NIL && get_rel_relkind(root) == RELKIND_PARTITIONED_TABLE)
		return members_above(root, read);
	return members_of(root);
}

/*-------------------------------------------------------------------------
 * Temporary members
 *-------------------------------------------------------------------------
 */

/* May this session have temporary tables that inherit from permanent ones? */
static bool may_have_temporary = false;

/* A command of this session has made a table inherit from others. */
void
sc_track_note_inheritance(void)
{
	may_have_temporary = true;
	sc_commit_note_own_rows(true);
}

/*
 * The permanent tables that temporary ones of this session inherit from.  They
 * are looked up again when any table has changed.  Most sessions have none, and
 * are told from others without a look.
 */
static List *
parents_of_temporary(void)
{
	static List *parents = NIL;
	static uint64 read_at = 0;
	Relation	inherits;
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *found = NIL;
	List	   *last = parents;
	uint64		begun_at;
	MemoryContext old;

	if (!may_have_temporary)
		return NIL;
	if (read_at == invalidations && read_at > 0)
		return parents;

	/* first, since reading it may bring more of them; what fails is no answer */
	begun_at = invalidations;
	inherits = table_open(InheritsRelationId, AccessShareLock);
	scan = systable_beginscan(inherits, InvalidOid, false, NULL, 0, NULL);
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		Form_pg_inherits form = (Form_pg_inherits) GETSTRUCT(tuple);

		if (isTempNamespace(get_rel_namespace(form->inhrelid)) && !is_temporary(form->inhparent))
			found = list_append_unique_oid(found, form->inhparent);
	}
	systable_endscan(scan);
	table_close(inherits, AccessShareLock);

	old = MemoryContextSwitchTo(TopMemoryContext);
	parents = list_copy(found);
	MemoryContextSwitchTo(old);
	read_at = begun_at;
	list_free(last);
	/* a transaction that has changed nothing cannot bring one back at its end */
	if (parents == NIL && !TransactionIdIsValid(GetTopTransactionIdIfAny()))
	{
		may_have_temporary = false;
		sc_commit_note_own_rows(false);
	}
	return parents;
}

/* Does this session have rows of its own in a temporary member of a source? */
bool
sc_track_has_own_rows(Oid source)
{
	ListCell   *lc;

	foreach(lc, parents_of_temporary())
	{
		if (sc_track_covers(source, lfirst_oid(lc)))
			return true;
	}
	return false;
}

/* The same of what a label stands for. */
bool
sc_track_has_own_rows_at(const ScLabel *label)
{
	ListCell   *lc;

	foreach(lc, parents_of_temporary())
	{
		uint64		key = SC_KEY_HERE(sc_track_root(lfirst_oid(lc)));
		int			slot = sc_slot_find(key, false);
		int			coarse = sc_key_coarse(key);

		/*
		 * without a slot, the catch-all may stand for it; what was loaded
		 * names none
		 */
		if (slot == SC_SLOT_NONE || sc_label_is_loaded(label))
			return true;
		for (int i = 0; i < label->nwords; i++)
			if (label->words[i].slot == (uint32) slot || label->words[i].slot == (uint32) coarse)
				return true;
	}
	return false;
}

/*-------------------------------------------------------------------------
 * Marks
 *-------------------------------------------------------------------------
 */

static void
forget_keys(TrackedTable *table)
{
	if (table->keys)
		pfree(table->keys);
	table->keys = NULL;
}

/* A session that writes ever new tables does not remember them all. */
static void
forget_some(void)
{
	HASH_SEQ_STATUS seq;
	TrackedTable *table;

	if (hash_get_num_entries(tracked_tables) < MAX_TRACKED_TABLES)
		return;
	last_table = NULL;
	hash_seq_init(&seq, tracked_tables);
	while ((table = hash_seq_search(&seq)) != NULL)
	{
		forget_keys(table);
		(void) hash_search(tracked_tables, &table->relid, HASH_REMOVE, NULL);
	}
}

/* Is what we know of a table still so? */
static inline bool
is_valid(const TrackedTable *table)
{
	return table->valid && table->read_at >= flushed_at &&
		(table->alone || table->read_at == invalidations);
}

/*
 * The root of a table's tree, and of a partition what it is a part of below that.  It
 * is attached or detached only while nobody writes it.
 */
static Oid
note_path(TrackedTable *table)
{
	Oid			root;
	List	   *path = path_below_root(table->relid, &root);
	ListCell   *lc;

	table->npath = list_length(path) <= MAX_PATH ? 0 : -1;
	if (table->npath == 0)
		foreach(lc, path)
	{
		table->path[table->npath++] = lfirst_oid(lc);
	}
	list_free(path);
	return root;
}

/*
 * What we know of a table that is open and locked by its writer; NULL
 * without memory.  The first look at a partition reads pg_inherits like any
 * other statement that reads a catalog: it waits while that is being rewritten.
 */
static TrackedTable *
table_lookup(Oid relid)
{
	TrackedTable *table;
	bool		found;
	bool		catch_all;
	bool		tracked;
	Relation	rel;
	Trigger    *trigger;
	Oid			function;
	Oid			ours;
	Oid			our_keys;

	if (last_table && last_table->relid == relid && is_valid(last_table))
		return last_table;
	table = hash_search(tracked_tables, &relid, HASH_FIND, &found);
	if (table == NULL)
	{
		forget_some();
		table = SC_FAILS("tables") ? NULL :
			hash_search(tracked_tables, &relid, HASH_ENTER_NULL, &found);
	}
	if (table == NULL)
		return NULL;
	last_table = table;
	if (!found)
		table->keys = NULL;
	if (found && is_valid(table))
		return table;

	/*
	 * What is read below may be invalidated meanwhile, or an error may end it
	 * half-way: so first say that the entry is valid, in its safest form.
	 */
	table->marked_lxid = InvalidLocalTransactionId;
	table->tracked = table->catch_all = true;
	table->function = InvalidOid;
	table->key_function = InvalidOid;
	forget_keys(table);
	table->alone = false;
	table->has_partitions = true;
	table->npath = -1;
	table->provable = false;
	table->read_at = invalidations;
	table->valid = true;

	/*
	 * looks at catalogs: after that, a trigger that was found might be freed
	 * memory
	 */
	ours = touch_function();
	our_keys = key_function();
	rel = RelationIdGetRelation(relid);
	if (rel == NULL)
	{
		table->valid = false;
		return NULL;
	}
	trigger = find_trigger(rel->trigdesc);
	/* anybody's trigger may have such a name */
	if (trigger && trigger->tgfoid != ours)
		trigger = NULL;
	function = trigger ? trigger->tgfoid : InvalidOid;
	table->has_children = rel->rd_rel->relhassubclass;
	table->has_partitions = rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;
	catch_all = trigger && trigger->tgnargs > 0;
	tracked = trigger != NULL;
	trigger = find_trigger_named(rel->trigdesc, KEY_TRIGGER_NAME);
	if (tracked && !catch_all && trigger && trigger->tgfoid == our_keys)
		table->key_function = our_keys;
	RelationClose(rel);

	if (tracked && !catch_all)
	{
		Oid			root = note_path(table);

		table->ref.key = SC_KEY_HERE(root);
		table->ref.slot = sc_slot_find(table->ref.key, true);
		table->alone = root == relid;
	}
	else
		table->alone = true;
	table->tracked = tracked;
	table->catch_all = catch_all;
	table->function = function;
	return table;
}

/* Of a tree of partitions, note which members are written, before the root is marked. */
static void
note_members(const TrackedTable *table, bool is_routed)
{
	if (table->has_partitions && !SC_WEAK(SC_PROTOCOL_MEMBER_NAMED))
	{
		if (!is_routed)
			sc_commit_note_all_members();
		return;
	}
	if (table->npath < 0)
		sc_commit_note_all_members();
	for (int i = 0; i < table->npath; i++)
		sc_commit_note_member(SC_KEY_HERE(table->path[i]));
}

/*
 * The current transaction writes a table, which is locked.  Mark it if it is
 * tracked.  Is it known later which partitions of it were written?  See
 * sc_track_end_routing().
 */
static void
track_write(Oid relid, bool is_routed)
{
	TrackedTable *table = table_lookup(relid);

	if (table == NULL)
	{
		sc_commit_mark_catch_all();
		return;
	}
	if (!table->tracked)
		return;
	if (table->has_partitions)
		note_members(table, is_routed);
	/* during the commit a mark that was made before it is yet to be placed */
	if (table->marked_lxid == SC_MY_LXID && !sc_commit_has_begun())
		return;
	if (table->catch_all)
		sc_commit_mark_catch_all();
	else
	{
		if (!table->has_partitions)
			note_members(table, is_routed);
		sc_commit_mark(&table->ref);
	}
	table->marked_lxid = SC_MY_LXID;
}

/*
 * A plan begins to write a table: mark it.  To fire the trigger at its end would
 * mark nothing more, so it does not, unless the statement has other AFTER
 * triggers, among which it costs little.  That is settled in the plan's own copy
 * of the table's trigger descriptor, if it has one.
 */
void
sc_track_plan(const void *plan, Oid relid, TriggerDesc *desc)
{
	TrackedTable *table;

	track_write(relid, true);
	table = table_lookup(relid);
	if (table == NULL || !table->tracked)
		return;
	if (OidIsValid(table->key_function))
		sc_commit_begin_keyed(plan, table->ref.key);
	if (desc == NULL)
		return;
	for (int i = 0; i < desc->numtriggers; i++)
		if (!TRIGGER_FOR_ROW(desc->triggers[i].tgtype) && TRIGGER_FOR_AFTER(desc->triggers[i].tgtype) &&
			desc->triggers[i].tgfoid != table->function && desc->triggers[i].tgfoid != table->key_function)
			return;
	desc->trig_insert_after_statement = false;
	desc->trig_update_after_statement = false;
	desc->trig_delete_after_statement = false;
}

/*
 * A plan that writes through a table with partitions has ended: these are the ones
 * that it has put rows into, beside those that it names.
 */
void
sc_track_end_routing(List *results)
{
	ListCell   *lc;

	/* so many are not told apart */
	if (list_length(results) > SC_MAX_MEMBERS_NOTED)
	{
		sc_commit_note_all_members();
		results = NIL;
	}
	foreach(lc, results)
	{
		Oid			relid = RelationGetRelid(((ResultRelInfo *) lfirst(lc))->ri_RelationDesc);
		TrackedTable *table = table_lookup(relid);

		if (SC_WEAK(SC_PROTOCOL_MEMBER_NAMED))
			break;
		if (table == NULL || !table->tracked)
			sc_commit_note_all_members();
		else
			track_write(relid, true);
	}
	sc_commit_end_routing();
}

bool
sc_track_is_tracked(Oid relid)
{
	TrackedTable *table = table_lookup(relid);

	return table && table->tracked;
}

/*-------------------------------------------------------------------------
 * Keys
 *-------------------------------------------------------------------------
 */

/* It is not known which rows of a table are written, if that matters. */
static void
track_coarse(Oid relid)
{
	TrackedTable *table = table_lookup(relid);

	/* without memory, its write was marked as one of everything */
	if (table && OidIsValid(table->key_function))
		sc_commit_mark_coarse(table->ref.key);
}

/* A column that a key trigger names. */
static void
find_column(KeyColumn *column, TupleDesc desc, const char *name, uint64 table)
{
	column->attnum = InvalidAttrNumber;
	column->seed = sc_key_seed(table, name);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (attribute->attisdropped || namestrcmp(&attribute->attname, name) != 0 || SC_IS_VIRTUAL(attribute))
			continue;
		column->attnum = attribute->attnum;
		column->is_varlena = attribute->attlen == -1;
		column->type = attribute->atttypid;
		column->collation = attribute->attcollation;
	}
}

/* The columns whose values are said of a table; NULL without memory. */
static KeyColumns *
find_keys(const TrackedTable *table, const Trigger *trigger, TupleDesc desc)
{
	KeyColumns *keys = MemoryContextAllocExtended(TopMemoryContext,
												  offsetof(KeyColumns, columns) + sizeof(KeyColumn) * trigger->tgnargs,
												  MCXT_ALLOC_NO_OOM);

	if (keys == NULL)
		return NULL;
	keys->n = trigger->tgnargs;
	for (int i = 0; i < keys->n; i++)
		find_column(&keys->columns[i], desc, trigger->tgargs[i], table->ref.key);
	return keys;
}

/*
 * Mark the values of a row; false if that cannot be.  One that is stored elsewhere is
 * not fetched for it.  NULL is equal to nothing that a query compares with.
 */
static bool
mark_row(const KeyColumns *keys, int keyed, TupleTableSlot *row)
{
	for (int i = 0; i < keys->n; i++)
	{
		const KeyColumn *column = &keys->columns[i];
		Datum		value;
		uint64		hash;
		bool		isnull;

		if (column->attnum == InvalidAttrNumber)
			return false;
		value = slot_getattr(row, column->attnum, &isnull);
		if (isnull)
			continue;
		if ((column->is_varlena && VARATT_IS_EXTERNAL(DatumGetPointer(value))) ||
			!sc_keyed_hash(column->type, column->collation, value, &hash))
			return false;
		if (SC_WEAK(SC_PROTOCOL_KEYS_TEXT))
			hash = sc_debug_text_hash(column->type, value);
		sc_commit_mark_key(keyed, sc_key_word_of(column->seed, hash));
	}
	return true;
}

/*
 * The key trigger's function.  Like sc_touch() it raises nothing of its own; for each
 * statement it does nothing.
 */
Datum
sc_key(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	TrackedTable *table;
	Oid			relid;
	int			keyed;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigdata->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called as an AFTER trigger", "summary_cache_key"),
				 errhint("It is attached to source tables by summary_cache_define().")));
	if (sc_extension_first_key)
		return sc_extension_first_key(fcinfo);

	/*
	 * another trigger of this function says other columns, and nobody reads
	 * what it says
	 */
	if (sc_shared == NULL || !TRIGGER_FIRED_FOR_ROW(trigdata->tg_event) ||
		strcmp(trigdata->tg_trigger->tgname, KEY_TRIGGER_NAME) != 0)
		return PointerGetDatum(NULL);

	relid = RelationGetRelid(trigdata->tg_relation);
	table = table_lookup(relid);
	/* what could not be read counts as everything */
	if (table == NULL || table->catch_all)
		sc_commit_mark_catch_all();
	/* without the other trigger, nothing is proven of it */
	if (table == NULL || !table->tracked || table->catch_all ||
		(keyed = sc_commit_keyed(table->ref.key)) == SC_KEYED_NONE)
		return PointerGetDatum(NULL);

	if (table->keys == NULL)
		table->keys = find_keys(table, trigdata->tg_trigger, RelationGetDescr(trigdata->tg_relation));
	if (table->keys == NULL ||
		!((SC_WEAK(SC_PROTOCOL_KEYS_NEW) && TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event)) ||
		  mark_row(table->keys, keyed, trigdata->tg_trigslot)) ||
		(TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event) && !mark_row(table->keys, keyed, trigdata->tg_newslot)))
		sc_commit_mark_coarse(table->ref.key);
	return PointerGetDatum(NULL);
}

bool
sc_track_is_keyed(Oid relid)
{
	TrackedTable *table = table_lookup(relid);

	return table && OidIsValid(table->key_function);
}

/*
 * The tracked tables that this backend has found before.  As long as the catch-all word
 * has not moved, they are the same; but not what a transaction sees that has changed
 * something itself.
 */
static void
known_tables(ScTracked *tracked)
{
	static ScTracked known = {NIL, SC_NEVER_CURRENT, 0};
	MemoryContext old;

	if (known.catch_all == tracked->catch_all && known.cluster == tracked->cluster)
	{
		tracked->tables = list_copy(known.tables);
		return;
	}
	/* who rewrites it has it locked for long */
	if (!ConditionalLockRelationOid(TriggerRelationId, AccessShareLock))
	{
		tracked->catch_all = SC_NEVER_CURRENT;
		return;
	}
	tracked->tables = sc_track_tables(true);
	UnlockRelationOid(TriggerRelationId, AccessShareLock);
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return;
	list_free(known.tables);
	known.tables = NIL;
	known.catch_all = SC_NEVER_CURRENT;
	old = MemoryContextSwitchTo(TopMemoryContext);
	known.tables = list_copy(tracked->tables);
	MemoryContextSwitchTo(old);
	known.catch_all = tracked->catch_all;
	known.cluster = tracked->cluster;
}

/*
 * First the words, then the list.  A table that becomes tracked meanwhile moves one: who
 * makes it that has the table locked until it is pending there.
 */
void
sc_track_note(ScTracked *tracked)
{
	tracked->catch_all = sc_word_settled(sc_slot_find(SC_KEY_CATCH_ALL, false));
	tracked->cluster = sc_word_settled(SC_CLUSTER_SLOT);
	pg_read_barrier();
	if (tracked->catch_all != SC_NEVER_CURRENT && tracked->cluster != SC_NEVER_CURRENT)
		known_tables(tracked);
	SC_POINT("ddl-noted");
}

bool
sc_track_may_be_changed(const ScTracked *tracked)
{
	ListCell   *lc;

	pg_read_barrier();
	if (tracked->catch_all == SC_NEVER_CURRENT || tracked->cluster == SC_NEVER_CURRENT ||
		sc_word_settled(sc_slot_find(SC_KEY_CATCH_ALL, false)) != tracked->catch_all ||
		sc_word_settled(SC_CLUSTER_SLOT) != tracked->cluster)
		return true;
	foreach(lc, tracked->tables)
	{
		for (int mode = ShareUpdateExclusiveLock; mode <= AccessExclusiveLock; mode++)
		{
			LOCKTAG		tag;

			SET_LOCKTAG_RELATION(tag, MyDatabaseId, lfirst_oid(lc));
			if (SC_LOCK_HELD(&tag, mode))
				return true;
		}
	}
	return false;
}

/*
 * Mark what a transaction that applies another server's changes has written:
 * see the head of this file.  The lock shows it, also for a partition whose
 * root was not opened.  A session that has a table locked has seen the invalidations that
 * came before, so the list of tracked tables has all that were tracked then.
 */
static void
mark_applied(void)
{
	static Oid *tables = NULL;
	static int	ntables = 0;
	static uint64 read_at = 0;

	if (tables == NULL || read_at != invalidations)
	{
		List	   *list;
		ListCell   *lc;

		/*
		 * first, since reading it may bring more of them; what fails is no
		 * answer
		 */
		uint64		begun_at = invalidations;

		list = sc_track_tables(true);
		if (tables)
			pfree(tables);
		ntables = 0;
		tables = MemoryContextAllocExtended(TopMemoryContext,
											sizeof(Oid) * Max(list_length(list), 1),
											MCXT_ALLOC_NO_OOM);
		if (tables == NULL)
		{
			sc_commit_mark_catch_all();
			return;
		}
		foreach(lc, list)
		{
			tables[ntables++] = lfirst_oid(lc);
		}
		list_free(list);
		read_at = begun_at;
	}

	for (int i = 0; i < ntables; i++)
	{
		LOCKTAG		tag;

		SET_LOCKTAG_RELATION(tag, MyDatabaseId, tables[i]);
		if (SC_LOCK_HELD(&tag, RowExclusiveLock))
		{
			track_write(tables[i], false);
			track_coarse(tables[i]);
		}
	}
}

/*
 * Was session_replication_role something else earlier in this transaction?  What
 * a setting was before is on its stack until the transaction ends.
 */
static bool
role_has_changed(void)
{
	static struct config_generic *role = NULL;

	if (role == NULL)
		role = sc_compat_find_setting("session_replication_role");
	return role && role->stack && TransactionIdIsValid(GetTopTransactionIdIfAny());
}

static void
track_callback(XactEvent event, void *arg)
{
	if ((event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE) &&
		(sc_commit_applies() || role_has_changed()))
		mark_applied();
}

/* While preloading: backends inherit the empty table. */
void
sc_track_init(void)
{
	HASHCTL		info;

	info.keysize = sizeof(Oid);
	info.entrysize = sizeof(TrackedTable);
	info.hcxt = TopMemoryContext;
	info.alloc = alloc_no_error;
	tracked_tables = hash_create("summary_cache tables", 64, &info,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT | HASH_ALLOC);
	CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
	RegisterXactCallback(track_callback, NULL);
}

/*
 * The trigger function.  With the library not preloaded it does nothing: no
 * document is cached then.
 */
Datum
sc_touch(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called as a trigger", "summary_cache_touch"),
				 errhint("It is attached to source tables by summary_cache_define().")));
	if (sc_extension_first_touch)
		return sc_extension_first_touch(fcinfo);
	if (sc_shared)
	{
		TriggerData *trigdata = (TriggerData *) fcinfo->context;

		track_write(RelationGetRelid(trigdata->tg_relation), false);
		if (TRIGGER_FIRED_BY_TRUNCATE(trigdata->tg_event))
			track_coarse(RelationGetRelid(trigdata->tg_relation));
	}
	return PointerGetDatum(NULL);
}

/*
 * Refuse what cannot be tracked.
 */
void
sc_track_check_source(Oid relid)
{
	char	   *name = get_rel_name(relid);
	char		relkind = get_rel_relkind(relid);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("source table with OID %u does not exist", relid),
				 errhint("Name existing tables in \"sources\".")));
	if (IsCatalogRelationOid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("system catalog \"%s\" cannot be a source", name),
				 errdetail("Changes of system catalogs cannot be tracked."),
				 errhint("Give \"sources\" without it; the document then follows it by max_stale_age only.")));
	if (sc_extension_is_own_table(relid))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("table \"%s\" cannot be a source", name),
				 errhint("Every summary follows it anyway.")));
	if (get_rel_persistence(relid) == RELPERSISTENCE_TEMP)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("temporary table \"%s\" cannot be a source", name),
				 errdetail("Other sessions cannot read it."),
				 errhint("Use a permanent table.")));
	switch (relkind)
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
		case RELKIND_MATVIEW:
			break;
		case RELKIND_VIEW:
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("view \"%s\" cannot be a source", name),
					 errhint("Name the tables that it reads, or leave \"sources\" out.")));
			break;
		case RELKIND_FOREIGN_TABLE:
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("foreign table \"%s\" cannot be a source", name),
					 errdetail("Its changes are made elsewhere and cannot be tracked."),
					 errhint("Give \"sources\" without it; the document then follows it by max_stale_age only.")));
			break;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("\"%s\" cannot be a source", name),
					 errdetail_relkind_not_supported(relkind),
					 errhint("Sources are tables, partitioned tables and materialized views.")));
	}
}

/*-------------------------------------------------------------------------
 * Locks
 *
 * Who locks several tables takes them together or not at all: whoever has one of
 * them and comes to need another must not meet us with that in our hands while we
 * wait for his.
 *-------------------------------------------------------------------------
 */

/*
 * Lock a source, and the members of the tree that it is in, by "lock", until that
 * returns false: true if it never did.  Of a tree of partitions only those that
 * concern a query that reads these tables; NIL if it may read any.  Of the whole
 * tree, a table is locked before those below it are looked for.  Another session's
 * temporary table is never read by this one.
 */
bool
sc_track_lock_tree(Oid relid, List *read, bool (*lock) (Oid relid, void *arg), void *arg)
{
	Oid			root;
	char		relkind;
	ScOidList	members = {NIL};
	ListCell   *lc;

	if (!lock(relid, arg))
		return false;
	if (sc_track_is_alone(relid))
		return true;
	/* it may have been dropped; a materialized view is in no tree */
	relkind = get_rel_relkind(relid);
	if (relkind == '\0' || relkind == RELKIND_MATVIEW)
		return true;
	root = sc_track_root(relid);
	if (root == relid && !has_subclass(relid))
		return true;

	if (read != NIL && get_rel_relkind(root) == RELKIND_PARTITIONED_TABLE)
	{
		foreach(lc, members_above(root, read))
		{
			if (lfirst_oid(lc) != relid && !lock(lfirst_oid(lc), arg))
				return false;
		}
		return true;
	}

	(void) sc_oid_list_add(&members, root);
	/* the list grows as we go along */
	foreach(lc, members.list)
	{
		Oid			member = lfirst_oid(lc);
		ListCell   *child;

		if (is_temporary(member))
			continue;
		if (member != relid && !lock(member, arg))
			return false;
		foreach(child, find_inheritance_children(member, NoLock))
		{
			(void) sc_oid_list_add(&members, lfirst_oid(child));
		}
	}
	return true;
}

/* A definer's locks. */
typedef struct Locking
{
	List	   *tables;			/* to be locked, with their trees if "take"
								 * does so */
	List	   *names;			/* of these */
	List	   *columns;		/* whose values are to be said of each; NIL:
								 * of none */
	List	   *wanted;			/* of the one that is just being locked */
	void		(*take) (struct Locking *locking);
	ScOidList	locked;			/* what a try has locked */

	/* what the last try could not lock */
	Oid			missing;
	LOCKMODE	mode;
	NameData	name;

	bool		waits_alone;	/* for that, with nothing else locked */
	int64		patient_until;	/* how long this try may wait for others */
	int64		fails_at;		/* by lock_timeout */
} Locking;

/*
 * Lock one of the tables, or end the try.  The table that was waited for has
 * been locked by now, and is not kept for long while others are waited for: less
 * than anybody waits before he looks for a deadlock.
 */
static void
lock_one(Locking *locking, Oid relid, LOCKMODE mode)
{
	int64		patience = (locking->patient_until - sc_clock_now()) / SC_NS_PER_MS;
	char	   *name;

	if (ConditionalLockRelationOid(relid, mode))
		return;
	name = get_rel_name(relid);
	namestrcpy(&locking->name, name ? name : "");
	locking->missing = relid;
	locking->mode = mode;
	if (patience <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("could not obtain lock on relation \"%s\"", NameStr(locking->name))));
	sc_subtransaction_limit_waiting((int) patience);
	LockRelationOid(relid, mode);
}

/* One try, in a subtransaction of its own. */
static void
try_locking(void *arg)
{
	Locking    *locking = arg;

	memset(&locking->locked, 0, sizeof(locking->locked));
	locking->patient_until = 0;
	if (OidIsValid(locking->missing))
	{
		locking->waits_alone = true;
		if (LockTimeout > 0)
			sc_subtransaction_limit_waiting((int) Max((locking->fails_at - sc_clock_now()) / SC_NS_PER_MS, 1));
		LockRelationOid(locking->missing, locking->mode);
		locking->waits_alone = false;
		locking->patient_until = Min(sc_clock_now() + (int64) DeadlockTimeout * SC_NS_PER_MS / 2,
									 locking->fails_at);
	}
	locking->take(locking);
}

/*
 * Lock tables together: returns all that were locked.  Whatever is locked by
 * somebody else is waited for with none of the others, for lock_timeout in all;
 * then the error says what was waited for.
 *
 * When that has been waited for, the others may have writers.  A lock that
 * excludes writers is had of a busy table by queueing for it and hardly ever
 * without, so that takes a moment of patience: see lock_one().
 */
static List *
lock_together(List *tables, List *columns, void (*take) (Locking *locking))
{
	Locking		locking = {.tables = tables,.columns = columns,.take = take};
	ListCell   *lc;
	MemoryContext old = CurrentMemoryContext;
	MemoryContext context;

	if (tables == NIL)
		return NIL;
	foreach(lc, tables)
	{
		char	   *name = get_rel_name(lfirst_oid(lc));

		locking.names = lappend(locking.names, name ? name : "");
	}
	context = AllocSetContextCreate(old, "summary_cache locks", ALLOCSET_SMALL_SIZES);
	locking.fails_at = LockTimeout > 0 ? sc_clock_now() + (int64) LockTimeout * SC_NS_PER_MS : PG_INT64_MAX;
	for (;;)
	{
		ErrorData  *error;
		List	   *locked;

		MemoryContextSwitchTo(context);
		error = sc_subtransaction_run(try_locking, &locking, true);
		MemoryContextSwitchTo(old);
		if (error == NULL)
		{
			locked = list_copy(locking.locked.list);
			MemoryContextDelete(context);
			return locked;
		}
		if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
			ReThrowError(error);
		if (locking.waits_alone || sc_clock_now() >= locking.fails_at)
			ereport(ERROR,
					(errcode(error->sqlerrcode),
					 errmsg("could not lock source table \"%s\": %s", NameStr(locking.name), error->message),
					 errhint("A transaction that has written it, or locked it, is still open; view pg_prepared_xacts has those that are prepared.")));
		FreeErrorData(error);
		MemoryContextReset(context);
		CHECK_FOR_INTERRUPTS();
	}
}

/* Does this transaction keep others from writing a table already? */
static bool
keeps_writers_out(Oid relid)
{
	LOCKTAG		tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relid);
	for (int mode = ShareRowExclusiveLock; mode <= AccessExclusiveLock; mode++)
		if (SC_LOCK_HELD(&tag, mode))
			return true;
	return false;
}

/*
 * Run something as a command of its own for event triggers: who has these to see
 * or refuse what is done to tables is to see our triggers come and go.
 */
static void
with_event_triggers(Node *parsetree, void (*action) (void *arg), void *arg)
{
	bool		complete = EventTriggerBeginCompleteQuery();

	PG_TRY();
	{
		EventTriggerDDLCommandStart(parsetree);
		action(arg);
		if (complete)
			EventTriggerSQLDrop(parsetree);
		EventTriggerDDLCommandEnd(parsetree);
	}
	PG_FINALLY();
	{
		if (complete)
			EventTriggerEndCompleteQuery();
	}
	PG_END_TRY();
}

typedef struct Creation
{
	CreateTrigStmt *stmt;
	Oid			relid;
	Oid			function;
	ObjectAddress trigger;
} Creation;

static void
create_trigger_now(void *arg)
{
	Creation   *creation = arg;
	ScSavedRole saved = sc_role_become(BOOTSTRAP_SUPERUSERID, 0);

	creation->trigger = CreateTriggerFiringOn(creation->stmt, NULL, creation->relid, InvalidOid,
											  InvalidOid, InvalidOid, creation->function, InvalidOid,
											  NULL, false, false, TRIGGER_FIRES_ALWAYS);
	sc_role_return(saved);
	EventTriggerCollectSimpleCommand(creation->trigger, InvalidObjectAddress, (Node *) creation->stmt);
}

/* tgtype: as in pg_trigger; columns: arguments, List of char *. */
static void
create_trigger_of(Relation rel, const char *name, int16 tgtype, Oid function, List *columns)
{
	CreateTrigStmt *stmt = makeNode(CreateTrigStmt);
	Creation	creation = {stmt, RelationGetRelid(rel), function};
	ObjectAddress extension;
	ListCell   *lc;

	stmt->trigname = pstrdup(name);
	stmt->replace = columns != NIL;
	stmt->row = (tgtype & TRIGGER_TYPE_ROW) != 0;
	foreach(lc, columns)
	{
		stmt->args = lappend(stmt->args, makeString(lfirst(lc)));
	}
	stmt->relation = makeRangeVar(get_namespace_name(RelationGetNamespace(rel)),
								  pstrdup(RelationGetRelationName(rel)), -1);
	stmt->timing = tgtype & TRIGGER_TYPE_TIMING_MASK;
	stmt->events = tgtype & TRIGGER_TYPE_EVENT_MASK;

	/*
	 * The caller's right to put triggers on the source was checked; the
	 * function is not granted to anybody, and other members of a tree need no
	 * rights of their own.  Event triggers run with the caller's.
	 */
	with_event_triggers((Node *) stmt, create_trigger_now, &creation);

	/* ALTER TRIGGER ... DEPENDS ON EXTENSION */
	ObjectAddressSet(extension, ExtensionRelationId, get_extension_oid(SC_NAME, false));
	recordDependencyOn(&creation.trigger, &extension, DEPENDENCY_AUTO_EXTENSION);
}

static void
create_trigger(Relation rel, Oid function)
{
	create_trigger_of(rel, TRIGGER_NAME, TRIGGER_TGTYPE, function, NIL);
}

/* What kind of key trigger a table has: see the head of this file. */
static inline int16
key_tgtype(Relation rel)
{
	return TRIGGER_TYPE_AFTER | EVENTS_OF_ROWS |
		(rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ? 0 : TRIGGER_TYPE_ROW);
}

/* Is a trigger of its name our key trigger, however it is enabled and whatever it says? */
static bool
is_key_trigger(Relation rel, const Trigger *trigger, Oid function)
{
	return trigger->tgfoid == function && trigger->tgtype == key_tgtype(rel) &&
		trigger->tgqual == NULL && trigger->tgnattr == 0 && trigger->tgnargs > 0 &&
		trigger->tgoldtable == NULL && trigger->tgnewtable == NULL &&
		!trigger->tgisinternal && !trigger->tgdeferrable;
}

/* Does a key trigger say the values of a column? */
static bool
says_column(const Trigger *trigger, const char *name)
{
	for (int i = 0; i < trigger->tgnargs; i++)
		if (strcmp(trigger->tgargs[i], name) == 0)
			return true;
	return false;
}

/* The columns that a table's key trigger says; NIL if it has none that is ours. */
static List *
key_columns(Relation rel, Oid function)
{
	Trigger    *trigger = find_trigger_named(rel->trigdesc, KEY_TRIGGER_NAME);
	List	   *columns = NIL;

	for (int i = 0; trigger && trigger->tgfoid == function && i < trigger->tgnargs; i++)
		columns = lappend(columns, pstrdup(trigger->tgargs[i]));
	return columns;
}

/* Is the key trigger there, exactly as installed, with these columns? */
static bool
keys_ok(Relation rel, Oid function, List *columns, const char **reason)
{
	Trigger    *trigger = find_trigger_named(rel->trigdesc, KEY_TRIGGER_NAME);
	const char *name = RelationGetRelationName(rel);
	ListCell   *lc;

	if (trigger == NULL)
		*reason = psprintf("trigger %s is missing on %s", KEY_TRIGGER_NAME, name);
	else if (!is_key_trigger(rel, trigger, function))
		*reason = psprintf("trigger %s of %s is not as installed", KEY_TRIGGER_NAME, name);
	else if (trigger->tgenabled == TRIGGER_DISABLED)
		*reason = psprintf("trigger %s of %s is disabled", KEY_TRIGGER_NAME, name);
	else if (trigger->tgenabled != TRIGGER_FIRES_ALWAYS)
		*reason = psprintf("trigger %s of %s is not enabled as installed", KEY_TRIGGER_NAME, name);
	else
	{
		foreach(lc, columns)
		{
			const char *column = lfirst(lc);
			KeyColumn	found;

			find_column(&found, RelationGetDescr(rel), column, 0);
			if (!says_column(trigger, column))
				*reason = psprintf("trigger %s of %s does not name column %s", KEY_TRIGGER_NAME, name, column);
			else if (found.attnum == InvalidAttrNumber)
				*reason = psprintf("%s stores no column %s", name, column);
			else
				continue;
			return false;
		}
		return true;
	}
	return false;
}

/* Is a trigger of our name ours, however it is enabled? */
static bool
is_ours(Trigger *trigger, Oid function)
{
	return trigger->tgfoid == function && trigger->tgtype == TRIGGER_TGTYPE &&
		trigger->tgqual == NULL && trigger->tgnattr == 0 && trigger->tgnargs == 0 &&
		!trigger->tgisinternal;
}

/* Can a table have our trigger?  Foreign members are reported by sc_track_provable(). */
static inline bool
can_have_trigger(Relation rel)
{
	return (rel->rd_rel->relkind == RELKIND_RELATION || rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE) &&
		rel->rd_rel->relpersistence != RELPERSISTENCE_TEMP;
}

/* Is the trigger there and exactly as installed? */
static bool
trigger_ok(Relation rel, Oid function, const char **reason)
{
	Trigger    *trigger = find_trigger(rel->trigdesc);
	const char *name = RelationGetRelationName(rel);

	if (trigger == NULL)
		*reason = psprintf("trigger %s is missing on %s", TRIGGER_NAME, name);
	else if (!is_ours(trigger, function))
		*reason = psprintf("trigger %s of %s is not as installed", TRIGGER_NAME, name);
	else if (trigger->tgenabled == TRIGGER_DISABLED)
		*reason = psprintf("trigger %s of %s is disabled", TRIGGER_NAME, name);
	else if (trigger->tgenabled != TRIGGER_FIRES_ALWAYS)
		*reason = psprintf("trigger %s of %s is not enabled as installed", TRIGGER_NAME, name);
	else
		return true;
	return false;
}

/*
 * Is there nothing to be done for a table's trigger?  The table is locked; one
 * that is gone or cannot have a trigger needs none.
 */
static bool
needs_no_trigger(Oid relid, List *columns)
{
	Oid			function = touch_function();
	Oid			keys = columns ? key_function() : InvalidOid;
	Relation	rel = try_relation_open(relid, NoLock);
	const char *reason;
	bool		ok;

	if (rel == NULL)
		return true;
	ok = !can_have_trigger(rel) || (trigger_ok(rel, function, &reason) &&
									(columns == NIL || keys_ok(rel, keys, columns, &reason)));
	relation_close(rel, NoLock);
	return ok;
}

/*
 * Lock a table as its trigger needs it: where it has that already, so that it is
 * not dropped, and no writer has to be waited for, nor waits.  What is done to
 * the trigger meanwhile is what somebody wants.
 */
static bool
lock_for_trigger(Oid relid, void *arg)
{
	Locking    *locking = arg;

	(void) sc_oid_list_add(&locking->locked, relid);
	if (keeps_writers_out(relid))
		return true;
	lock_one(locking, relid, AccessShareLock);
	if (needs_no_trigger(relid, locking->wanted))
		return true;
	/* not while that is waited for: who truncates the table would wait for us */
	UnlockRelationOid(relid, AccessShareLock);
	lock_one(locking, relid, ShareRowExclusiveLock);
	return true;
}

static void
take_trees(Locking *locking)
{
	ListCell   *lc;
	ListCell   *name;

	forboth(lc, locking->tables, name, locking->names)
	{
		Oid			source = lfirst_oid(lc);

		if (get_rel_relkind(source) == RELKIND_MATVIEW)
			continue;
		locking->wanted = locking->columns ? list_nth(locking->columns, foreach_current_index(lc)) : NIL;
		(void) sc_track_lock_tree(source, NIL, lock_for_trigger, locking);
		if (get_rel_relkind(source) == '\0')
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("source table \"%s\" was dropped", (char *) lfirst(name)),
					 errhint("Repeat the command if it is there again.")));
	}
}

/*
 * Lock sources, and all members of their trees, together for their triggers:
 * ShareRowExclusive where one is to be made, which waits for the table's writers.
 * Returns the members, for sc_track_attach().
 */
List *
sc_track_lock(List *sources)
{
	return sc_track_lock_keyed(sources, NIL);
}

List *
sc_track_lock_keyed(List *sources, List *columns)
{
	Assert(columns == NIL || list_length(columns) == list_length(sources));
	return lock_together(sources, columns, take_trees);
}

static void
take_exclusive(Locking *locking)
{
	ListCell   *lc;

	foreach(lc, locking->tables)
	{
		lock_one(locking, lfirst_oid(lc), AccessExclusiveLock);
	}
}

/* Lock tables together for sc_track_detach(). */
void
sc_track_lock_exclusive(List *tables)
{
	(void) lock_together(tables, NIL, take_exclusive);
}

/* Give a table our trigger, as it should be; its writers are locked out. */
static void
attach_one(Oid relid)
{
	Relation	rel = try_relation_open(relid, NoLock);

	if (rel == NULL)
		return;
	if (can_have_trigger(rel))
	{
		Oid			function = touch_function();
		Trigger    *trigger = find_trigger(rel->trigdesc);

		if (trigger == NULL)
			create_trigger(rel, function);
		else if (!is_ours(trigger, function))
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("trigger \"%s\" of table \"%s\" is not one of summary_cache",
							TRIGGER_NAME, RelationGetRelationName(rel)),
					 errhint("Rename or drop it.")));
		else if (trigger->tgenabled != TRIGGER_FIRES_ALWAYS)
			SC_SET_TRIGGER_FIRING(rel, TRIGGER_NAME, TRIGGER_FIRES_ALWAYS);
	}
	relation_close(rel, NoLock);
	CommandCounterIncrement();
}

static void
add_columns(List **columns, List *more)
{
	ListCell   *lc;

	foreach(lc, more)
	{
		if (!sc_list_has_name(*columns, lfirst(lc)))
			*columns = lappend(*columns, lfirst(lc));
	}
}

/* Those of these columns that a table has. */
static List *
existing_columns(Oid relid, List *columns)
{
	List	   *existing = NIL;
	ListCell   *lc;

	foreach(lc, columns)
	{
		if (get_attnum(relid, lfirst(lc)) > InvalidAttrNumber)
			existing = lappend(existing, lfirst(lc));
	}
	return existing;
}

/*
 * Give a table the key trigger, with these columns beside those that it has; its
 * writers are locked out.
 */
static void
attach_keys_to_one(Oid relid, List *columns)
{
	Oid			function = key_function();
	Relation	rel = try_relation_open(relid, NoLock);
	List	   *before;
	List	   *wanted;
	const char *reason;

	if (rel == NULL)
		return;
	if (!OidIsValid(function))
		sc_extension_need_update("function", "summary_cache_key");
	before = key_columns(rel, function);
	wanted = existing_columns(relid, before);
	add_columns(&wanted, columns);
	if (can_have_trigger(rel) && wanted != NIL)
	{
		/* what has looked at catalogs may have freed it */
		Trigger    *trigger = find_trigger_named(rel->trigdesc, KEY_TRIGGER_NAME);

		if (trigger && trigger->tgfoid != function)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("trigger \"%s\" of table \"%s\" is not one of summary_cache",
							KEY_TRIGGER_NAME, RelationGetRelationName(rel)),
					 errhint("Rename or drop it.")));
		if (list_length(wanted) != list_length(before) || !keys_ok(rel, function, wanted, &reason))
			create_trigger_of(rel, KEY_TRIGGER_NAME, key_tgtype(rel), function, wanted);
	}
	relation_close(rel, NoLock);
	CommandCounterIncrement();
}

/* The columns that the key triggers of a table's parents say, and its own does not. */
static List *
missing_columns(Oid relid)
{
	Oid			function = key_function();
	List	   *columns = NIL;
	List	   *missing = NIL;
	List	   *own = NIL;
	Relation	rel;
	ListCell   *lc;

	foreach(lc, parents_of(relid))
	{
		rel = RelationIdGetRelation(lfirst_oid(lc));
		if (rel == NULL)
			continue;
		add_columns(&columns, key_columns(rel, function));
		RelationClose(rel);
	}
	rel = columns ? RelationIdGetRelation(relid) : NULL;
	if (rel == NULL)
		return NIL;
	own = key_columns(rel, function);
	RelationClose(rel);
	foreach(lc, columns)
	{
		if (!sc_list_has_name(own, lfirst(lc)))
			missing = lappend(missing, lfirst(lc));
	}
	return missing;
}

/* Put the triggers on those of these tables whose writers are locked out. */
void
sc_track_attach(List *members)
{
	ListCell   *lc;

	foreach(lc, members)
	{
		List	   *columns;

		CHECK_FOR_INTERRUPTS();
		if (!keeps_writers_out(lfirst_oid(lc)))
			continue;
		attach_one(lfirst_oid(lc));
		columns = missing_columns(lfirst_oid(lc));
		if (columns != NIL)
			attach_keys_to_one(lfirst_oid(lc), columns);
	}
	if (sc_shared)
		sc_commit_mark_catch_all();
}

List *
sc_track_members(Oid source)
{
	return members_of(sc_track_root(source));
}

void
sc_track_attach_keys(List *members, List *columns)
{
	ListCell   *lc;

	foreach(lc, members)
	{
		CHECK_FOR_INTERRUPTS();
		if (keeps_writers_out(lfirst_oid(lc)))
			attach_keys_to_one(lfirst_oid(lc), columns);
	}
	if (sc_shared)
		sc_commit_mark_catch_all();
}

/*
 * Put the trigger on a table that joined a tracked tree, and on what is below
 * it, as far as the command that made it join has locked that: this is within a
 * user's transaction, which must not wait for the trigger's lock, nor keep it.
 * The rest is not provable until sc_track_attach_missing() has come by.
 */
void
sc_track_attach_members(Oid relid)
{
	sc_track_attach(members_of(relid));
}

/*
 * Put the trigger on those members of a source's tree that have none, and that
 * can be locked without waiting.  One that is there stays as it is: whoever has
 * changed it wants it so.  Returns whether there was any.
 */
bool
sc_track_attach_missing(Oid relid)
{
	bool		attached = false;
	ListCell   *lc;

	foreach(lc, members_of(sc_track_root(relid)))
	{
		Oid			member = lfirst_oid(lc);
		List	   *columns = missing_columns(member);
		Relation	rel;

		if ((sc_track_is_tracked(member) && columns == NIL) || is_temporary(member) ||
			!ConditionalLockRelationOid(member, ShareRowExclusiveLock))
			continue;
		rel = try_relation_open(member, NoLock);
		if (rel == NULL)
			continue;
		if (can_have_trigger(rel) && find_trigger(rel->trigdesc) == NULL)
		{
			create_trigger(rel, touch_function());
			attached = true;
		}
		relation_close(rel, NoLock);
		CommandCounterIncrement();
		if (columns != NIL)
		{
			attach_keys_to_one(member, columns);
			attached = true;
		}
	}
	if (attached)
		sc_commit_mark_catch_all();
	return attached;
}

/* Does a table lack the key trigger, or one of these columns in it? */
static bool
lacks_keys(Relation rel, List *columns)
{
	Trigger    *trigger = find_trigger_named(rel->trigdesc, KEY_TRIGGER_NAME);
	ListCell   *lc;

	foreach(lc, columns)
	{
		if (trigger == NULL || !says_column(trigger, lfirst(lc)))
			return true;
	}
	return false;
}

/* The same by what the relation cache says of a table that is not locked. */
static bool
seems_to_lack_keys(Oid relid, List *columns)
{
	Relation	rel = RelationIdGetRelation(relid);
	bool		lacks = rel && lacks_keys(rel, columns);

	if (rel)
		RelationClose(rel);
	return lacks;
}

/*
 * The same of the key trigger with these columns; of one that is disabled nobody thinks
 * better.  The writers of members that have it do not wait.
 */
bool
sc_track_attach_missing_keys(Oid source, List *columns)
{
	bool		attached = false;
	ListCell   *lc;

	foreach(lc, members_of(sc_track_root(source)))
	{
		Oid			member = lfirst_oid(lc);
		Relation	rel;
		bool		lacks;

		if (is_temporary(member) || !seems_to_lack_keys(member, columns) ||
			!ConditionalLockRelationOid(member, ShareRowExclusiveLock))
			continue;
		rel = try_relation_open(member, NoLock);
		if (rel == NULL)
			continue;
		lacks = can_have_trigger(rel) && lacks_keys(rel, columns);
		relation_close(rel, NoLock);
		if (lacks)
			attach_keys_to_one(member, columns);
		attached = attached || lacks;
	}
	if (attached)
		sc_commit_mark_catch_all();
	return attached;
}

/*
 * ENABLE TRIGGER ALL makes our triggers fire like ordinary ones: make them fire
 * as installed again.  One that is disabled stays so.
 */
void
sc_track_restore_firing(Oid relid)
{
	const char *names[] = {TRIGGER_NAME, KEY_TRIGGER_NAME, SC_GUARD_TRIGGER, SC_GUARD_ROW_TRIGGER};
	int			n = sc_extension_is_own_table(relid) ? lengthof(names) : 2;
	Relation	rel;

	/*
	 * by now its name may be another table's, which the command has not
	 * locked
	 */
	if (!keeps_writers_out(relid))
		return;
	rel = table_open(relid, NoLock);

	for (int i = 0; i < n; i++)
	{
		Trigger    *trigger = find_trigger_named(rel->trigdesc, names[i]);

		if (trigger == NULL || trigger->tgenabled != TRIGGER_FIRES_ON_ORIGIN)
			continue;
		SC_SET_TRIGGER_FIRING(rel, names[i], TRIGGER_FIRES_ALWAYS);
		CommandCounterIncrement();
	}
	table_close(rel, NoLock);
}

/* The tables that have our trigger; those of the definitions, too? */
List *
sc_track_tables(bool definitions)
{
	Oid			function = touch_function();
	Relation	triggers = table_open(TriggerRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(triggers, InvalidOid, false, NULL, 0, NULL);
	List	   *tables = NIL;
	HTAB	   *known = sc_oid_set();
	HeapTuple	tuple;

	while ((tuple = systable_getnext(scan)) != NULL)
	{
		Form_pg_trigger trigger = (Form_pg_trigger) GETSTRUCT(tuple);

		if (trigger->tgfoid == function && (definitions || trigger->tgnargs == 0) &&
			sc_oid_set_add(known, trigger->tgrelid))
			tables = lappend_oid(tables, trigger->tgrelid);
	}
	systable_endscan(scan);
	hash_destroy(known);
	table_close(triggers, AccessShareLock);
	return tables;
}

/* The rights of which any lets a role lock a table in whatever mode, as LOCK TABLE has it. */
#ifdef ACL_MAINTAIN
#define RIGHTS_TO_LOCK	(ACL_UPDATE | ACL_DELETE | ACL_TRUNCATE | ACL_MAINTAIN)
#else
#define RIGHTS_TO_LOCK	(ACL_UPDATE | ACL_DELETE | ACL_TRUNCATE)
#endif

/*
 * May the current user lock a table as sc_track_detach() does?  Whoever may do so
 * with one locks what is below it as well.  The owner may, who could drop the
 * trigger.
 */
bool
sc_track_may_detach(Oid relid)
{
	ListCell   *lc;

	foreach(lc, with_ancestors(relid))
	{
		bool		is_missing = false;

		if (pg_class_aclcheck_ext(lfirst_oid(lc), GetUserId(), RIGHTS_TO_LOCK, &is_missing) == ACLCHECK_OK ||
			(get_rel_relkind(lfirst_oid(lc)) != '\0' && SC_OWNS_RELATION(lfirst_oid(lc))))
			return true;
	}
	return false;
}

static void
drop_trigger_now(void *arg)
{
	performDeletion(arg, DROP_RESTRICT, 0);
}

/* Remove a trigger of this name and function; the table is locked.  The function was
 * looked up before the trigger is looked at: see table_lookup(). */
static void
drop_trigger_of(Oid relid, const char *name, Oid function)
{
	Relation	rel;
	Trigger    *trigger;
	ObjectAddress object;

	rel = try_relation_open(relid, NoLock);
	if (rel == NULL)
		return;
	trigger = find_trigger_named(rel->trigdesc, name);
	ObjectAddressSet(object, TriggerRelationId,
					 trigger && trigger->tgfoid == function ? trigger->tgoid : InvalidOid);
	relation_close(rel, NoLock);
	if (OidIsValid(object.objectId))
	{
		DropStmt   *stmt = makeNode(DropStmt);

		stmt->removeType = OBJECT_TRIGGER;
		with_event_triggers((Node *) stmt, drop_trigger_now, &object);
	}
	CommandCounterIncrement();
}

/*
 * Remove our triggers from one table.  That needs an AccessExclusive lock, and
 * where it is not to be had they stay: see sc_track_lock_exclusive().
 */
void
sc_track_detach(Oid relid)
{
	if (!ConditionalLockRelationOid(relid, AccessExclusiveLock))
		return;
	drop_trigger_of(relid, TRIGGER_NAME, touch_function());
	drop_trigger_of(relid, KEY_TRIGGER_NAME, key_function());
	if (sc_shared)
		sc_commit_mark_catch_all();
}

void
sc_track_detach_keys(Oid relid)
{
	if (!ConditionalLockRelationOid(relid, AccessExclusiveLock))
		return;
	drop_trigger_of(relid, KEY_TRIGGER_NAME, key_function());
	if (sc_shared)
		sc_commit_mark_catch_all();
}

/* A build has found a table without our trigger since somebody asked last. */
static bool trigger_was_missing = false;

bool
sc_track_trigger_was_missing(void)
{
	bool		was_missing = sc_slot_take_keys_missing() || trigger_was_missing;

	trigger_was_missing = false;
	return was_missing;
}

/*
 * Can every change of the members of a tree be noticed that concern a query?  If
 * not, says why.  See concerned_members() and sc_track_provable().
 */
static bool
examine_tree(Oid root, List *read, bool wait, const char **reason)
{
	Oid			function = touch_function();
	ListCell   *lc;

	/*
	 * the root before its members, as queries and DDL do, or they deadlock
	 */
	if (wait)
		LockRelationOid(root, AccessShareLock);
	/* dropped, while we waited: nothing below would look for that */
	if (get_rel_relkind(root) == '\0')
	{
		*reason = "table does not exist";
		return false;
	}
	foreach(lc, concerned_members(root, read))
	{
		Oid			member = lfirst_oid(lc);
		Relation	rel;
		bool		ok;

		CHECK_FOR_INTERRUPTS();
		if (is_temporary(member))
			continue;
		if (!wait && !ConditionalLockRelationOid(member, AccessShareLock))
		{
			*reason = psprintf("%s is locked by a command that changes it",
							   get_rel_name(member) ? get_rel_name(member) : "table");
			return false;
		}
		rel = try_relation_open(member, wait ? AccessShareLock : NoLock);
		if (rel == NULL)
		{
			/* just dropped: DDL */
			if (!wait)
				UnlockRelationOid(member, AccessShareLock);
			continue;
		}
		ok = can_have_trigger(rel);
		if (!ok)
			*reason = psprintf("partition %s is a foreign table", RelationGetRelationName(rel));
		else
		{
			ok = trigger_ok(rel, function, reason);
			if (wait && find_trigger(rel->trigdesc) == NULL)
				trigger_was_missing = true;
		}
		relation_close(rel, wait ? NoLock : AccessShareLock);
		if (!ok)
			return false;
	}
	return true;
}

/*
 * Can every change of a source be noticed?  If not, says why.  Opens the
 * members of its tree, waiting for AccessExclusive locks as a query would; or,
 * for a view, not waiting, and keeping no lock: a transaction that looks at
 * statistics and stays open is not to stand in the way of TRUNCATE.
 */
bool
sc_track_provable(Oid relid, bool wait, const char **reason)
{
	*reason = NULL;
	if (get_rel_relkind(relid) == RELKIND_MATVIEW)
		return true;			/* only REFRESH changes it, which is DDL */
	return examine_tree(sc_track_root(relid), NIL, wait, reason);
}

bool
sc_track_has_keys(Oid source, List *columns, const char **reason)
{
	Oid			touch = touch_function();
	Oid			function = key_function();
	ListCell   *lc;

	*reason = NULL;
	/* only REFRESH changes it, which is DDL */
	if (get_rel_relkind(source) == RELKIND_MATVIEW)
		return true;
	foreach(lc, members_of(sc_track_root(source)))
	{
		Relation	rel;
		bool		ok;

		CHECK_FOR_INTERRUPTS();
		if (is_temporary(lfirst_oid(lc)))
			continue;
		rel = try_relation_open(lfirst_oid(lc), AccessShareLock);
		if (rel == NULL)
			continue;
		ok = can_have_trigger(rel);
		if (!ok)
			*reason = psprintf("partition %s is a foreign table", RelationGetRelationName(rel));
		else
		{
			ok = trigger_ok(rel, touch, reason) && keys_ok(rel, function, columns, reason);
			if (lacks_keys(rel, columns))
				sc_slot_note_keys_missing();
		}
		relation_close(rel, NoLock);
		if (!ok)
			return false;
	}
	return true;
}

/* The slots in the label of a source, where they are known. */
void
sc_track_slots(Oid relid, ScSlotRef **refs, int *nrefs)
{
	TrackedTable *table = table_lookup(relid);
	List	   *words;
	ListCell   *lc;

	if (table && table->provable)
	{
		*refs = &table->ref;
		*nrefs = 1;
		return;
	}
	words = sc_track_words(relid);
	*refs = palloc(sizeof(ScSlotRef) * list_length(words));
	*nrefs = 0;
	foreach(lc, words)
	{
		(*refs)[*nrefs].slot = SC_SLOT_NONE;
		(*refs)[(*nrefs)++].key = SC_KEY_HERE(lfirst_oid(lc));
	}
}

/*
 * Can every change be noticed of what a section that was built reads of a source?
 * read: the tables that its query reads, NIL if it may read any.
 *
 * Of a table without a tree it is remembered that it is provable, until it is
 * invalidated.  To be called with all invalidations accepted that were sent
 * before the label was begun: what is done to a trigger, or changes which tables
 * are members, later moves a catch-all word of the label.  So it does not matter
 * when after that it is called.
 */
bool
sc_track_examine(Oid relid, List *read)
{
	TrackedTable *table = table_lookup(relid);
	const char *reason = NULL;
	bool		provable;

	if (table && table->provable)
		return true;
	provable = get_rel_relkind(relid) == RELKIND_MATVIEW ||
		examine_tree(sc_track_root(relid), read, true, &reason);
	table = table_lookup(relid);
	if (table && table->tracked && !table->catch_all && table->alone && !table->has_children)
		table->provable = provable;
	return provable;
}

/*
 * On a standby, of a source whose words are in the label: enter the files that it
 * and the tables below it have.  False if one cannot be.
 */
bool
sc_track_enter_files(Oid source, const ScLabel *label)
{
	ListCell   *lc;

	if (get_rel_relkind(source) == RELKIND_MATVIEW || !has_subclass(source))
		return sc_label_enter_file(label, source, SC_KEY_HERE(sc_track_root(source)));
	foreach(lc, find_all_inheritors(source, NoLock, NULL))
	{
		Oid			member = lfirst_oid(lc);

		if (!sc_label_enter_file(label, member, SC_KEY_HERE(sc_track_root(member))))
			return false;
	}
	return true;
}

/* Does sc_track_examine() remember of a table that it is in no tree? */
bool
sc_track_is_alone(Oid relid)
{
	/* nothing is, where the library is not preloaded */
	TrackedTable *table = tracked_tables ? table_lookup(relid) : NULL;

	return table && table->provable;
}
