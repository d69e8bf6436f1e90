/*-------------------------------------------------------------------------
 *
 * follow.c
 *	  Sections follow what their queries name when that is renamed or moved, and
 *	  are reported when it is dropped.
 *
 * A view is stored as what its names stood for, so it goes on reading the same
 * table under its new name.  A section's query is text.  So before a command
 * that renames or moves something, the queries are analysed; after it, those
 * whose text does not mean the same any more are printed anew, by what prints
 * views, from what they meant.  A text that is as good as before stays as it
 * was written.  The keys of the document stay as well, as a view's columns do.
 *
 * Stored along with a query are its search path, its text search configuration
 * and the functions that cannot be seen into, by their names: they follow, too.
 * The sources and what the query read are stored by their numbers.  Nothing is
 * looked at anew that decides about what is proven: a section that reads a
 * stranger goes on reading one.
 *
 * A database may have thousands of sections, so those that a command cannot
 * concern are left out by their texts.  What a view or a function hides goes on
 * meaning the same, so a section is concerned only if it has the old name in its
 * text (or the new one, which may come to mean something else).
 *
 * A command that drops something, or changes a column, does not find the sections in
 * the way, as it would find views.  It is told which of them it has broken: those
 * whose queries could be analysed before it and cannot be after it.  Looked at are
 * those that read one of the tables, by the numbers that are kept with them, or
 * name something that goes: the object itself, and what CASCADE takes along.
 *
 * A command must not fail or wait for this.  What is analysed or printed is
 * locked for the moment, in AccessShareLock, and not waited for.  No function of
 * any user runs: of all that an analysis does, only the conversion of a constant
 * could call one, by a domain's CHECK (see constant.c).  So the work is
 * bounded by the texts, and needs no clock.  A section that cannot follow is
 * named in a warning.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_shdepend.h"
#include "catalog/pg_ts_config.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/user.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "parser/parse_func.h"
#include "parser/parse_oper.h"
#include "parser/parse_type.h"
#include "parser/parser.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/ruleutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
#include "utils/varlena.h"

#include "constant.h"
#include "ddl.h"
#include "define.h"
#include "follow.h"
#include "inspect.h"
#include "owner.h"
#include "role.h"
#include "subtransaction.h"

#define SEARCH_PATH		"search_path="
#define TEXT_SEARCH		"default_text_search_config="

/* What a command renames or moves, or what it drops or changes. */
typedef struct Renamed
{
	bool		may_break;		/* the latter */
	List	   *names;			/* of char *: one of them is in the text of
								 * each section concerned */
	bool		anything;		/* any section may be concerned */
	bool		by_star;		/* columns, which a "*" may stand for without
								 * a name */
	List	   *relations;		/* Oids, if it is relations or their columns */
	ScOidList	changed;		/* Oids of relations that it drops or changes:
								 * who has read one is concerned */
	bool		only_named;		/* if one of the names is in the text, too */
	HTAB	   *words;			/* names, if they are many: see hash_words() */
	RenameStmt *schema;			/* if it is a schema's name */
	MemoryContext context;		/* that this is in */
	ArrayType  *settings;		/* the last that were found not to be
								 * concerned; or NULL */
} Renamed;

/* A section before the command. */
typedef struct Follower
{
	ScSectionDef *section;
	const Renamed *renamed;
	bool		in_text;		/* its text may mean something else */
	bool		in_path;		/* since its search path does */
	bool		runs_checks;	/* to analyse it would run somebody's
								 * functions */
	bool		names_it;		/* see find_name() */
	bool		reads_clock;	/* see sc_query_reads_clock() */
	Query	   *query;			/* what its text meant; NULL: nothing, or that
								 * could not be found out */
	ErrorData  *broken;			/* why it cannot be analysed any more */
	const char *unknown;		/* why it could not, with its SQLSTATE */
	int			unknown_code;
	Oid		   *calls;			/* the functions of section->calls */
	Oid			text_search;	/* its configuration */
	AttrNumber *keys;			/* the columns of section->keyed */
	char	   *text;			/* what was printed last */
} Follower;

struct ScFollowers
{
	Renamed		renamed;
	List	   *list;			/* of Follower */
};

/*-------------------------------------------------------------------------
 * What a command renames or moves
 *-------------------------------------------------------------------------
 */

static void
add_name(Renamed *renamed, const char *name)
{
	if (name == NULL)
		return;
	/* a text has such a character twice */
	if (strpbrk(name, "'\"\\"))
		renamed->anything = true;
	renamed->names = lappend(renamed->names, pstrdup(name));
}

static void
add_array_name(Renamed *renamed, Oid type)
{
	Oid			array = get_array_type(type);
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(array));

	if (!HeapTupleIsValid(tuple))
		return;
	add_name(renamed, NameStr(((Form_pg_type) GETSTRUCT(tuple))->typname));
	ReleaseSysCache(tuple);
}

static void
add_type(Renamed *renamed, List *names)
{
	add_name(renamed, strVal(llast(names)));
	add_array_name(renamed, LookupTypeNameOid(NULL, makeTypeNameFromNameList(names), true));
}

/* What moves along with a table: the sequences of its columns, and indexes. */
static void
add_parts(Renamed *renamed, Oid relid)
{
	Relation	depend = table_open(DependRelationId, AccessShareLock);
	SysScanDesc scan;
	ScanKeyData keys[2];
	HeapTuple	tuple;

	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(RelationRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL, 2, keys);
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tuple);

		if (form->classid == RelationRelationId)
		{
			add_name(renamed, get_rel_name(form->objid));
			renamed->relations = lappend_oid(renamed->relations, form->objid);
		}
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
}

/* A relation: false if there is none of that name. */
static bool
add_relation(Renamed *renamed, RangeVar *relation, bool moves)
{
	Oid			relid = RangeVarGetRelid(relation, NoLock, true);

	if (!OidIsValid(relid))
		return false;
	add_name(renamed, relation->relname);
	add_array_name(renamed, get_rel_type_id(relid));
	renamed->relations = lappend_oid(renamed->relations, relid);
	if (moves)
		add_parts(renamed, relid);
	return true;
}

