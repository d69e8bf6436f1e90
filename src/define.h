/*-------------------------------------------------------------------------
 *
 * define.h
 *	  Changes definitions.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_DEFINE_H
#define SC_DEFINE_H

#include "storage/lockdefs.h"

#include "definition.h"

/* What a section is to be. */
typedef struct ScSectionSpec
{
	const char *summary;
	const char *section;
	const char *query;
	List	   *sources;		/* Oids; unless they are derived */
	bool		derive_sources; /* from the query */
	bool		is_inline;
	bool		generated;		/* by attaching a State Hub, which also
								 * decides about the owner */
	Oid			owner;
	ArrayType  *parameters;		/* declared, as text; NULL: those of the
								 * summary's other sections, or none */
	List	   *keys;			/* columns by which sources may be keyed, of
								 * char *; with any_keys, by all */
	bool		any_keys;
	ArrayType  *settings;		/* NULL: those of the session */
	bool		(*execute) (ScSectionDef *section); /* executes the query
													 * once, for its errors;
													 * false if it may not; or
													 * NULL */
} ScSectionSpec;

/* What a definition is told of a section, in a NOTICE. */
typedef struct ScNotice
{
	char	   *message;
	char	   *detail;			/* or NULL */
	char	   *hint;
} ScNotice;

/* An error on a standby, and in a read-only transaction. */
extern void sc_define_check_writable(const char *function);

/* Lock out other definers; the table. */
extern Oid	sc_define_lock(void);

/* The same in a user's command that is not ours, which waits for no definer. */
extern Oid	sc_define_lock_now(void);

/* An error unless a role may have triggers put on the tree that a source is in. */
extern void sc_define_check_tree_rights(Oid relid, Oid owner);

/* Whose locks on the definitions conflict with one of this mode, for a message. */
extern const char *sc_define_holders(LOCKMODE mode);

/* Define or replace a section; checks everything but the caller's right to act
 * for the owner. */
extern void sc_define_section(const ScSectionSpec *spec);

/* What that would say now of each section of a summary.  The caller must be able
 * to act for their owners; nothing is executed or changed. */
extern void sc_define_notices(const char *summary,
							  void (*put) (const char *section, const ScNotice *notice, void *arg), void *arg);

/* Drop a section, or with NULL all of a summary. */
extern void sc_define_drop(const char *summary, const char *section);

/* Set an option of a summary; with a NULL value go back to the setting of the
 * same name. */
extern void sc_define_configure(const char *summary, const char *option, const char *value);

/* Other definers are locked out already. */
extern void sc_define_update(ScSectionDef *section);

/*
 * The sections of some roles are dropped, with triggers if these may be detached;
 * or get another owner.  The caller may do that with whatever they own.
 */
extern void sc_define_drop_of(List *owners, bool may_detach);
extern void sc_define_give(List *owners, Oid new_owner);

/* Some roles are no readers of any summary any more. */
extern void sc_define_forget_readers(List *roles);

/* From the worker, between transactions: triggers that a build has missed. */
extern bool sc_define_attach_missing(void);

#endif							/* SC_DEFINE_H */
