/*
 * replay.pml: a standby that watches its own replay.  The product has no such code yet.  This is the model of a
 * design, by which a standby would have hits table by table: the startup process does for each commit record that it
 * replays what a committing backend does on a primary, and readers prove as they do there.
 *
 * For one table: the startup process replays three transactions that write it, of which the first may have written its
 * rows before the watching began.  It notes, for each transaction, the tables that its records change; of one that
 * was running when the watching began, it does not know that it has seen all, so its commit stands for every table.
 * Around the original redo of a commit record it counts the transaction on the words, and then moves them.  Whoever
 * builds registers the table first: what commits before that is not counted on the table's word.  A counter that is
 * odd while a commit is replayed keeps the registration and the commit from missing each other.  Two sessions
 * register, build and read.
 *
 * Checked: a hit shows every transaction that the reader's snapshot sees.
 *
 * This abstracts: memory is sequentially consistent; the words of a database's catch-all and of the cluster are one,
 * "everything"; prepared transactions count at their COMMIT PREPARED record like others.
 *
 * REACH_HIT                    a hit
 * REACH_HIT_BESIDE_PENDING     a hit beside a commit that is being replayed, by the cell
 * WEAK_MOVED_BEFORE_ONLY       the revision moves only before the original redo
 * WEAK_MOVED_AFTER_ONLY        it moves only after it
 * WEAK_REGISTERED_AT_ONCE      who registers does not wait for a commit that is being replayed
 * WEAK_REGISTERED_BY_ANOTHER   who finds the table registered does not wait, although another still does
 * WEAK_SNAPSHOT_FIRST          the build's snapshot is taken before the table is registered
 * WEAK_EARLY_AS_NOTED          a transaction that ran when watching began counts for what was noted of it only
 * WEAK_TABLES_BEFORE_ODD       the tables are looked up before the counter becomes odd
 * WEAK_CELL_EMPTIED_FIRST      the cell is emptied before the revision moves
 * WEAK_NO_SECOND_LOOK          the reader does not load the words again
 *
 * No weak variant: the label is read before the registration, if the snapshot comes after it.
 */

#define ONE				16
#define REVISION(w)		((w) / ONE)
#define PENDING(w)		((w) % ONE)
#define BIT(t)			(1 << (t))

byte word = ONE, everything = ONE;	/* the table's word, and the one for every table */
byte cell;						/* the startup process's: the transaction whose commit it replays, + 1 */
byte commits;					/* odd while a commit is replayed */
byte seen;						/* the transactions that are visible */
bool registered;

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

proctype Startup(bool early)
{
	byte t;
	bool on_table, on_all, noted;

	do
	:: t < 3 ->
		/* its heap records; those of an early transaction were replayed before the watching began */
		noted = !(early && t == 0);

		/* its commit record: before the original redo */
#ifdef WEAK_TABLES_BEFORE_ODD
		on_table = noted && registered;
		commits++;
		cell = t + 1;
#else
		commits++;
		cell = t + 1;
		on_table = noted && registered;
#endif
#ifndef WEAK_EARLY_AS_NOTED
		on_all = !noted;
#endif
#if defined WEAK_MOVED_BEFORE_ONLY
		add(ONE);
#elif !defined WEAK_MOVED_AFTER_ONLY
		add(1);
#endif

		/* the original redo */
		seen = seen | BIT(t);

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
		t++
	:: else -> break
	od
}

inline register()
{
#ifdef WEAK_REGISTERED_BY_ANOTHER
	if
	:: registered -> skip
	:: else ->
		registered = true;
		before = commits;
		if
		:: before % 2 == 1 -> commits != before
		:: else
		fi
	fi;
#else
	registered = true;
	before = commits;
#ifndef WEAK_REGISTERED_AT_ONCE
	if
	:: before % 2 == 1 -> commits != before
	:: else
	fi;
#endif
#endif
	before = 0
}

proctype Session()
{
	byte label, label_everything, data;	/* the document */
	byte before, snapshot, w, e, c;
	bool hit, pending;

	/* build */
#ifdef WEAK_SNAPSHOT_FIRST
	data = seen;
#endif
	register();
	label = REVISION(word);
	label_everything = REVISION(everything);
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
			reached = pending;
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
		:: run Startup(false)
		:: run Startup(true)
		fi;
		run Session(); run Session()
	}
}
