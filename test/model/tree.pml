/*
 * tree.pml: the words of tables in a tree, and DDL that changes the tree while a writer is open (src/track.c:
 * track_write(), sc_track_slots(), sc_track_attach_members(); src/build.c, read_labels()).
 *
 * Under plain inheritance each table has a word of its own, a writer marks those of the tables that it writes, and a
 * label has the words of all members.  (Today's code has one word for the tree instead, its root's.)  There are three
 * tables, top, mid and leaf; leaf inherits from mid.  One transaction writes leaf.  Another makes mid a child of top
 * or ends that, and locks nothing of leaf.  A third gives leaf its trigger if it has none at first, as for a table
 * that joins a tracked tree.  The document is built from top or from mid.
 *
 * With WITH_PARTITIONS these are partitions: the tree shares its root's word, and DDL that attaches or detaches locks
 * out the writers of all that is below.
 *
 * Checked: a hit shows what the reader's snapshot sees: the membership of mid if that has changed, and the row in
 * leaf if leaf belongs to the document's tree.  If the document already has a change of membership that the reader
 * does not see yet (it is as new as a document may be), the row counts if leaf belongs to the tree in both.
 *
 * Beside what common.pml says, this abstracts: no lock but those just named is there, so no other is needed for
 * this; the query is planned after the snapshot, by the catalog as it then is; a member's trigger is seen by a writer
 * if it was committed when the writer locked the table.
 *
 * REACH_HIT                    a hit
 * REACH_HIT_BESIDE_PENDING     a hit beside a transaction in commit, by the cells
 * REACH_HIT_MEMBER             a hit on a document with the row in leaf, from top
 * REACH_HIT_ATTACHED           a hit on a document from a tree whose trigger was put on meanwhile
 * WITH_PARTITIONS              the tree shares its root's word, DDL waits for the writers of all members
 * WEAK_SHARED_ROOT             the tree shares its root's word under plain inheritance; so is today's code
 * WEAK_ROOT_AT_COMMIT          likewise, and a writer marks the root's word of when it commits as well
 * WEAK_DETACH_WAITS_NOT        partitions are attached and detached without waiting for the writers of all members
 * WEAK_NO_CATCH_ALL            DDL that changes the membership does not move the catch-all
 * WEAK_MEMBERS_BEFORE_LABEL    the members are looked up before the catch-all word of the label is read
 * WEAK_MEMBERS_REMEMBERED      the members are those of an earlier build
 * WEAK_SOURCE_WORD_ONLY        the label has the source's own word, but not those of its members
 * WEAK_ATTACH_WAITS_NOT        a trigger is put on a table without waiting for its open writers
 * WEAK_PROVABLE_WITHOUT        a tree is taken for provable although a member has no trigger
 *
 * No weak variant: members are looked up before the words of the label are read, or after; the query is planned by
 * another membership than the label has (the catch-all tells).
 */

#if defined WEAK_SHARED_ROOT || defined WEAK_ROOT_AT_COMMIT
#define SHARED_ROOT
#endif
#ifdef WEAK_DETACH_WAITS_NOT
#define WITH_PARTITIONS
#endif
#ifdef WITH_PARTITIONS
#define SHARED_ROOT
#endif

#define WORDS			4
#define TOP				0
#define MID				1
#define LEAF			2
#define CATCH_ALL		3

/* The transactions, each in a backend of its own. */
#define WRITER			0
#define DDL				1
#define ATTACH			2
#define BACKENDS		3

#include "common.pml"

#define TAKE_SNAPSHOT()	d_step { s_over = over; s_seen = seen }
#define SCAN_BEGINS()	skip
#define SCANNED(i)		true
#define CHECK_HIT()		check_hit()

bool inherits_first;			/* mid is a child of top at first */
bool trigger_first;				/* leaf has a trigger at first */
#define INHERITS(set)	(inherits_first != (((set) & BIT(DDL)) != 0))
#define TRIGGER(set)	(trigger_first || ((set) & BIT(ATTACH)) != 0)
/* the root that stands for mid and leaf */
#define ROOT(set)		(INHERITS(set) -> TOP : MID)

/* Locks on leaf. */
bool writes_leaf;				/* RowExclusive */
bool alters_leaf;				/* what excludes it */

/* The document. */
byte source;					/* TOP or MID */
byte data;						/* the transactions in its snapshot */
byte plan;						/* and those in the catalog when it was planned */

