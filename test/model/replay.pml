/*
 * replay.pml: a standby that watches its own replay (src/watch.c, src/filemap.c), and its promotion.  The startup
 * process does for each commit record that it replays what a committing backend does on a primary, and readers prove
 * as they do there.
 *
 * For one table: the startup process replays two transactions that write it, of which the first may have written its
 * rows before the watching began, or may be DDL that gives the table another file, or DDL on temporary tables only,
 * beside its rows, which its primary says of it (src/assure.c).  The startup process notes, for each transaction, the
 * files that its records change; of one that was running when the watching began, it does not know that it has seen
 * all, so its commit stands for everything.  Around the original redo of a commit record it counts the transaction on
 * the words, and then moves them.  Whoever builds reads the words and enters the table's file, as of the revision of
 * the catch-all that it has read; an entry counts as long as the catch-all has that revision.  A counter that is odd
 * while a commit is replayed keeps the entry and the commit from missing each other.  A third transaction was
 * prepared, and is finished after the promotion, when nobody knows what it has written.  Two sessions build and read,
 * before or after the promotion.
 *
 * Checked: a hit shows every transaction that the reader's snapshot sees.
 *
 * This abstracts: memory is sequentially consistent; the words of a database's catch-all and of the cluster are one,
 * "everything"; what is prepared and finished during recovery counts at its COMMIT PREPARED record like others.  A
 * label with a position is in standby.pml.
 *
 * REACH_HIT                    a hit
 * REACH_HIT_BESIDE_PENDING     a hit beside a commit that is being replayed, by the cell
 * REACH_HIT_PROMOTED           a hit after the promotion, with a document that was built before it
 * WEAK_MOVED_BEFORE_ONLY       the revision moves only before the original redo
 * WEAK_MOVED_AFTER_ONLY        it moves only after it
 * WEAK_ENTERED_AT_ONCE         who enters a file does not wait for a commit that is being replayed
 * WEAK_ENTERED_BY_ANOTHER      who finds the file entered does not wait, although another still does
 * WEAK_ENTRY_LOWERED           who has an older label makes an entry older
 * WEAK_SNAPSHOT_FIRST          the build's snapshot is taken before the file is entered
 * WEAK_EARLY_AS_NOTED          a transaction that ran when watching began counts for what was noted of it only
 * WEAK_FILES_BEFORE_ODD        the files are looked up before the counter becomes odd
 * WEAK_CELL_EMPTIED_FIRST      the cell is emptied before the revision moves
 * WEAK_NO_SECOND_LOOK          the reader does not load the words again
 * WEAK_DDL_MOVES_TABLE_ONLY    DDL moves the word of the table, and not the catch-all
 * WEAK_SAID_OF_DDL             a primary says of any DDL that it is about temporary tables only
 * WEAK_SAID_BY_EARLY           who says so is believed to have noted all, although it ran when watching began
 * WEAK_SAID_COUNTS_NOTHING     who says so has written nothing else either
 * WEAK_PREPARED_UNKNOWN        what is prepared is not entered when the server is promoted
 * WEAK_PREPARED_LATE           it is entered when the server can be written already
 *
 * No weak variant: the label is read before the file is entered, or after it, if the snapshot comes after both.
 */

#define ONE				16
#define REVISION(w)		((w) / ONE)
#define PENDING(w)		((w) % ONE)
#define BIT(t)			(1 << (t))

#define PREPARED		2			/* the transaction that is finished after the promotion */

byte word = ONE, everything = ONE;	/* the table's word, and the one for everything */
byte cell;						/* the startup process's: the transaction whose commit it replays, + 1 */
byte orphan;					/* that of the one that was prepared */
byte commits;					/* odd while a commit is replayed */
byte seen;						/* the transactions that are visible */
byte file;						/* which the table has */
byte entered[2];				/* the revision as of which its file is entered, 0: not */
bool writable;					/* the server is promoted */

bool wrong_hit;
bool reached;

inline add(n)
{
	if
	:: on_table -> word = word + n
	:: else
	fi;
	if
	:: on_all -> everything = everything + n
	:: else
	fi
}