/*
 * Columns, also of all that inherit them.  Whatever reads one of these relations
 * is concerned, as a "*" stands for all columns, NATURAL for their names.  Where
 * something else uses the type of their rows, "*" and the column are enough.
 */
static bool
add_columns(Renamed *renamed, RangeVar *relation, List *columns)
{
	Oid			relid = RangeVarGetRelid(relation, NoLock, true);
	ListCell   *lc;

	if (!OidIsValid(relid))
		return false;
	renamed->relations = find_all_inheritors(relid, NoLock, NULL);
	foreach(lc, renamed->relations)
	{
		add_name(renamed, get_rel_name(lfirst_oid(lc)));
		renamed->by_star = renamed->by_star || sc_ddl_row_type_is_used(lfirst_oid(lc));
	}
	if (!renamed->by_star)
		return true;
	foreach(lc, columns)
	{
		add_name(renamed, lfirst(lc));
	}
	add_name(renamed, "natural");
	return true;
}

static bool
is_identifier_char(char c)
{
	return IS_HIGHBIT_SET(c) || isalnum((unsigned char) c) || c == '_' || c == '$';
}

/* Names come in upper or lower case; a single-byte encoding may have more of that. */
static char
fold(char c)
{
	if (IS_HIGHBIT_SET(c))
		return pg_database_encoding_max_length() == 1 ? (char) tolower((unsigned char) c) : c;
	return (char) pg_tolower((unsigned char) c);
}

/* Is a name in a text: as a name, quoted or not, or somewhere in a constant? */
static bool
mentions(const char *text, const char *name)
{
	size_t		length = strlen(name);
	bool		begins_word = is_identifier_char(name[0]);

	/* a longer one may have been cut to this, at a whole character */
	bool		ends_word = is_identifier_char(name[length - 1]) && length < NAMEDATALEN - MAX_MULTIBYTE_CHAR_LEN;
	char		first[] = {fold(name[0]), (char) pg_toupper((unsigned char) fold(name[0])), '\0'};

	for (const char *at = text; (at = strpbrk(at, first)) != NULL; at++)
	{
		size_t		i = 1;

		if (begins_word && at > text &&is_identifier_char(at[-1]))
			continue;
		while (i < length && fold(at[i]) == fold(name[i]))
			i++;
		if (i == length && !(ends_word && is_identifier_char(at[i])))
			return true;
	}
	return false;
}

/*
 * Can a text name something without having its name as it is: by an escape in a
 * name or a constant that begins with U& or E, or in a constant of several lines?
 */
static bool
is_disguised(const char *text)
{
	for (const char *at = text; (at = strpbrk(at, "&'")) != NULL; at++)
	{
		const char *next = at + 1;
		Size		before = at - text;

		if (*at == '&' && (*next == '\'' || *next == '"'))
			return true;
		if (*at == '\'' && before > 0 && pg_tolower((unsigned char) at[-1]) == 'e' &&
			(before == 1 || !is_identifier_char(at[-2])) && strchr(text, '\\'))
			return true;
		if (*at == '\'' && isspace((unsigned char) *next))
		{
			while (isspace((unsigned char) *next))
				next++;
			if (*next == '\'' || *next == '-')
				return true;
		}
	}
	return false;
}

/* As many names are searched for one by one. */
#define FEW_NAMES	16

/*
 * A schema that is dropped may have thousands of names: put those that are a word
 * each into a hash, in lower case.
 */
