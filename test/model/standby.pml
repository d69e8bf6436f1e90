/*
 * standby.pml: what a document is labelled with on a hot standby (src/label.c), and a promotion.
 *
 * The startup process replays three records, each of which makes a transaction visible.  It moves one position before
 * it replays a record, and the other after.  Then the standby may be promoted, and a transaction of its own commits.
 *
 * Checked: a hit shows every transaction that the reader's snapshot sees.
 *
 * This abstracts: a record is its number, and all of it is done in one step; after the promotion the words are proven
 * as the other models have it, so a document without a position is not looked at here.
 *
 * REACH_HIT                    a hit
 * WEAK_BEGUN_ONLY              the label is the end of the record whose replay has begun
 * WEAK_REPLAYED_ONLY           a reader compares it with the end of the record that was replayed in full
 * WEAK_LABEL_AFTER_SNAPSHOT    the label is read after the build's snapshot
 * WEAK_POSITION_FIRST          a reader reads the position before its snapshot is taken
 * WEAK_PROMOTED                a position proves something after the promotion, too
 */

#define RECORDS			3

byte begun, replayed;			/* GetCurrentReplayRecPtr(), GetXLogReplayRecPtr() */
bool in_recovery = true;
byte seen;						/* the transactions that are visible */

byte label, data;				/* the document */
bool built;

bool wrong_hit;
bool reached;

proctype Startup()
{
	do
	:: replayed < RECORDS ->
		begun = begun + 1;
		seen = seen | (1 << begun);
		replayed = begun
	:: break
	od;
	in_recovery = false;
	seen = seen | 1
}

/* sc_build(): sc_replay_label(), then the snapshot */
proctype Builder()
{
#ifdef WEAK_LABEL_AFTER_SNAPSHOT
	data = seen;
#endif
	if
	:: in_recovery ->
#ifdef WEAK_BEGUN_ONLY
		label = begun;
#else
		label = replayed;
#endif
#ifndef WEAK_LABEL_AFTER_SNAPSHOT
		data = seen;
#endif
		built = true
	:: else -> skip
	fi
}

/* sc_prove() */
proctype Reader()
{
	byte snapshot, position;
	bool recovers;

#ifdef WEAK_POSITION_FIRST
	position = begun;
	snapshot = seen;
end:
	built;
	recovers = in_recovery;
#else
	snapshot = seen;
end:
	built;
	recovers = in_recovery;
#ifdef WEAK_REPLAYED_ONLY
	position = replayed;
#else
	position = begun;
#endif
#endif
#ifdef WEAK_PROMOTED
	recovers = true;
#endif
	if
	:: recovers && position == label ->
#ifdef REACH_HIT
		reached = true;
#endif
		assert(!reached);
		wrong_hit = (snapshot & ~data) != 0;
		assert(!wrong_hit)
	:: else -> skip
	fi
}

init
{
	atomic { run Startup(); run Builder(); run Reader() }
}