proctype Startup(bool early, ddl, temporary)
{
	byte t, f;
	bool on_table, on_all, noted, said;

	do
	:: t < PREPARED ->
		/* its heap records; those of an early transaction were replayed before the watching began */
		noted = !(early && t == 0);
		f = file;
#ifdef WEAK_SAID_OF_DDL
		said = (ddl || temporary) && t == 0;
#else
		said = temporary && t == 0;
#endif

		/* its commit record: before the original redo */
#ifdef WEAK_FILES_BEFORE_ODD
		on_table = noted && entered[f] == REVISION(everything);
		commits++;
		cell = t + 1;
#else
		commits++;
		cell = t + 1;
		on_table = noted && entered[f] == REVISION(everything);
#endif
#ifndef WEAK_EARLY_AS_NOTED
		on_all = !noted;
#endif
#ifdef WEAK_SAID_BY_EARLY
		on_all = on_all && !said;
#endif
#ifdef WEAK_SAID_COUNTS_NOTHING
		on_table = on_table && !said;
#endif
#ifndef WEAK_DDL_MOVES_TABLE_ONLY
		on_all = on_all || ((ddl || temporary) && t == 0 && !said);
#endif
#if defined WEAK_MOVED_BEFORE_ONLY
		add(ONE);
#elif !defined WEAK_MOVED_AFTER_ONLY
		add(1);
#endif

		/* the original redo, which ends with the invalidations */
		seen = seen | BIT(t);
		if
		:: ddl && t == 0 -> file = 1
		:: else
		fi;

		/* after it */
#ifdef WEAK_CELL_EMPTIED_FIRST
		cell = 0;
#endif
#if defined WEAK_MOVED_AFTER_ONLY
		add(ONE);
#elif !defined WEAK_MOVED_BEFORE_ONLY
		add(ONE - 1);
#endif
		cell = 0;
		commits++;
		on_table = false;
		on_all = false;
		said = false;
		t++
	:: else -> break
	od;

	/* the promotion */
#ifdef WEAK_PREPARED_LATE
	writable = true;
#endif
#ifndef WEAK_PREPARED_UNKNOWN
	everything = everything + 1;
	orphan = PREPARED + 1;
#endif
	writable = true
}

/* Finishes what was prepared; the next who meets the orphan settles it. */
proctype Finisher()
{
	writable;
	seen = seen | BIT(PREPARED);
	if
	:: orphan != 0 ->
		everything = everything + ONE - 1;
		orphan = 0
	:: else
	fi
}

inline wait_for_commit()
{
	before = commits;
	if
	:: before % 2 == 1 -> commits != before
	:: else
	fi;
	before = 0
}

inline enter_file()
{
	f = file;
	d_step {
		is_new = entered[f] < label_everything;
		if
#ifdef WEAK_ENTRY_LOWERED
		:: true -> entered[f] = label_everything
#else
		:: is_new -> entered[f] = label_everything
#endif
		:: else -> skip
		fi
	}
#ifdef WEAK_ENTERED_BY_ANOTHER
	if
	:: is_new -> wait_for_commit()
	:: else -> skip
	fi;
#elif !defined WEAK_ENTERED_AT_ONCE
	wait_for_commit();
#endif
	is_new = false;
	f = 0
}

proctype Session()
{
	byte label, label_everything, data;	/* the document */
	byte before, snapshot, w, e, c, o, f;
	bool hit, pending, built_before, is_new;

	/* build */
#ifdef WEAK_SNAPSHOT_FIRST
	data = seen;
#endif
	label_everything = REVISION(everything);
	label = REVISION(word);
	built_before = !writable;
	if
	:: built_before -> enter_file()
	:: else
	fi;
#ifndef WEAK_SNAPSHOT_FIRST
	data = seen;
#endif

	/* read */
	snapshot = seen;
	w = word;
	e = everything;
	pending = PENDING(w) + PENDING(e) > 0;
	hit = REVISION(w) == label && REVISION(e) == label_everything;
	if
	:: hit && pending ->
		c = cell;
		hit = c == 0 || (snapshot & BIT(c - 1)) == 0;
		c = 0;
		o = orphan;
		hit = hit && (o == 0 || (snapshot & BIT(o - 1)) == 0);
		o = 0;
#ifndef WEAK_NO_SECOND_LOOK
		w = word;
		e = everything;
		hit = hit && REVISION(w) == label && REVISION(e) == label_everything
#endif
	:: else -> skip
	fi;
	if
	:: hit ->
		d_step {
#ifdef REACH_HIT
			reached = true;
#endif
#ifdef REACH_HIT_BESIDE_PENDING
			reached = pending && !writable;
#endif
#ifdef REACH_HIT_PROMOTED
			reached = built_before && (snapshot & BIT(PREPARED)) == 0 && writable;
#endif
			assert(!reached);
			wrong_hit = (snapshot & ~data) != 0;
			assert(!wrong_hit)
		}
	:: else -> skip
	fi
}

init
{
	atomic {
		if
		:: run Startup(false, false, false)
		:: run Startup(true, false, false)
		:: run Startup(false, true, false)
		:: run Startup(false, false, true)
		:: run Startup(true, false, true)
		fi;
		run Finisher();
		run Session(); run Session()
	}
}