static void
hash_words(Renamed *renamed)
{
	HASHCTL		info;
	ListCell   *lc;

	if (list_length(renamed->names) <= FEW_NAMES)
		return;
	info.keysize = NAMEDATALEN;
	info.entrysize = NAMEDATALEN;
	info.hcxt = CurrentMemoryContext;
	renamed->words = hash_create("summary_cache names", list_length(renamed->names), &info,
								 HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	foreach(lc, renamed->names)
	{
		char		word[NAMEDATALEN];
		const char *name = lfirst(lc);
		size_t		length = strlen(name);
		size_t		n = 0;

		while (n < length && is_identifier_char(name[n]))
		{
			word[n] = fold(name[n]);
			n++;
		}
		/* a longer one may be cut in a text: see mentions() */
		if (n == 0 || n < length || length >= NAMEDATALEN - MAX_MULTIBYTE_CHAR_LEN)
			continue;
		word[n] = '\0';
		(void) hash_search(renamed->words, word, HASH_ENTER, NULL);
		renamed->names = foreach_delete_current(renamed->names, lc);
	}
}

static bool
has_word(HTAB *words, const char *at)
{
	while (*at)
	{
		char		word[NAMEDATALEN];
		int			n = 0;

		for (; is_identifier_char(*at); at++)
			if (n < NAMEDATALEN - 1)
				word[n++] = fold(*at);
		word[n] = '\0';
		if (n == 0)
			at++;
		else if (hash_search(words, word, HASH_FIND, NULL))
			return true;
	}
	return false;
}

static bool
mentions_one(const Renamed *renamed, const char *text)
{
	ListCell   *lc;

	if (renamed->words && has_word(renamed->words, text))
		return true;
	foreach(lc, renamed->names)
	{
		const char *name = lfirst(lc);

		/* a label of an enum may be empty */
		if (name[0] == '\0' || mentions(text, name))
			return true;
	}
	return false;
}

/*
 * Is one of the names in a text?  In a constant that is an array or a row, a
 * backslash may stand before any character and says nothing else.
 */
static bool
mentions_any(const Renamed *renamed, const char *text)
{
	char	   *plain;
	char	   *to;
	bool		found;

	if (mentions_one(renamed, text))
		return true;
	if (strchr(text, '\\') == NULL)
		return false;
	to = plain = pstrdup(text);
	for (const char *from = text; *from; from++)
		if (*from != '\\')
			*to++ = *from;
	*to = '\0';
	found = mentions_one(renamed, plain);
	pfree(plain);
	return found;
}

typedef enum Concern
{
	NOT_CONCERNED,
	DISGUISED,					/* only the parser can say: see find_in_tree() */
	CONCERNED
} Concern;

static Concern
concern_of(const Renamed *renamed, const char *text)
{
	if (renamed->anything || mentions_any(renamed, text) ||
		(renamed->by_star && strchr(text, '*')))
		return CONCERNED;
	return is_disguised(text) ? DISGUISED : NOT_CONCERNED;
}

static bool
concerns(const Renamed *renamed, const char *text)
{
	return concern_of(renamed, text) != NOT_CONCERNED;
}

/* A schema's name is taken from the command; what it is in is not looked at. */
static bool
find_renamed(Node *parsetree, Renamed *renamed)
{
	ObjectType	type;
	Node	   *object;
	RangeVar   *relation;
	bool		moves = IsA(parsetree, AlterObjectSchemaStmt);

	if (IsA(parsetree, AlterEnumStmt))
	{
		add_name(renamed, ((AlterEnumStmt *) parsetree)->oldVal);
		return true;
	}
	if (moves)
	{
		AlterObjectSchemaStmt *stmt = (AlterObjectSchemaStmt *) parsetree;

		type = stmt->objectType;
		object = stmt->object;
		relation = stmt->relation;
	}
	else
	{
		RenameStmt *stmt = castNode(RenameStmt, parsetree);

		type = stmt->renameType;
		object = stmt->object;
		relation = stmt->relation;
		if (type == OBJECT_COLUMN || type == OBJECT_ATTRIBUTE)
			return add_columns(renamed, relation, list_make2(stmt->subname, stmt->newname));
		add_name(renamed, stmt->newname);
		if (type == OBJECT_SCHEMA)
		{
			add_name(renamed, stmt->subname);
			renamed->schema = stmt;
			return true;
		}
	}

	switch (type)
	{
		case OBJECT_TABLE:
		case OBJECT_INDEX:
		case OBJECT_VIEW:
		case OBJECT_MATVIEW:
		case OBJECT_FOREIGN_TABLE:
		case OBJECT_SEQUENCE:
			return add_relation(renamed, relation, moves);
		case OBJECT_TYPE:
		case OBJECT_DOMAIN:
			add_type(renamed, castNode(List, object));
			break;
		case OBJECT_FUNCTION:
		case OBJECT_PROCEDURE:
		case OBJECT_ROUTINE:
		case OBJECT_AGGREGATE:
			add_name(renamed, strVal(llast(castNode(ObjectWithArgs, object)->objname)));
			break;
		case OBJECT_OPERATOR:
			/* USING, CASE, IN and others look for theirs without naming them */
			add_name(renamed, strVal(llast(castNode(ObjectWithArgs, object)->objname)));
			if (strspn(linitial(renamed->names), "=<>~!*") == strlen(linitial(renamed->names)))
				renamed->anything = true;
			break;
		case OBJECT_COLLATION:
		case OBJECT_TSCONFIGURATION:
		case OBJECT_TSDICTIONARY:
			add_name(renamed, strVal(llast(castNode(List, object))));
			break;
		case OBJECT_EXTENSION:
			/* whatever it has */
			renamed->anything = true;
			break;
		default:
			/* what no query names */
			return false;
	}
	return true;
}

/*-------------------------------------------------------------------------
 * What a command drops or changes
 *-------------------------------------------------------------------------
 */

/* Objects that are going, each once. */
typedef struct Going
{
	List	   *objects;		/* of ObjectAddress *, which grows while it is
								 * gone through */
	HTAB	   *known;			/* by ObjectAddress */
} Going;

static void
add_going(Going *going, Oid class, Oid object, int32 column)
{
	ObjectAddress *address;
	bool		found;

	if (!OidIsValid(object))
		return;
	address = palloc(sizeof(ObjectAddress));
	ObjectAddressSubSet(*address, class, object, column);
	if (going->known == NULL)
	{
		HASHCTL		info;

		info.keysize = sizeof(ObjectAddress);
		info.entrysize = sizeof(ObjectAddress);
		info.hcxt = CurrentMemoryContext;
		going->known = hash_create("summary_cache objects", 64, &info,
								   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	(void) hash_search(going->known, address, HASH_ENTER, &found);
	if (found)
		pfree(address);
	else
		going->objects = lappend(going->objects, address);
}

/*
 * What depends on an object, in pg_depend; or, the other way, what it is a part of,
 * as a view's rule is of the view, or a generated column's expression of the column.
 */
static void
add_related(Going *going, const ObjectAddress *object, bool wholes)
{
	Relation	depend = table_open(DependRelationId, AccessShareLock);
	SysScanDesc scan;
	ScanKeyData keys[3];
	HeapTuple	tuple;

	ScanKeyInit(&keys[0], wholes ? Anum_pg_depend_classid : Anum_pg_depend_refclassid,
				BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(object->classId));
	ScanKeyInit(&keys[1], wholes ? Anum_pg_depend_objid : Anum_pg_depend_refobjid,
				BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(object->objectId));
	ScanKeyInit(&keys[2], wholes ? Anum_pg_depend_objsubid : Anum_pg_depend_refobjsubid,
				BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(object->objectSubId));
	/* with the whole go all of its columns */
	scan = systable_beginscan(depend, wholes ? DependDependerIndexId : DependReferenceIndexId,
							  true, NULL, object->objectSubId != 0 ? 3 : 2, keys);
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tuple);

		CHECK_FOR_INTERRUPTS();
		if (!wholes)
			add_going(going, form->classid, form->objid, form->objsubid);
		else if (form->deptype == DEPENDENCY_INTERNAL)
			add_going(going, form->refclassid, form->refobjid, form->refobjsubid);
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
}

/* What sections may name it by.  A table they have read, but not a view. */
static void
add_dropped(Renamed *renamed, const ObjectAddress *object)
{
	HeapTuple	tuple;

	switch (object->classId)
	{
		case RelationRelationId:
			(void) sc_oid_list_add(&renamed->changed, object->objectId);
			if (get_rel_relkind(object->objectId) == RELKIND_VIEW)
				add_name(renamed, get_rel_name(object->objectId));
			break;
		case ProcedureRelationId:
			add_name(renamed, get_func_name(object->objectId));
			break;
		case OperatorRelationId:
			add_name(renamed, get_opname(object->objectId));
			break;
		case TypeRelationId:
			tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(object->objectId));
			if (!HeapTupleIsValid(tuple))
				break;
			add_name(renamed, NameStr(((Form_pg_type) GETSTRUCT(tuple))->typname));
			ReleaseSysCache(tuple);
			break;
		default:
			break;
	}
}

/* Add what CASCADE takes along, and then all of it. */
static void
add_all_going(Renamed *renamed, Going *going)
{
	ListCell   *lc;

	foreach(lc, going->objects)
	{
		/* the list is moved when it grows */
		const ObjectAddress *object = lfirst(lc);

		add_related(going, object, false);
		add_related(going, object, true);
	}
	foreach(lc, going->objects)
	{
		add_dropped(renamed, lfirst(lc));
	}
}

/* An object of DROP. */
static void
find_dropped_object(ObjectType type, Node *object, Renamed *renamed, Going *going)
{
	switch (type)
	{
		case OBJECT_TABLE:
		case OBJECT_VIEW:
		case OBJECT_MATVIEW:
		case OBJECT_FOREIGN_TABLE:
		case OBJECT_SEQUENCE:
			add_going(going, RelationRelationId,
					  RangeVarGetRelid(makeRangeVarFromNameList(castNode(List, object)), NoLock, true), 0);
			break;
		case OBJECT_TYPE:
		case OBJECT_DOMAIN:
			add_going(going, TypeRelationId, LookupTypeNameOid(NULL, castNode(TypeName, object), true), 0);
			break;
		case OBJECT_FUNCTION:
		case OBJECT_PROCEDURE:
		case OBJECT_ROUTINE:
		case OBJECT_AGGREGATE:
			add_going(going, ProcedureRelationId,
					  LookupFuncWithArgs(type, castNode(ObjectWithArgs, object), true), 0);
			break;
		case OBJECT_OPERATOR:
			add_going(going, OperatorRelationId,
					  LookupOperWithArgs(castNode(ObjectWithArgs, object), true), 0);
			break;
		case OBJECT_COLLATION:
		case OBJECT_TSCONFIGURATION:
		case OBJECT_TSDICTIONARY:
			add_name(renamed, strVal(llast(castNode(List, object))));
			break;
		case OBJECT_SCHEMA:
			add_going(going, NamespaceRelationId, get_namespace_oid(strVal(object), true), 0);
			break;
		case OBJECT_EXTENSION:
			add_going(going, ExtensionRelationId, get_extension_oid(strVal(object), true), 0);
			break;
		default:
			break;
	}
}

/*
 * Columns that are dropped, or get another type; the key that a GROUP BY may need.
 * A new column can only break a query that has its name for another, or NATURAL.
 */
static void
find_changed_columns(AlterTableStmt *stmt, Renamed *renamed, Going *going)
{
	Oid			relid = RangeVarGetRelid(stmt->relation, NoLock, true);
	List	   *columns = NIL;
	ListCell   *lc;

	if (!OidIsValid(relid))
		return;
	renamed->only_named = true;
	foreach(lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);
		const char *name = cmd->name;

		if (!sc_ddl_may_break_column(cmd))
			continue;
		if (cmd->subtype == AT_AddColumn)
			name = castNode(ColumnDef, cmd->def)->colname;
		else
			renamed->only_named = false;
		if (cmd->subtype == AT_DropConstraint)
			continue;
		columns = lappend(columns, unconstify(char *, name));
		if (cmd->subtype == AT_DropColumn && get_attnum(relid, name) > 0)
			add_going(going, RelationRelationId, relid, get_attnum(relid, name));
	}
	if (!renamed->only_named)
		(void) add_columns(renamed, stmt->relation, columns);
	else
	{
		renamed->relations = find_all_inheritors(relid, NoLock, NULL);
		foreach(lc, columns)
		{
			add_name(renamed, lfirst(lc));
		}
		add_name(renamed, "natural");
	}
	foreach(lc, renamed->relations)
	{
		(void) sc_oid_list_add(&renamed->changed, lfirst_oid(lc));
	}
}

