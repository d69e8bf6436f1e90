# Proves that documents outlive the server as stale ones of their true age, and that no file, whatever became of it or
# of the database, brings back what is not to be served.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use File::Copy qw(copy);
use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $file = 'pg_stat_tmp/summary_cache.documents';

# A function that is not PostgreSQL's own: with it a section is for a worker only, so that a reader of an old
# document does not build a new one as long as there is no worker.
my $schema = q{
	CREATE EXTENSION summary_cache;
	CREATE FUNCTION one() RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN 1; END';
	CREATE TABLE t (n int);
	INSERT INTO t VALUES (1);
	CREATE TABLE u (n int);
	INSERT INTO u VALUES (1);
};
my $open = 'SELECT sum(n) * one() AS n FROM t';
my $states = 'SELECT DISTINCT state FROM summary_cache_sections';
my $closed = 'SELECT sum(n) AS n FROM t';

sub define
{
	my ($summary, $query, @more) = @_;
	return "SELECT summary_cache_define('$summary', 'main', '$query', " . join(', ', @more, 'run_query => false') . ');';
}

my $node = Node->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', q{
	restart_after_crash = on
	autovacuum = off
	summary_cache.save_interval = 0
	summary_cache.max_stale_age = -1
});
$node->append_conf('postgresql.conf', slurp_file($ENV{SC_DEBUG_CONF})) if $ENV{SC_DEBUG_CONF};
$node->start;
my $path = $node->data_dir . "/$file";

# With workers or without; at once, or from the next start on.
sub set_workers
{
	my ($n) = @_;
	$node->set_server('summary_cache.max_workers', $n);
	$node->no_worker if $n == 0;
	return;
}

# The server's log of one start, which is a stop in that way before.
sub restarted
{
	my ($mode, $before) = @_;
	my $offset;

	$node->stop($mode);
	$before->() if $before;
	$offset = -s $node->logfile;
	$node->start;
	return substr(slurp_file($node->logfile), $offset);
}

# Kill a session: the server makes its shared memory anew.
sub crash
{
	my $victim = Session->new($node);
	my $offset = -s $node->logfile;

	kill 'KILL', $victim->pid;
	wait_until(sub { substr(slurp_file($node->logfile), $offset) =~ /all server processes terminated/ });
	$node->comes_back;
	return;
}

# Write the file now, as if its time had come.
sub save
{
	my $before = -e $path ? (stat $path)[1] : 0;

	$node->set_server('summary_cache.save_interval', '1s');
	my $saved = wait_until(sub { -e $path && (stat $path)[1] != $before });
	$node->set_server('summary_cache.save_interval', 0);
	return $saved;
}

$node->sql($schema . define('s', $open) . define('d', $open) . define('c', $closed) . q{
	SELECT summary_cache_define('m', 'main', 'SELECT sum(n) * one() AS n FROM u', run_query => false);
	SELECT summary_cache_define('m', 'now', 'SELECT count(*) AS i FROM t', refresh => 'inline', run_query => false);
	SELECT summary_cache_configure('s', 'max_stale_age', '1h')});
$node->hit($_) for qw(s d c m);

#
# A restart
#
my $about = q{SELECT etag, built_at FROM summary_cache_fetch('s')};
my $before = $node->sql($about);
set_workers(0);
ok(!-e $path, 'there is no file before it is due');
my $log = restarted('fast');
is((stat $path)[2] & 07777, 0600, 'the file is its owner\'s only');
ok(!-e "$path.tmp", 'nothing is left beside it');
unlike($log, qr/summary_cache\.documents/, 'nothing is logged when all is well');
is($node->sql(state_of('s')), 'stale', 'what was loaded is stale, although nothing has changed');
like($node->sql(q{SELECT reason FROM summary_cache_sections WHERE summary = 's'}), qr/loaded when the server started/, '... and a view says why');
is($node->sql(fetch('s')), 'stale 1', 'it is served at once, as stale');
is($node->sql($about), $before, '... with its etag and its time');
is($node->sql(q{SELECT age BETWEEN now() - built_at - interval '1 second' AND now() - built_at + interval '1 minute'
	FROM summary_cache_sections WHERE summary = 's'}), 't', '... and its true age');
