/*-------------------------------------------------------------------------
 *
 * ddl.h
 *	  What a command does, as its parse tree says.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_DDL_H
#define SC_DDL_H

#include "nodes/parsenodes.h"

#include "base.h"

typedef enum ScDdlScope
{
	/* in ascending order */
	SC_DDL_NONE,				/* changes the result of no query */
	SC_DDL_NAMES,				/* changes no more than what the text of one
								 * means, and who may read, unless it has
								 * locked a tracked table: see meaning.c */
	SC_DDL_DATABASE,
	SC_DDL_CLUSTER
} ScDdlScope;

/* What a command does that concerns us. */
typedef struct ScDdlEffect
{
	ScDdlScope	scope;
	bool		renames;		/* something that a query may name */
	bool		may_break;		/* a query: see sc_ddl_may_break() */
	const char *schema;			/* that it gave a new name, or moved a table
								 * to */
	bool		writes_untracked;	/* a tracked table, whose triggers fire
									 * later */
	Oid			database;		/* that it copies or removes, so that our
								 * worker there must leave; InvalidOid: none */
	bool		drops_database; /* that one */
	bool		renames_database;	/* likewise */
	bool		finishes_prepared;	/* a transaction */
	bool		commits;		/* the transaction block */
	bool		listens;		/* to our channel */
	const char *subscription;	/* that it may have added tables to */
	bool		may_join_trees; /* CREATE TABLE or ALTER TABLE */
	bool		may_drop_extension;
} ScDdlEffect;

/* Does a command drop what a query may name, or change its columns? */
extern bool sc_ddl_may_break(Node *parsetree);
extern bool sc_ddl_may_break_column(const AlterTableCmd *cmd);

extern void sc_ddl_effect(Node *parsetree, ScDdlEffect *effect);

/* What a statement that writes a table does: only catalogs count. */
extern ScDdlScope sc_ddl_scope_of_write(Oid relid);

/* What REASSIGN OWNED has done, asked after it. */
extern ScDdlScope sc_ddl_scope_of_reassign(Node *parsetree);

/* Is the type of a relation's rows used by anything else?  Then rows of it may
 * be had without naming it. */
extern bool sc_ddl_row_type_is_used(Oid relid);

#endif							/* SC_DDL_H */