/* All that some roles own in this database. */
static void
find_owned(DropOwnedStmt *stmt, Going *going)
{
	Relation	depend = table_open(SharedDependRelationId, AccessShareLock);
	ListCell   *lc;

	foreach(lc, roleSpecsToIds(stmt->roles))
	{
		SysScanDesc scan;
		ScanKeyData keys[2];
		HeapTuple	tuple;

		ScanKeyInit(&keys[0], Anum_pg_shdepend_refclassid, BTEqualStrategyNumber,
					F_OIDEQ, ObjectIdGetDatum(AuthIdRelationId));
		ScanKeyInit(&keys[1], Anum_pg_shdepend_refobjid, BTEqualStrategyNumber,
					F_OIDEQ, ObjectIdGetDatum(lfirst_oid(lc)));
		scan = systable_beginscan(depend, SharedDependReferenceIndexId, true, NULL, 2, keys);
		while ((tuple = systable_getnext(scan)) != NULL)
		{
			Form_pg_shdepend form = (Form_pg_shdepend) GETSTRUCT(tuple);

			CHECK_FOR_INTERRUPTS();
			if (form->dbid == MyDatabaseId && form->deptype == SHARED_DEPENDENCY_OWNER)
				add_going(going, form->classid, form->objid, form->objsubid);
		}
		systable_endscan(scan);
	}
	table_close(depend, AccessShareLock);
}

/* False if it is nothing that a query names. */
static bool
find_dropped(Node *parsetree, Renamed *renamed)
{
	Going		going = {NIL, NULL};
	ListCell   *lc;

	renamed->may_break = true;
	if (IsA(parsetree, DropOwnedStmt))
		find_owned((DropOwnedStmt *) parsetree, &going);
	else if (IsA(parsetree, AlterTableStmt))
		find_changed_columns((AlterTableStmt *) parsetree, renamed, &going);
	else
		foreach(lc, castNode(DropStmt, parsetree)->objects)
	{
		find_dropped_object(((DropStmt *) parsetree)->removeType, lfirst(lc), renamed, &going);
	}
	add_all_going(renamed, &going);
	hash_words(renamed);
	return renamed->names || renamed->words || renamed->changed.list;
}