is($node->sql('BEGIN ISOLATION LEVEL REPEATABLE READ; ' . fetch('s') . '; COMMIT'), 'private 1', 'in REPEATABLE READ it is not served');

# what a stale document is not for
is($node->sql('SET summary_cache.read_your_writes = off; INSERT INTO t VALUES (2); ' . fetch('s')), 'stale 1', 'it may lack what others have committed');
is($node->sql('INSERT INTO t VALUES (3); ' . fetch('s')), 'private 6', 'but not what the session has committed');
is($node->sql('BEGIN; INSERT INTO t VALUES (4); ' . fetch('s') . '; ROLLBACK'), 'private 10', '... nor what its transaction has written');
is($node->sql('CREATE TEMP TABLE mine () INHERITS (t); INSERT INTO mine VALUES (100); ' . fetch('s')), 'private 106', '... nor its temporary rows');
is($node->sql('SET summary_cache.max_stale_age = 0; ' . fetch('s')), 'stale 1', 'the summary has kept an option of its own');
is($node->sql('BEGIN; ' . forced('s') . '; COMMIT'), '6', 'a forced read builds');
is($node->sql(q{SET summary_cache.max_stale_age = '1s'; SELECT pg_sleep(1.1); } . fetch('m')) =~ s/^\n//r,
	'private 1', 'max_stale_age counts from when it was built');

# A section of one is built, over another table: what the rest lacks is still not known.
is($node->sql(fetch('m', 'i')), 'stale 3', 'an inline section is built at once, and the rest is stale');
is($node->sql(fetch('m')), 'stale 1', '... as it was loaded');
is($node->sql('INSERT INTO u VALUES (5); ' . fetch('m')), 'private 6', 'a session that has written is not served it');
is($node->sql('BEGIN; INSERT INTO u VALUES (6); ' . fetch('m') . '; ROLLBACK'), 'private 12', '... nor one that writes');
is($node->sql('CREATE TEMP TABLE mine () INHERITS (u); INSERT INTO mine VALUES (100); ' . fetch('m')), 'private 106', '... nor one with rows of its own');

# Where readers build, the first one does; the file of then is what a second restart begins with.
like($node->sql(fetch('c')), qr/^miss 6$/, 'what is PostgreSQL\'s own one reader builds where there is no worker');
restarted('fast');
is($node->sql(fetch('s')), 'stale 1', 'what was not built in between is there after another restart');
is($node->sql($about), $before, '... with its true time');

# With workers nobody needs to read it.
set_workers(3);
restarted('fast');
$node->polled($states, 'current', 'all are refreshed without a reader');
is($node->sql(fetch('s')), 'hit-revision 6', '... and a hit');

#
# A crash
#
ok(save(), 'the file is written from time to time');
set_workers(0);
$node->sql('INSERT INTO t VALUES (10)');
crash();
is($node->sql(fetch('s')), 'stale 6', 'after a crash the documents of then are there');
set_workers(3);
$node->polled($states, 'current', 'all are current again');
ok(save(), 'the file is written once more');
set_workers(0);

# The file is older than what has been dropped, defined anew or forbidden.
$node->sql(q{SELECT summary_cache_drop('s'); CREATE ROLE regress_reader;
	GRANT EXECUTE ON FUNCTION summary_cache_fetch TO regress_reader;
	SELECT summary_cache_configure('m', 'readers', '')});
$node->sql(define('d', 'SELECT 1000 * sum(n) * one() AS n FROM t'));
restarted('immediate');
my (undef, undef, $err) = $node->psql('postgres', fetch('s'));
like($err, qr/summary "s" is not defined/, 'what was dropped does not come back');
is($node->sql(fetch('d')), 'private 16000', 'nor what was defined anew');
(undef, undef, $err) = $node->psql('postgres', 'SET ROLE regress_reader; ' . fetch('m'));
like($err, qr/summary "m" is not defined/, 'who may not read it any more does not');
$node->sql(q{SELECT summary_cache_configure('m', 'readers', NULL); DROP OWNED BY regress_reader; DROP ROLE regress_reader});

