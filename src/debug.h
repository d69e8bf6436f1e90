/*-------------------------------------------------------------------------
 *
 * debug.h
 *	  Waiting points and weakened protocols; nothing of it in a release build.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_DEBUG_H
#define SC_DEBUG_H

#include "base.h"

#ifdef SC_DEBUG
enum
{
	SC_PROTOCOL_TWO_PHASE,
	SC_PROTOCOL_AT_WRITE,		/* wrong: revision moves before the commit */
	SC_PROTOCOL_AFTER_COMMIT,	/* wrong: nothing pending during it */
	SC_PROTOCOL_REPLAYED_ONLY,	/* wrong: on a standby, the end of the last
								 * record that was replayed in full on both
								 * sides */
	SC_PROTOCOL_BEGUN_ONLY,		/* wrong: of the one whose replay began last */
	SC_PROTOCOL_TREE_WORD,		/* wrong: also under plain inheritance a tree
								 * has one word, its root's */
	SC_PROTOCOL_WATCH_BEFORE,	/* wrong: on a standby, words move before the
								 * original redo of a commit only, and nobody
								 * waits for that (which covers most of it) */
	SC_PROTOCOL_WATCH_AFTER,	/* wrong: after it only */
	SC_PROTOCOL_WATCH_ALL_KNOWN,	/* wrong: what ran when the watching began
									 * counts for what was noted of it */
	SC_PROTOCOL_WATCH_UNSETTLED,	/* wrong: who enters files does not wait
									 * for a commit that is being replayed */
	SC_PROTOCOL_ASSURE_ALL,		/* wrong: a primary says of any DDL that it is
								 * about temporary relations only */
	SC_PROTOCOL_MEMBER_UNSETTLED,	/* wrong: the word of a member is in
									 * labels as soon as it is there */
	SC_PROTOCOL_MEMBER_NAMED,	/* wrong: who writes through a table above a
								 * member marks that table only */
	SC_PROTOCOL_NAMES_UNSEEN,	/* wrong: whatever a query means since DDL,
								 * its document is as it was */
	SC_PROTOCOL_KEYS_NEW,		/* wrong: of a row that is updated, the key
								 * words of its new values are marked only */
	SC_PROTOCOL_KEYS_FINE,		/* wrong: no coarse words are marked */
	SC_PROTOCOL_KEYS_TEXT,		/* wrong: values that are equal have words of
								 * their own, if they are written differently */
	SC_PROTOCOL_KEYS_LATE,		/* wrong: labels have the key words as they
								 * are after the query */
	SC_PROTOCOL_SPLICE			/* wrong: of the parts of a section that have
								 * changed, the first is built, and nothing is
								 * proven of the others */
};

extern int	sc_debug_protocol;
extern void sc_debug_init(void);
extern void sc_debug_point(const char *name);
extern bool sc_debug_fails(const char *name);
extern uint64 sc_debug_text_hash(Oid type, Datum value);

#define SC_POINT(name) sc_debug_point(name)
#define SC_WEAK(protocol) (sc_debug_protocol == (protocol))
#define SC_FAILS(name) sc_debug_fails(name)
#else
#define SC_POINT(name) ((void) 0)
#define SC_WEAK(protocol) false
#define SC_FAILS(name) false
#define sc_debug_text_hash(type, value) UINT64CONST(0)
#endif

#endif							/* SC_DEBUG_H */