/*-------------------------------------------------------------------------
 * What a query means
 *-------------------------------------------------------------------------
 */

/* A cancelled command is cancelled; any other error is the section's. */
static ErrorData *
rethrow_cancel(ErrorData *error)
{
	if (error && sc_subtransaction_is_cancel(error))
		ReThrowError(error);
	return error;
}

/* No function of whoever defined a domain is to run in the middle of another user's command. */
static void
check_constants(Follower *follower)
{
	follower->runs_checks = sc_constant_runs_checks(follower->section);
	if (follower->runs_checks)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("to analyze its query would run the CHECK of a domain")));
}

static void
analyze_text(void *arg)
{
	Follower   *follower = arg;

	sc_subtransaction_limit_waiting(1);
	PushActiveSnapshot(GetTransactionSnapshot());
	check_constants(follower);
	follower->query = sc_query_analyze(follower->section);
	follower->reads_clock = sc_query_reads_clock(follower->section->query,
												 list_make1(follower->query));
	PopActiveSnapshot();
}

/*
 * Only whether a query can be analysed; with NULLs for its strings, if they would
 * run the CHECK of a domain.
 */
static void
try_analysis(void *arg)
{
	Follower   *follower = arg;

	sc_subtransaction_limit_waiting(1);
	PushActiveSnapshot(GetTransactionSnapshot());
	if (!sc_constant_runs_checks(follower->section))
		(void) sc_query_analyze(follower->section);
	PopActiveSnapshot();
}

static void
print_query(void *arg)
{
	Follower   *follower = arg;

	sc_subtransaction_limit_waiting(1);
	PushActiveSnapshot(GetTransactionSnapshot());
	follower->text = pg_get_querydef(copyObject(follower->query), true);
	while (*follower->text == ' ')
		follower->text ++;
	PopActiveSnapshot();
}

static void
analyze_and_print(void *arg)
{
	analyze_text(arg);
	print_query(arg);
}

/* Something about a section, as its owner, leaving no locks: NULL, or the error. */
static ErrorData *
attempt(Follower *follower, void (*action) (void *arg))
{
	return rethrow_cancel(sc_owner_try(follower->section, action, follower));
}

/* Both have been printed under the same names. */
static bool
means_the_same(Follower *a, Follower *b)
{
	return strcmp(a->text, b->text) == 0 &&
		equal(sc_inspect_operators(a->query), sc_inspect_operators(b->query));
}

/*-------------------------------------------------------------------------
 * Before the command
 *-------------------------------------------------------------------------
 */

typedef struct NamedObject
{
	const char *name;
	Oid			oid;
} NamedObject;

/* The function of a name as sc_inspect_function_name() has it; an argument's type may be gone. */
static void
find_function(void *arg)
{
	NamedObject *name = arg;
	ScSavedRole saved;

	LOCAL_FCINFO(fcinfo, 1);
	Datum		function;

	/*
	 * names are looked up and nothing else, so without asking for rights to
	 * schemas
	 */
	saved = sc_role_become(BOOTSTRAP_SUPERUSERID, 0);
	InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = CStringGetTextDatum(name->name);
	fcinfo->args[0].isnull = false;
	function = to_regprocedure(fcinfo);
	name->oid = fcinfo->isnull ? InvalidOid : DatumGetObjectId(function);
	sc_role_return(saved);
}

static void
find_text_search(void *arg)
{
	NamedObject *name = arg;
	ScSavedRole saved;

	saved = sc_role_become(BOOTSTRAP_SUPERUSERID, 0);
	name->oid = get_ts_config_oid(stringToQualifiedNameList(name->name SC_NO_SOFT_ERROR), true);
	sc_role_return(saved);
}

/* InvalidOid if it cannot be found. */
static Oid
find(void (*action) (void *arg), const char *name)
{
	NamedObject arguments = {name, InvalidOid};

	if (rethrow_cancel(sc_subtransaction_run(action, &arguments, false)) != NULL)
		return InvalidOid;
	return arguments.oid;
}

/* The value of a setting that is stored with a section, as "name=value"; or NULL. */
static char *
stored_setting(Datum element, const char *prefix)
{
	char	   *setting = TextDatumGetCString(element);

	return strncmp(setting, prefix, strlen(prefix)) == 0 ? setting + strlen(prefix) : NULL;
}

/* A walker of a query as it was parsed: does it name one of the relations? */
static bool
names_relation(Node *node, void *context)
{
	const Renamed *renamed = context;
	ListCell   *lc;

	if (node == NULL)
		return false;
	check_stack_depth();
	if (IsA(node, RangeVar))
		return list_member_oid(renamed->relations,
							   RangeVarGetRelid((RangeVar *) node, NoLock, true));
	if (sc_query_is_string(node))
		foreach(lc, renamed->relations)
	{
		char	   *name = get_rel_name(lfirst_oid(lc));

		if (name && mentions(strVal(&((A_Const *) node)->val), name))
			return true;
	}
	return raw_expression_tree_walker(node, names_relation, context);
}

static bool
is_one_of_names(const Renamed *renamed, const char *identifier)
{
	if (identifier == NULL)
		return false;
	return sc_list_has_name(renamed->names, identifier) ||
		(renamed->words && has_word(renamed->words, identifier));
}

/* In a name with its schema and the like. */
static bool
has_one_of_names(const Renamed *renamed, List *name)
{
	ListCell   *lc;

	foreach(lc, name)
	{
		if (IsA(lfirst(lc), String) ? is_one_of_names(renamed, strVal(lfirst(lc))) :
			IsA(lfirst(lc), A_Star) && renamed->by_star)
			return true;
	}
	return false;
}