# dropped and defined again in the same way, it is another one
set_workers(3);
$node->sql(define('s', $open));
$node->hit($_) for qw(s c m);
ok(save(), 'the file is written');
set_workers(0);
$node->sql(q{SELECT summary_cache_drop('s'); INSERT INTO t VALUES (100);} . define('s', $open));
restarted('immediate');
is($node->sql(fetch('s')), 'private 116', 'a summary that was dropped and defined again is not served the old document');
is($node->sql(fetch('m')), 'stale 6', '... while others are');

#
# Invalidated, a document is gone
#
set_workers(3);
$node->hit($_) for qw(s c m);
ok(save(), 'the file is written');
set_workers(0);
$node->sql(q{SELECT summary_cache_invalidate('s')});
ok(!-e $path, 'an invalidation removes the file before it returns');
restarted('immediate');
is($node->sql(fetch('s')), 'private 116', '... so it does not come back after a crash');
set_workers(3);
$node->hit($_) for qw(s c m);
ok(save(), 'the file is written');
set_workers(0);
$node->sql(q{SELECT summary_cache_invalidate('s')});
restarted('fast');
is($node->sql(fetch('s')), 'private 116', '... nor after a shutdown');
is($node->sql(fetch('m')), 'stale 6', '... which others outlive');

# The file is due again soon, with what there is.
$node->set_server('summary_cache.save_interval', '1h');
$node->sql(q{SELECT summary_cache_invalidate('c')});
ok(!-e $path, 'it is gone');
ok(wait_until(sub { -e $path }), 'it is written again, long before the interval is over');
$node->set_server('summary_cache.save_interval', 0);

SKIP:
{
	skip 'needs a debug build', 6 unless $ENV{SC_DEBUG_CONF};
	set_workers(3);
	$node->hit($_) for qw(s c m);
	$node->sql(q{SELECT summary_cache_invalidate('c')});
	ok(!-e $path, 'there is no file');
	$node->sql($_) for q{ALTER SYSTEM SET summary_cache.debug_point = 'save-written'},
	  q{ALTER SYSTEM SET summary_cache.debug_sleep = 2000000000};
	$node->set_server('summary_cache.save_interval', '1s');
	ok(wait_until(sub { -e "$path.tmp" && $node->sql(q{SELECT wait_event FROM pg_stat_activity
		WHERE backend_type = 'summary_cache launcher'}) eq 'PgSleep' }), 'the launcher is about to rename the file');
	$node->sql(q{SELECT summary_cache_invalidate('s')});
	ok(!-e $path, 'who invalidates does not wait for it');
	$node->sql($_) for q{ALTER SYSTEM SET summary_cache.save_interval = 0}, q{ALTER SYSTEM RESET summary_cache.debug_point},
	  q{ALTER SYSTEM RESET summary_cache.debug_sleep};
	$node->reload;
	$node->sql(q{SELECT pg_log_backend_memory_contexts(pid) FROM pg_stat_activity WHERE backend_type = 'summary_cache launcher'});
	ok(wait_until(sub { !-e "$path.tmp" }), 'it goes on');
	ok(!-e $path, '... and does not rename it');
	set_workers(0);
	restarted('immediate');
	unlike($node->sql(fetch('s')), qr/stale/, '... so the document does not come back');
	set_workers(3);
}

#
# A database is another one although it has the oid of one that was dropped
#
$node->sql('CREATE DATABASE template');
$node->sql($schema . define('s', $open), 'template');
my $make = 'CREATE DATABASE x TEMPLATE template OID = 987654';
$node->no_worker;
$node->sql($make);
$node->sql('UPDATE t SET n = 777', 'x');
$node->hit('s', 'x');
set_workers(0);
restarted('fast');
is($node->sql(fetch('s'), 'x'), 'stale 777', 'the database itself has its document');
restarted('fast', sub { copy($path, "$path.old") or die });
$node->sql('DROP DATABASE x');
restarted('fast');
unlike(slurp_file($path), qr/777/, 'of a database that was dropped nothing is left');
$node->sql($make);
restarted('fast', sub { rename "$path.old", $path or die });
is($node->sql(fetch('s'), 'x'), 'private 1', 'one that is made with its oid, of the same template, is not served that');

