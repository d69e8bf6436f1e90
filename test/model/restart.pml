/*
 * restart.pml: the first use of a database in a server run, or after a promotion, beside a transaction that was
 * prepared before (src/label.c, enter_prepared() and sc_label_read_catch_alls(); src/definition.c,
 * sc_definition_get()).
 *
 * Nobody knows what the prepared transaction wrote, and it is in no cell.  It was prepared in this database, where it
 * changed rows and the definition of the section; or in another one, where it changed an object that all databases
 * share, a role.  It is committed or rolled back at any time.  Two sessions use the database for the first time.  One
 * of them looks at the definition, as a read does whose answer is private, and later at it again when it builds.
 *
 * Checked: a hit shows every transaction that the reader's snapshot sees, in the rows and in the definition, and no
 * word loses a count that it does not have.
 *
 * Beside what common.pml says, this abstracts: a transaction that is prepared after the start is in a cell
 * (prepare.pml) whether or not it is entered as well; entering it twice costs a needless change of revision.
 *
 * REACH_HIT                    a hit
 * REACH_HIT_BESIDE_PENDING     a hit beside the transaction, by its orphan cell
 * WEAK_NOT_ENTERED             transactions that were prepared before the start are not entered
 * WEAK_ENTERED_AFTER_SNAPSHOT  they are entered after the build's snapshot is taken
 * WEAK_KNOWN_TOO_EARLY         the other session is told that they are entered before they are
 * WEAK_XID_BEFORE_COUNT        an entered transaction is shown in a cell before it is counted
 * WEAK_DEFINITION_BEFORE       a definition is labelled before they are entered, and cached; so is today's code
 * WEAK_OWN_DATABASE_ONLY       those of other databases are not entered; so is today's code
 */

#define WORDS			2
#define CLUSTER			0
#define CATCH_ALL		1		/* of the database */
#define BACKENDS		1		/* its cell is not used here */
#define ORPHANS			2

#include "common.pml"

#define TAKE_SNAPSHOT()	d_step { s_over = over; s_seen = seen }
#define SCAN_BEGINS()	skip
#define SCANNED(i)		true
#define CHECK_HIT()		wrong_hit = (s_seen & ~data) != 0 || !elsewhere && (s_seen & ~definition) != 0

bool elsewhere;					/* it was prepared in another database */

/* The document: is the transaction in its rows (and in what all databases share), and in its definition? */
byte data, definition;

bool locked;					/* ScShared.lock, exclusive */
bool prepared_known;

#include "reader.pml"

/* Settling may meet both; the transaction's number is 0. */
proctype Finisher()
{
	byte settled, i, n, c;
	if
	:: commit(0)
	:: rollback(0)
	fi;
	unlocked = BIT(0);
	settle_finished()
}

/*
 * What it is entered on.  The catch-all of its own database stands for nothing of another one; and once it is in a
 * cell on that word, no other database enters it again.  So it is the cluster's.
 */
#ifdef WEAK_OWN_DATABASE_ONLY
#define entered			BIT(CATCH_ALL)
#else
#define entered			BIT(CLUSTER)
#endif

inline enter_prepared()
{
	/* the list of those that are prepared */
#ifdef WEAK_OWN_DATABASE_ONLY
	listed = over == 0 && !elsewhere;
#else
	listed = over == 0;
#endif
	settle_finished();
	atomic { !locked -> locked = true };
	if
	:: prepared_known -> skip
	:: else ->
#ifdef WEAK_KNOWN_TOO_EARLY
		prepared_known = true;
#endif
		if
		/* in progress, and in no cell */
		:: listed && over == 0 && cell[BACKENDS] != 1 && cell[BACKENDS + 1] != 1 ->
#ifdef WEAK_XID_BEFORE_COUNT
			orphan_enter(1, entered);
			each_word(entered, word_count);
#else
			each_word(entered, word_count);
			orphan_enter(1, entered);
#endif
		:: else -> skip
		fi;
		prepared_known = true
	fi;
	listed = false;
	locked = false
}

inline label_read_catch_alls(cluster, catch_all)
{
	cluster = REVISION(word[CLUSTER]);
	do
	:: catch_all = REVISION(word[CATCH_ALL]);
#if !defined WEAK_NOT_ENTERED && !defined WEAK_ENTERED_AFTER_SNAPSHOT
		if
		:: prepared_known -> break
		:: else -> enter_prepared()
		fi
#else
		break
#endif
	od
}

inline definition_get()
{
	if
	:: d_cluster != NOT_THERE && word[CLUSTER] == d_cluster * ONE && word[CATCH_ALL] == d_catch_all * ONE -> skip
	:: else ->
#ifdef WEAK_DEFINITION_BEFORE
		d_cluster = REVISION(word[CLUSTER]);
		d_catch_all = REVISION(word[CATCH_ALL]);
#else
		label_read_catch_alls(d_cluster, d_catch_all);
#endif
		definition = seen
	fi
}

proctype Builder()
{
	byte d_cluster, d_catch_all;	/* of the cached definition */
	bool listed;
	byte settled, i, n, c;

	definition_get();

	/* sc_build() */
	label_read_catch_alls(label[CLUSTER], label[CATCH_ALL]);
	definition_get();
	data = seen;
#ifdef WEAK_ENTERED_AFTER_SNAPSHOT
	enter_prepared();
#endif
	built = true
}

proctype Another()
{
	byte cluster, catch_all;
	bool listed;
	byte settled, i, n, c;
	label_read_catch_alls(cluster, catch_all)
}

init
{
	byte i;
	atomic {
		words_init();
		if
		:: elsewhere = true
		:: skip
		fi;
		run Finisher(); run Builder(); run Another(); run Reader()
	}
}