/* Likewise: does it have one of the names, as a name or in a string? */
static bool
has_name(Node *node, void *context)
{
	const Renamed *renamed = context;
	List	   *name = NIL;

	if (node == NULL)
		return false;
	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (sc_query_is_string(node))
		return mentions_any(renamed, strVal(&((A_Const *) node)->val));
	switch (nodeTag(node))
	{
		case T_RangeVar:
			return is_one_of_names(renamed, ((RangeVar *) node)->schemaname) ||
				((renamed->relations || renamed->may_break) &&
				 is_one_of_names(renamed, ((RangeVar *) node)->relname));
		case T_ColumnRef:
			/* alone it is the name of a relation or its column */
			if (renamed->relations || renamed->may_break || list_length(((ColumnRef *) node)->fields) > 1)
				name = ((ColumnRef *) node)->fields;
			break;
		case T_String:
			/* of an A_Indirection */
			return is_one_of_names(renamed, strVal(node));
		case T_A_Star:
			return renamed->by_star;
		case T_FuncCall:
			name = ((FuncCall *) node)->funcname;
			break;
		case T_TypeName:
			name = ((TypeName *) node)->names;
			break;
		case T_RangeTableFuncCol:
			/* the walker passes its type by */
			if (has_name((Node *) ((RangeTableFuncCol *) node)->typeName, context))
				return true;
			break;
		case T_A_Expr:
			name = ((A_Expr *) node)->name;
			break;
		case T_SubLink:
			name = ((SubLink *) node)->operName;
			break;
		case T_SortBy:
			name = ((SortBy *) node)->useOp;
			break;
		case T_CollateClause:
			name = ((CollateClause *) node)->collname;
			break;
		default:
			break;
	}
	return has_one_of_names(renamed, name) || sc_query_walk_raw(node, has_name, context);
}

static bool
walk_text(Follower *follower, bool (*walker) (Node *node, void *context))
{
	ListCell   *lc;

	foreach(lc, raw_parser(follower->section->query, RAW_PARSE_DEFAULT))
	{
		if (walker(lfirst_node(RawStmt, lc)->stmt, unconstify(Renamed *, follower->renamed)))
			return true;
	}
	return false;
}

/* The parser has undone all escapes. */
static void
find_in_tree(void *arg)
{
	Follower   *follower = arg;

	follower->in_text = walk_text(follower, has_name);
}

/*
 * Does a query that cannot be analysed name what is renamed?  For relations it is
 * known which it names, without locks; for the rest by their names, which other
 * things may have, but not a comment or a column of the result.
 */
static void
find_name(void *arg)
{
	Follower   *follower = arg;

	if (follower->renamed->relations)
		follower->names_it = walk_text(follower, names_relation);
	else
		follower->names_it = follower->renamed->anything || follower->in_path ||
			walk_text(follower, has_name);
}

/*
 * Find out what a query means, or why that cannot be found out.  What the
 * analysis needs for the moment is freed: there may be thousands of sections.
 */
static void
find_meaning(Follower *follower)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(old, "summary_cache analysis", ALLOCSET_DEFAULT_SIZES);
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = attempt(follower, analyze_text);
	if (error == NULL)
	{
		MemoryContextSwitchTo(old);
		follower->query = copyObject(follower->query);
	}
	else
		follower->query = NULL;

	if (error && (follower->runs_checks || error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE) &&
		attempt(follower, find_name) == NULL && follower->names_it)
	{
		follower->unknown_code = error->sqlerrcode;
		/* an error is kept longer than this */
		follower->unknown = follower->runs_checks ? error->message :
			"another session has locked what its query reads";
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* A section that may be concerned by its text. */
static Follower *
new_follower(const Renamed *renamed, ScSectionDef *section, Concern concern)
{
	Follower   *follower = palloc0(sizeof(Follower));

	follower->section = section;
	follower->renamed = renamed;
	follower->in_text = concern == CONCERNED;
	/* if the parser does not understand it, it names nothing */
	if (concern == DISGUISED)
		(void) attempt(follower, find_in_tree);
	return follower;
}

/* NULL if the command does not concern it. */
static Follower *
find_follower(const Renamed *renamed, ScSectionDef *section)
{
	Follower   *follower = new_follower(renamed, section, concern_of(renamed, section->query));
	bool		concerned;
	Datum	   *settings;
	int			nsettings;

	concerned = follower->in_text;

	follower->calls = palloc0(sizeof(Oid) * (section->ncalls + 1));
	for (int i = 0; i < section->ncalls; i++)
		if (concerns(renamed, section->calls[i]))
		{
			follower->calls[i] = find(find_function, section->calls[i]);
			concerned = true;
		}
	deconstruct_array(section->settings, TEXTOID, -1, false, TYPALIGN_INT, &settings, NULL, &nsettings);
	for (int i = 0; i < nsettings; i++)
	{
		char	   *value = TextDatumGetCString(settings[i]);
		char	   *config = stored_setting(settings[i], TEXT_SEARCH);

		if (!concerns(renamed, value))
			continue;
		concerned = true;
		if (config)
			follower->text_search = find(find_text_search, config);

		/*
		 * a schema of that name was in the path and is gone: it is to be
		 * there again
		 */
		else if (renamed->schema && mentions(value, renamed->schema->newname))
			follower->in_text = follower->in_path = true;
	}
	follower->keys = palloc0(sizeof(AttrNumber) * (section->nkeyed + 1));
	for (int i = 0; i < section->nkeyed; i++)
		follower->keys[i] = get_attnum(section->sources[section->keyed[i].source], section->keyed[i].column);
	if (!concerned)
		return NULL;
	if (follower->in_text)
		find_meaning(follower);
	return follower;
}

/*
 * May a command concern settings that are stored with a section?  Most sections of
 * a database have the same, which are looked at once.
 */
static bool
concerns_settings(Renamed *renamed, ArrayType *settings)
{
	Datum	   *elements;
	int			n;

	if (renamed->settings && VARSIZE(settings) == VARSIZE(renamed->settings) &&
		memcmp(settings, renamed->settings, VARSIZE(settings)) == 0)
		return false;
	deconstruct_array(settings, TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL, &n);
	for (int i = 0; i < n; i++)
		if (concerns(renamed, TextDatumGetCString(elements[i])))
			return true;
	if (renamed->settings)
		pfree(renamed->settings);
	renamed->settings = MemoryContextAlloc(renamed->context, VARSIZE(settings));
	memcpy(renamed->settings, settings, VARSIZE(settings));
	return false;
}

static bool
has_read_changed(const Renamed *renamed, const ScSectionDef *section)
{
	for (int i = 0; i < section->nreads; i++)
		if (sc_oid_list_has(&renamed->changed, section->reads[i]))
			return true;
	return false;
}

static Concern
concern_of_break(const Renamed *renamed, const ScSectionDef *section)
{
	bool		reads = has_read_changed(renamed, section);

	if (renamed->only_named)
		return reads ? concern_of(renamed, section->query) : NOT_CONCERNED;
	return reads ? CONCERNED : concern_of(renamed, section->query);
}

/*
 * The section if the command may break it: its query can be analysed.  NULL if it
 * cannot, or if that is not known.
 */
static Follower *
find_breakable(const Renamed *renamed, ScSectionDef *section)
{
	Follower   *follower = new_follower(renamed, section, concern_of_break(renamed, section));
	MemoryContext old;
	MemoryContext context;
	ErrorData  *error;

	if (!follower->in_text)
		return NULL;

	old = CurrentMemoryContext;
	context = AllocSetContextCreate(old, "summary_cache analysis", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	error = attempt(follower, try_analysis);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return error == NULL ? follower : NULL;
}

/* May a command concern a section?  For sc_definition_some(). */
static bool
is_concerned(const ScSectionDef *section, void *arg)
{
	Renamed    *renamed = arg;

	if (renamed->may_break)
		return concern_of_break(renamed, section) != NOT_CONCERNED;
	if (concerns(renamed, section->query))
		return true;
	for (int i = 0; i < section->ncalls; i++)
		if (concerns(renamed, section->calls[i]))
			return true;
	return concerns_settings(renamed, section->settings);
}

/* So that the extension stays until this subtransaction ends. */
static void
lock_extension(Oid table)
{
	if (!ConditionalLockRelationOid(table, AccessShareLock))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("another session is changing the extension%s", sc_define_holders(AccessShareLock))));
}