inline check_hit()
{
	wrong_hit = source == TOP && (s_seen & ~plan & BIT(DDL)) != 0 ||
		(s_seen & ~data & BIT(WRITER)) != 0 && (source == MID || INHERITS(s_seen) && INHERITS(plan))
#ifdef REACH_HIT_MEMBER
	;
	reached = source == TOP && INHERITS(plan) && (data & BIT(WRITER)) != 0;
	assert(!reached)
#endif
#ifdef REACH_HIT_ATTACHED
	;
	reached = source == MID && !trigger_first;
	assert(!reached)
#endif
}

#include "reader.pml"

proctype Writer()
{
	byte marks, n;

	/* step 0: lock the table, and see what it is */
	atomic {
		!alters_leaf -> writes_leaf = true;
		if
#ifdef SHARED_ROOT
		:: TRIGGER(seen) -> marks = BIT(ROOT(seen))
#else
		:: TRIGGER(seen) -> marks = BIT(LEAF)
#endif
		:: else
		fi
	};
	/* step 1 */
	cell[WRITER] = WRITER + 1;
#ifdef WEAK_ROOT_AT_COMMIT
	if
	:: marks != 0 -> marks = marks | BIT(ROOT(seen))
	:: else
	fi;
#endif
	each_word(marks, word_count);
	/* step 2 */
	commit(WRITER);
	/* step 3 */
	each_word(marks, word_publish);
	cell[WRITER] = EMPTY;
	/* the locks go after XACT_EVENT_COMMIT */
	writes_leaf = false
}

/* What both kinds of DDL do from step 1 on; the locks go before late_commit() */
#define ddl_commit(t, unlock) \
	cell[t] = t + 1; \
	word_count(CATCH_ALL); \
	commit(t); \
	unlock; \
	word_publish(CATCH_ALL); \
	cell[t] = EMPTY

/* INHERIT or NO INHERIT, ATTACH or DETACH PARTITION of mid */
proctype Ddl()
{
#if defined WITH_PARTITIONS && !defined WEAK_DETACH_WAITS_NOT
	atomic { !writes_leaf && !alters_leaf -> alters_leaf = true };
	ddl_commit(DDL, alters_leaf = false)
#elif defined WEAK_NO_CATCH_ALL
	commit(DDL)
#else
	ddl_commit(DDL, skip)
#endif
}

/* CREATE TRIGGER on leaf, by whoever gets the lock */
proctype Attach()
{
#ifdef WEAK_ATTACH_WAITS_NOT
	ddl_commit(ATTACH, skip)
#else
	atomic { !writes_leaf && !alters_leaf -> alters_leaf = true };
	ddl_commit(ATTACH, alters_leaf = false)
#endif
}

inline members_look()
{
#ifdef WEAK_MEMBERS_REMEMBERED
	is_member = source == MID || inherits_first
#else
	is_member = source == MID || INHERITS(seen)
#endif
}

/* sc_build() */
proctype Builder()
{
	bool is_member;				/* leaf belongs to the source's tree */
#ifdef SHARED_ROOT
	byte root;
#endif

#ifdef WEAK_MEMBERS_BEFORE_LABEL
	members_look();
#endif
	/* sc_label_read_catch_alls() */
	label[CATCH_ALL] = REVISION(word[CATCH_ALL]);

	/* read_labels() */
#ifndef WEAK_MEMBERS_BEFORE_LABEL
	members_look();
#endif
#ifdef SHARED_ROOT
	if
	:: source == TOP -> label[TOP] = REVISION(word[TOP])
	:: source == MID -> root = ROOT(seen); label[root] = REVISION(word[root])
	fi;
#else
	label[source] = REVISION(word[source]);
#ifndef WEAK_SOURCE_WORD_ONLY
	if
	:: is_member -> label[MID] = REVISION(word[MID]); label[LEAF] = REVISION(word[LEAF])
	:: else
	fi;
#endif
#endif
#ifndef WEAK_PROVABLE_WITHOUT
	if
	:: is_member && !TRIGGER(seen) -> label[CATCH_ALL] = NEVER_CURRENT
	:: else
	fi;
#endif

	data = seen;
	plan = seen;
	built = true
}

init
{
	byte i;
	atomic {
		words_init();
		if
		:: inherits_first = true
		:: skip
		fi;
		if
		:: trigger_first = true
		:: run Attach()
		fi;
		if
		:: source = TOP
		:: source = MID
		fi;
		run Writer(); run Ddl(); run Builder(); run Reader()
	}
}
