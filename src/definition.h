/*-------------------------------------------------------------------------
 *
 * definition.h
 *	  Summaries and sections in the catalog, and this backend's view of them.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_DEFINITION_H
#define SC_DEFINITION_H

#include "executor/spi.h"
#include "utils/array.h"
#include "utils/snapshot.h"

#include "extension.h"
#include "label.h"
#include "settings.h"
#include "store.h"

/* Is all that a section's query runs PostgreSQL's own?  See closed.c. */
typedef enum ScClosed
{
	SC_CLOSED_UNKNOWN,
	SC_CLOSED,
	SC_OPEN
} ScClosed;

/* A source is keyed: each scan of it compares one of these columns with a parameter. */
typedef struct ScSectionKey
{
	int			source;			/* index in ScSectionDef.sources */
	char	   *column;
	int			parameter;		/* from 0 */
} ScSectionKey;

typedef struct ScSectionDef
{
	NameData	summary;
	NameData	name;
	char	   *query;
	ArrayType  *settings;		/* as in pg_proc.proconfig */
	const char *damage;			/* what is wrong with its row, so that it
								 * cannot be built, or NULL */
	Oid		   *sources;
	Oid		   *reads;			/* tables that the query read when it was
								 * defined: reading others, it is not proven */
	char	  **calls;			/* likewise the functions that cannot be seen
								 * into, as sc_inspect_function_name() has it */
	char	  **keys;			/* as they were at definition */
	uint64		hash;			/* of all that decides about the bytes */
	uint64		lineage;		/* hash of what a new definition leaves: the
								 * owner, the incarnation, and the table that
								 * it stands in */
	uint64		reading;		/* hash of the sources alone */
	SPIPlanPtr	plan;			/* document.c's, NULL until first built; it
								 * points back to this */
	int			nsources;
	int			nreads;
	int			ncalls;
	int			nkeys;
	ScParameters parameters;	/* its summary's */
	ScSectionKey *keyed;		/* as it was when it was defined */
	int			nkeyed;
	char	  **not_keyed;		/* why a source is not, beside sources; "": it
								 * is */
	int			nnot_keyed;
	Oid			owner;
	int			plan_generation;	/* of the plan in which strangers were
									 * looked for, 0: of none */
	ScStranger	stranger;		/* and what was found */
	List	   *key_columns;	/* of ScKeyed, of the plan of this generation;
								 * in the plan's memory */
	int			keyed_generation;
	int			meaning_generation; /* of the plan that was made of a query
									 * with this meaning; 0: of none */
	ScMeaning	meaning;
	bool		in_doubt;		/* the plan: the query may mean something else
								 * since DDL that changes names only */
	ScClosed	closed;
	bool		is_inline;
	bool		generated;		/* by summary_cache_attach_state_hub() */
	bool		keep_plan;		/* the definition is a cached one */
	bool		locks_by_name;	/* it is being defined: what it names is
								 * locked before its analysis, so that it is
								 * known for which table that waits */

	/* Its parts, which are looked for when they are first needed: split.c. */
	bool		was_split;		/* they were looked for */
	bool		undivided;		/* it turned out that they cannot be built one
								 * by one */
	int			nparts;			/* 0: it is one */
	struct ScSectionDef *parts; /* as this, but for the query, the plan, and
								 * what follows from that */
	int			part;			/* of a part: its number, from 0 */
	bool	   *unread;			/* of a part: the sources that its plan does
								 * not read; NULL: not known */
} ScSectionDef;

/* More columns than this are not worth a part each. */
#define SC_MAX_PARTS	100

/* The number of parts that a section is built in; of itself, if it is one. */
static inline int
sc_section_nparts(const ScSectionDef *section)
{
	return section->nparts > 0 && !section->undivided ? section->nparts : 1;
}

static inline ScSectionDef *
sc_section_part(ScSectionDef *section, int part)
{
	return section->nparts > 0 && !section->undivided ? &section->parts[part] : section;
}

typedef struct ScSummaryDef
{
	NameData	name;
	Oid			table;			/* of the definitions */
	ScOptions	options;
	bool		has_readers;	/* option readers is set: see reader.c */
	int			nreaders;
	Oid		   *readers;
	MemoryContext context;
	ScParameters parameters;
	int			nsections;
	ScSectionDef *sections;		/* in the order of the document */
} ScSummaryDef;

/* The newest, cached; NULL if there is none.  Valid until the next call, or
 * until unpinned. */
extern ScSummaryDef *sc_definition_get(const char *summary);
extern void sc_definition_pin(void);
extern void sc_definition_unpin(void);

/* The definition that a snapshot sees, in a context of its own below the one
 * given; NULL if there is none. */
extern ScSummaryDef *sc_definition_read(const char *summary, Snapshot snapshot,
										MemoryContext parent);
extern ScSectionDef *sc_definition_section(ScSummaryDef *definition, const char *name);

/* The roles of option readers of a summary that a snapshot sees, in the current
 * memory context; true if the option is set. */
extern bool sc_definition_readers(Name summary, Snapshot snapshot, Oid **readers, int *nreaders);

/* Has the table of the definitions this column?  That of the version before may lack it. */
extern bool sc_definition_has_column(const char *name);

/* Is one of these roles in such a list, as of now? */
extern bool sc_definition_are_readers(List *roles);

/* All definitions that a snapshot sees, one after the other, without their
 * options and readers; a visited one and what is allocated meanwhile do not last. */
extern void sc_definition_visit(Snapshot snapshot, void (*visit) (ScSummaryDef *definition, void *arg),
								void *arg);

/* Those of which a section is wanted, by its query and either what it reads or its
 * settings and calls; in the current memory context. */
extern List *sc_definition_some(Snapshot snapshot, bool by_reads,
								bool (*wanted) (const ScSectionDef *section, void *arg), void *arg);

/* Likewise what is newest now, this command's own changes included. */
extern ScSummaryDef *sc_definition_now(const char *summary);
extern List *sc_definition_some_now(bool (*wanted) (const ScSectionDef *section, void *arg), void *arg);

/* The sections' sources, with owners or without; whether there are so many
 * sections. */
extern void sc_definition_sources_now(bool with_owners,
									  void (*note) (Oid owner, const Oid *sources, int nsources, void *arg),
									  void *arg);
extern bool sc_definition_are_as_many(int n);

/* The sources by which documents are kept by the values of a column, with that column;
 * and the section's owner. */
extern void sc_definition_keyed_now(void (*note) (Oid owner, Oid source, const char *column, void *arg), void *arg);

/* An error unless it can be a name. */
extern void sc_definition_check_name(const char *what, const char *name);
SC_NORETURN extern void sc_definition_unknown(const char *summary);
SC_NORETURN extern void sc_definition_hidden(const char *summary, const char *reason);

/* A key may be in one section only: an error if one of the first section's is
 * one of the second's as well. */
typedef struct ScKeys
{
	const char *section;
	int			n;
	char	  **keys;
} ScKeys;

/* An error if two sections of a summary have the same key. */
extern void sc_definition_check_keys(const char *summary, const ScKeys *sections, int nsections);

#endif							/* SC_DEFINITION_H */