static void
find_followers(void *arg)
{
	ScFollowers *followers = arg;
	Oid			table = sc_extension_definition_table();
	Snapshot	snapshot;
	ListCell   *lc;

	sc_subtransaction_limit_waiting(1);
	lock_extension(table);
	if (sc_extension_definition_table() != table)
		return;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	foreach(lc, sc_definition_some(snapshot, followers->renamed.may_break, is_concerned, &followers->renamed))
	{
		ScSummaryDef *definition = lfirst(lc);

		for (int i = 0; i < definition->nsections; i++)
		{
			ScSectionDef *section = &definition->sections[i];
			Follower   *follower;

			/* what is wrong with its row stays to be seen there */
			if (section->damage)
				continue;
			follower = followers->renamed.may_break ?
				find_breakable(&followers->renamed, section) :
				find_follower(&followers->renamed, section);
			if (follower)
				followers->list = lappend(followers->list, follower);
		}
	}
	UnregisterSnapshot(snapshot);
}

/*
 * A command is going to rename, move, drop or change something: what the sections
 * concerned are, for sc_follow_end(); NULL if there are none.  Raises a cancel, and
 * what the command itself would raise, but nothing else.
 */
ScFollowers *
sc_follow_begin(Node *parsetree)
{
	ScFollowers *followers = palloc0(sizeof(ScFollowers));
	ErrorData  *error;

	if (sc_ddl_may_break(parsetree) ? !find_dropped(parsetree, &followers->renamed) :
		!find_renamed(parsetree, &followers->renamed))
		return NULL;
	followers->renamed.context = CurrentMemoryContext;
	error = rethrow_cancel(sc_subtransaction_run(find_followers, followers, false));
	/* of what it may break, nothing is known then */
	if (error && !followers->renamed.may_break)
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("sections do not follow what is renamed or moved: %s", error->message),
				 errhint("For those whose queries name it, call summary_cache_define() with one that does by the new name.")));
	return followers->list != NIL ? followers : NULL;
}

/*-------------------------------------------------------------------------
 * After it
 *-------------------------------------------------------------------------
 */

/* A schema has another name: the search path with it; NULL if it is not there. */
static char *
rename_in_path(char *value, const RenameStmt *rename)
{
	List	   *schemas;
	ListCell   *lc;
	StringInfoData path;
	bool		found = false;

	if (rename == NULL || !SplitIdentifierString(value, ',', &schemas))
		return NULL;
	initStringInfo(&path);
	foreach(lc, schemas)
	{
		bool		renamed = strcmp(lfirst(lc), rename->subname) == 0;

		found = found || renamed;
		appendStringInfo(&path, "%s%s", path.len > 0 ? ", " : SEARCH_PATH,
						 quote_identifier(renamed ? rename->newname : lfirst(lc)));
	}
	return found ? path.data : NULL;
}

/* The setting of a text search configuration by the name that it has now. */
static char *
text_search_setting(Oid config)
{
	HeapTuple	tuple = SearchSysCache1(TSCONFIGOID, ObjectIdGetDatum(config));
	char	   *setting = NULL;

	if (HeapTupleIsValid(tuple))
	{
		Form_pg_ts_config form = (Form_pg_ts_config) GETSTRUCT(tuple);

		setting = psprintf(TEXT_SEARCH "%s",
						   quote_qualified_identifier(get_namespace_name(form->cfgnamespace),
													  NameStr(form->cfgname)));
		ReleaseSysCache(tuple);
	}
	return setting;
}