#
# A file that is not right: the server starts, says so in one line, and builds
#
set_workers(3);
$node->hit('s');
set_workers(0);
$node->sql('UPDATE t SET n = 2');
my $truth = $node->sql('SELECT sum(n) FROM t');
sub says
{
	my ($what, $pattern, $change) = @_;
	my $log = restarted('immediate', sub { unlink $path; rmdir $path; copy("$path.good", $path) or die; chmod 0600, $path; $change->() });
	my @lines = grep { /LOG:.*summary_cache\.documents/ } split /\n/, $log;

	is(@lines, 1, "$what: one line");
	like($lines[0] // '', $pattern, "$what: it says what is wrong");
	is($node->sql(fetch('s')), "private $truth", "$what: the document is built");
	return;
}
sub patch
{
	my ($offset, $bytes) = @_;
	open my $out, '+<', $path or die;
	binmode $out;
	seek $out, $offset, 0 or die;
	print $out $bytes;
	close $out or die;
	return;
}
$node->stop('fast');
copy($path, "$path.good") or die;
$node->start;
is($node->sql(fetch('s')) =~ s/ .*//r, 'stale', 'the file is good');
my $other = Node->new('other');
$other->init;
$other->start;
$other->append_conf('postgresql.conf', 'summary_cache.max_stale_age = -1');
$other->sql($schema . define('s', 'SELECT one() AS n'));
$other->hit('s');
my $built_at = $other->sql(q{SELECT (extract(epoch FROM built_at) * 1000000)::bigint - 946684800000000 FROM summary_cache_fetch('s')});
$other->stop;

says('damaged', qr/is not loaded: it is damaged/, sub { patch(200, '~~~~~~~~~~~~~~~~') });
says('truncated', qr/is not loaded: it is damaged/, sub { truncate $path, (-s $path) - 1 or die });
says('empty', qr/is not loaded: it is damaged/, sub { truncate $path, 0 or die });
says('no file of ours', qr/no file of documents/, sub { patch(0, 'x' x 200) });
says('newer', qr/of another version/, sub { patch(6, '99') });
says('of another cluster', qr/of another database system/, sub { copy($other->data_dir . "/$file", $path) or die });
says('a directory', qr/no ordinary file|could not read/, sub { unlink $path; mkdir $path or die });
SKIP:
{
	skip 'root may read everything', 3 if $> == 0;
	says('unreadable', qr/could not read file .*: Permission denied/, sub { chmod 0, $path or die });
}
chmod 0600, $path;

# Older than the machine's clock: one document, of a year ago.
sub crc32c
{
	my $crc = 0xFFFFFFFF;
	for my $byte (unpack 'C*', $_[0])
	{
		$crc ^= $byte;
		$crc = ($crc >> 1) ^ ($crc & 1 ? 0x82F63B78 : 0) for 1 .. 8;
	}
	return pack 'L', $crc ^ 0xFFFFFFFF;
}
my $saved = slurp_file($other->data_dir . "/$file");
my ($file_header, $header, $bytes) = unpack 'a80 a136 x8 a*', $saved;
my $old_time = pack 'q', $built_at - 365 * 86400 * 1000000;
is($bytes =~ s/\Q${\ pack 'q', $built_at}\E/$old_time/, 1, 'the time of the document is in the file');
$header .= crc32c($bytes);
$header .= crc32c($header);
open my $out, '>', $other->data_dir . "/$file" or die;
binmode $out;
print $out $file_header, $header, $bytes;
close $out or die;
$other->append_conf('postgresql.conf', 'summary_cache.max_workers = 0');
$other->start;
is($other->sql(fetch('s')), 'stale 1', 'a document of before the machine\'s start is stale like another');
is($other->sql(q{SELECT age > interval '360 days' FROM summary_cache_sections}), 't', '... with its true age');
is($other->sql(q{SET summary_cache.max_stale_age = '300d'; } . fetch('s')), 'private 1', '... by which it may be too old');
$other->stop;

# more than there is room for now
$node->stop('fast');
$node->append_conf('postgresql.conf', 'summary_cache.memory_limit = 16MB');
$node->start;
set_workers(3);
$node->sql(define('large', q{SELECT string_agg(md5((n + i)::text), '''') AS n FROM t, generate_series(1, 40000) i}));
$node->hit('large');
$node->hit('s');
set_workers(0);
$log = restarted('fast', sub { $node->append_conf('postgresql.conf', 'summary_cache.memory_limit = 1MB') });
my @lines = grep { /LOG:.*summary_cache\.documents/ } split /\n/, $log;
is(@lines, 1, 'a file with more than there is room for: one line');
like($lines[0], qr/there is no room/, '... that says so');
like($node->sql(state_of('large')), qr/empty/, '... and the large document is not there');

#
# It cannot be written
#
sub cannot_save
{
	my ($what, $pattern) = @_;
	my $offset = -s $node->logfile;

	$node->sql(q{SELECT summary_cache_invalidate('large')});
	$node->set_server('summary_cache.save_interval', '1s');
	ok(wait_until(sub { substr(slurp_file($node->logfile), $offset) =~ $pattern }), "$what: it is logged");
	sleep 3;
	is(() = substr(slurp_file($node->logfile), $offset) =~ /LOG:.*summary_cache\.documents/g, 1, '... once');
	like($node->sql(fetch('s')), qr/ $truth$/, '... and all goes on');
	return;
}
SKIP:
{
	skip 'needs a debug build', 4 unless $ENV{SC_DEBUG_CONF};
	set_workers(3);
	$node->hit('s');
	$node->sql(q{ALTER SYSTEM SET summary_cache.debug_fail = 'save'});
	cannot_save('a full disk', qr/could not write file .*: No space left on device/);
	$node->sql(q{ALTER SYSTEM RESET summary_cache.debug_fail});
	$node->reload;
	ok(wait_until(sub { -e $path }), 'when there is room again, it is written');
	$node->set_server('summary_cache.save_interval', 0);
}
SKIP:
{
	skip 'root may write everywhere', 5 if $> == 0;
	set_workers(3);
	$node->hit('s');
	chmod 0500, $node->data_dir . '/pg_stat_tmp' or die;
	(undef, undef, $err) = $node->psql('postgres', q{SELECT summary_cache_invalidate('s')});
	like($err, qr/WARNING:  could not remove file/, 'a file that cannot be removed is reported to who invalidates');
	cannot_save('a directory that is read-only', qr/could not write file/);
	chmod 0700, $node->data_dir . '/pg_stat_tmp' or die;
	$node->set_server('summary_cache.save_interval', 0);
}

#
# A base backup is without it; a standby has its own
#
set_workers(3);
$node->sql('UPDATE t SET n = n');
$node->hit('s');
ok(save(), 'the file is there');
$node->backup('backup');
my $standby = Node->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
ok(!-e $standby->data_dir . "/$file", 'a base backup is without the file');
$standby->start;
$node->wait_for_catchup($standby);
$standby->hit('s');
$standby->stop('fast');
$node->sql('UPDATE t SET n = 3');
$standby->append_conf('postgresql.auto.conf', 'summary_cache.max_workers = 0');
$standby->start;
$node->wait_for_catchup($standby);
my $old = $standby->sql(fetch('s'));
like($old, qr/^stale $truth$/, 'a standby has loaded its own documents');
$standby->promote;
is($standby->sql(fetch('s')), $old, '... which are stale after a promotion as well');
is($standby->sql('INSERT INTO t VALUES (1); ' . fetch('s')), 'private ' . ($node->sql('SELECT sum(n) FROM t') + 1),
	'... but not for a session that has written');
$standby->stop;

#
# Switched off
#
restarted('fast', sub { $node->append_conf('postgresql.conf', 'summary_cache.save = off') });
ok(!-e $path, 'switched off, it removes the file');
is($node->sql(state_of('s')), 'empty', '... and loads nothing');
$node->hit('s');
restarted('fast');
ok(!-e $path, '... and writes none');
$node->append_conf('postgresql.conf', "summary_cache.save = on\nshared_preload_libraries = ''");
$node->restart;
copy("$path.good", $path) or die;
$node->sql(q{SELECT summary_cache_invalidate('s')});
ok(!-e $path, 'without the preload, an invalidation removes it as well');

$node->stop;
done_testing();