/* The stored settings, calls and keys by their new names.  True if they have any. */
static bool
follow_names(Follower *follower)
{
	ScSectionDef *section = follower->section;
	bool		changed = false;
	Datum	   *settings;
	int			nsettings;

	deconstruct_array(section->settings, TEXTOID, -1, false, TYPALIGN_INT, &settings, NULL, &nsettings);
	for (int i = 0; i < nsettings; i++)
	{
		char	   *setting = NULL;
		char	   *value;

		if ((value = stored_setting(settings[i], SEARCH_PATH)) != NULL)
			setting = rename_in_path(value, follower->renamed->schema);
		else if (stored_setting(settings[i], TEXT_SEARCH) && OidIsValid(follower->text_search))
			setting = text_search_setting(follower->text_search);
		if (setting == NULL || strcmp(setting, TextDatumGetCString(settings[i])) == 0)
			continue;
		settings[i] = CStringGetTextDatum(setting);
		changed = true;
	}
	if (changed)
		section->settings = construct_array(settings, nsettings, TEXTOID, -1, false, TYPALIGN_INT);

	for (int i = 0; i < section->ncalls; i++)
	{
		char	   *name;

		if (!OidIsValid(follower->calls[i]) || !get_func_name(follower->calls[i]))
			continue;
		name = sc_inspect_function_name(follower->calls[i]);
		if (strcmp(name, section->calls[i]) == 0)
			continue;
		section->calls[i] = name;
		changed = true;
	}

	/* the trigger's argument follows when a build finds that it is missing */
	for (int i = 0; i < section->nkeyed; i++)
	{
		ScSectionKey *key = &section->keyed[i];
		char	   *name = follower->keys[i] > InvalidAttrNumber ?
		get_attname(section->sources[key->source], follower->keys[i], true) : NULL;

		if (name == NULL || strcmp(name, key->column) == 0)
			continue;
		key->column = name;
		changed = true;
	}
	return changed;
}

/* Let a query be printed if its text is no longer as good.  True if it was. */
static bool
follow_text(Follower *follower)
{
	ScSectionDef *section = follower->section;
	Follower	now = {section, follower->renamed};
	ErrorData  *error;

	if (!follower->in_text)
		return false;
	if (follower->query == NULL)
	{
		/* broken before, it is not this command's matter */
		if (follower->unknown && attempt(&now, analyze_text) != NULL)
			ereport(ERROR,
					(errcode(follower->unknown_code),
					 errmsg("%s", follower->unknown)));
		return false;
	}
	error = attempt(follower, print_query);
	if (error)
		ReThrowError(error);
	if (attempt(&now, analyze_and_print) == NULL && means_the_same(&now, follower))
		return false;

	if (follower->reads_clock)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("its query has a constant such as 'now', which would be fixed if it were written anew")));

	/* what is printed must mean that again */
	section->query = follower->text;
	error = attempt(&now, analyze_and_print);
	if (error)
		ReThrowError(error);
	if (!means_the_same(&now, follower))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("its query cannot be written so that it means the same")));
	return true;
}

/* Is the section still as it was before the command? */
static bool
is_unchanged(ScSectionDef *section)
{
	ScSummaryDef *definition = sc_definition_now(NameStr(section->summary));
	ScSectionDef *stored = sc_definition_section(definition, NameStr(section->name));

	return stored && stored->hash == section->hash;
}

static void
end_one(void *arg)
{
	Follower   *follower = arg;
	ScSectionDef *section = follower->section;
	bool		changed;
	bool		printed;

	sc_subtransaction_limit_waiting(1);
	/* the hub's sections may have followed in their own way */
	lock_extension(sc_extension_definition_table());
	if (!is_unchanged(section))
		return;
	changed = follow_names(follower);
	printed = follow_text(follower);
	if (!changed && !printed)
		return;

	(void) sc_define_lock_now();
	if (!is_unchanged(section))
		return;
	sc_define_update(section);
	if (printed)
		ereport(NOTICE,
				(errmsg("section \"%s\" of summary \"%s\" follows what was renamed or moved",
						NameStr(section->name), NameStr(section->summary)),
				 errdetail("Its query reads the same as before; the text is now as PostgreSQL prints it, as a view's would be.")));
}

/* To the user who executes the command, what is wrong with a query is its owner's business. */
static const char *
shown_error(const Follower *follower, const ErrorData *error, const char *otherwise)
{
	return has_privs_of_role(GetUserId(), follower->section->owner) ? error->message : otherwise;
}

static void
report_not_following(const Follower *follower, const ErrorData *error)
{
	ScSectionDef *section = follower->section;

	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("section \"%s\" of summary \"%s\" does not follow what was renamed or moved: %s",
					NameStr(section->name), NameStr(section->summary),
					follower->unknown || error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ? error->message :
					shown_error(follower, error, "its query cannot be analyzed")),
			 errhint("If its query names that, call summary_cache_define() with one that does by the new name.")));
}

/* Does an error say that a query does not fit what there is?  Else it may be the moment's. */
static bool
is_misfit(const ErrorData *error)
{
	int			category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	return category == ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION ||
		category == ERRCODE_DATA_EXCEPTION || error->sqlerrcode == ERRCODE_INVALID_SCHEMA_NAME;
}

/* Has the command broken a section that is still there? */
static void
find_broken(void *arg)
{
	Follower   *follower = arg;
	ErrorData  *error;

	if (!ConditionalLockRelationOid(sc_extension_definition_table(), AccessShareLock) ||
		!is_unchanged(follower->section))
		return;
	error = attempt(follower, try_analysis);
	if (error && is_misfit(error))
		follower->broken = error;
}

static void
report_broken(const Follower *follower)
{
	ScSectionDef *section = follower->section;

	ereport(WARNING,
			(errcode(follower->broken->sqlerrcode),
			 errmsg("section \"%s\" of summary \"%s\" cannot be built any more: %s",
					NameStr(section->name), NameStr(section->summary),
					shown_error(follower, follower->broken, "its query cannot be analyzed")),
			 errhint("Call summary_cache_define() with a query that does without what was dropped or changed, or summary_cache_drop().")));
}

/*
 * The command was executed.  To be called in the transaction that it is a part
 * of, once for what sc_follow_begin() returned.  Raises nothing but a cancel.
 */
void
sc_follow_end(ScFollowers *followers)
{
	ListCell   *lc;
	MemoryContext old = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(old, "summary_cache following", ALLOCSET_DEFAULT_SIZES);
	bool		may_break = followers->renamed.may_break;

	CommandCounterIncrement();
	foreach(lc, followers->list)
	{
		Follower   *follower = lfirst(lc);
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = rethrow_cancel(sc_subtransaction_run(may_break ? find_broken : end_one, follower, !may_break));
		if (error && !may_break)
			report_not_following(follower, error);
		if (follower->broken)
			report_broken(follower);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	MemoryContextDelete(context);
}
