# Proves that the encoded forms of a document are its bytes, made beside it by workers that nobody waits for, and go with it.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Compress::Zlib ();
use IPC::Run ();
use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $node = Node->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', q{
	restart_after_crash = on
	autovacuum = off
	track_commit_timestamp = on
	summary_cache.max_stale_age = -1
	summary_cache.refresh_rest = 0
	summary_cache.memory_limit = 16MB
});
$node->append_conf('postgresql.conf', slurp_file($ENV{SC_DEBUG_CONF})) if $ENV{SC_DEBUG_CONF};
$node->start;

# zstd is what the build found; without its program nothing of it can be decoded here.
$node->sql(q{CREATE EXTENSION summary_cache; CREATE TABLE t (n int, more text);
	INSERT INTO t SELECT 0, string_agg(md5(g::text), ' ') FROM generate_series(1, 500) g;
	SELECT summary_cache_define('s', 'core', 'SELECT n, more, repeat(''ä€'', 20000) AS long FROM t')});
my ($code, undef, $refused) = $node->psql('postgres', q{SELECT summary_cache_configure('s', 'encodings', 'zstd')});
my $has_zstd = $code == 0 && IPC::Run::run([ 'sh', '-c', 'command -v zstd' ], '>', \my $found);
my @encodings = ('gzip', $has_zstd ? 'zstd' : ());
note "without zstd: $refused" unless $has_zstd;
my $all = join ', ', @encodings;

sub decoded
{
	my ($encoding, $hex) = @_;
	my $bytes = pack 'H*', $hex;
	my $plain;

	return $bytes if $encoding eq '';
	return Compress::Zlib::memGunzip($bytes) if $encoding eq 'gzip';
	IPC::Run::run([ 'zstd', '-dcq' ], '<', \$bytes, '>', \$plain) or return 'no zstd';
	return $plain;
}

# What a call of the function gives: its row, with the body decoded.
sub encoded
{
	my ($arguments, $server, %more) = @_;
	my %row;
	my $sql = qq{SELECT status, etag, coalesce(encoding, ''), extract(epoch FROM built_at), extract(epoch FROM stale_since),
		CASE WHEN body IS NULL THEN 'none' ELSE encode(body, 'hex') END FROM summary_cache_fetch_encoded($arguments)};

	$sql = "$more{before}; $sql; $more{after}" if $more{before};
	my $answer = $more{session} ? $more{session}->query($sql) : ($server || $node)->sql($sql, $more{db});
	@row{qw(status etag encoding built_at stale_since body)} = split /\|/, (grep { /\|/ } split /\n/, $answer)[0], -1;
	$row{bytes} = length($row{body}) / 2;
	$row{text} = $row{body} eq 'none' ? undef : decoded($row{encoding}, $row{body});
	return \%row;
}

# That of the plain document, in UTF-8.
sub plain
{
	my ($summary, $server, $session) = @_;
	my $sql = "SELECT encode(convert_to(document::text, 'UTF8'), 'hex') FROM summary_cache_fetch('$summary')";

	return pack 'H*', $session ? $session->query($sql) : ($server || $node)->sql($sql);
}

# They are long.
sub is_text
{
	my ($got, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok($got eq $expected, $name) || note('got: ' . substr($got, 0, 100) . ', expected: ' . substr($expected, 0, 100));
}

sub plain_etag { return $node->sql("SELECT etag FROM summary_cache_fetch('$_[0]')") }

# Waits until there is a form of the current document.
sub formed
{
	my ($summary, $encoding, $server) = @_;
	my $got;

	wait_until(sub { $got = encoded("'$summary', '$encoding'", $server); $got->{status} eq 'hit-revision' && $got->{encoding} eq $encoding })
	  or note "summary $summary: $got->{status}, $got->{encoding}";
	return $got;
}

my $stats = sub { my ($columns, $summary) = @_; return $node->sql("SELECT $columns FROM summary_cache_stats WHERE summary = '" . ($summary // 's') . "'") };

#
# None unless somebody wants them
#
$node->sql(q{SELECT summary_cache_configure('s', 'encodings', NULL)});
$node->hit('s');
my $answer = encoded(q{'s', 'gzip, zstd'});
is("$answer->{status} $answer->{encoding}", 'hit-revision ', 'without the option there is the document alone');
is_text($answer->{text}, plain('s'), '... its bytes');
is($answer->{etag}, plain_etag('s'), '... and its etag');
is($answer->{stale_since}, '', '... not stale');

#
# The first reader gets the document, and those after it a form
#
$node->sql(qq{SELECT summary_cache_configure('s', 'encodings', '$all')});
$node->hit('s');
my $length = length plain('s');
for my $encoding (@encodings)
{
	$answer = formed('s', $encoding);
	is($answer->{encoding}, $encoding, "there is a form: $encoding");
	is_text($answer->{text}, plain('s'), '... of the document');
	is($answer->{etag}, plain_etag('s') . "-$encoding", '... with an etag of its own');
	cmp_ok($answer->{bytes} * 2, '<', $length, '... smaller');
}
is(encoded(qq{'s', '$_'})->{encoding}, $encodings[-1], "of '$_' the first is taken") for join ', ', reverse @encodings;
is(encoded(qq{'s', '$_'})->{encoding}, '', "'$_' is the document") for '', 'identity', ' identity , ';
is(encoded(q{'s', NULL})->{encoding}, '', 'so is NULL');
is($stats->('forms_made, forms_failed, forms_not_kept'), scalar(@encodings) . '|0|0', 'each was made once');
cmp_ok($stats->('form_bytes'), '>', 1000, '... and takes room');
is($node->psql('postgres', q{SELECT summary_cache_fetch_encoded('s', 'br')}), 3, 'an unknown encoding is an error');

# Each etag is known as what it is
my $etag = plain_etag('s');
for my $case (
	[ $etag, '' ], [ "$etag-gzip", 'gzip' ], [ '*', '' ], [ "x, $etag-gzip", 'gzip' ], [ "$etag,$etag-gzip", 'gzip' ],
	$has_zstd ? [ "$etag-zstd", 'zstd' ] : ())
{
	my ($known, $encoding) = @$case;
	my $same = encoded("'s', 'gzip, zstd', '$known'");
	is("$same->{body} $same->{encoding} $same->{etag}", "none $encoding $etag" . ($encoding && "-$encoding"), "$known is known");
}
for my $known ('', 'x', "$etag-", "$etag-gzi", "$etag-gzipp", "$etag-br", "\U$etag\E", substr($etag, 1), "$etag-gzip-gzip", "W/$etag")
{
	isnt(encoded("'s', 'gzip, zstd', '$known'")->{body}, 'none', "'$known' is not");
}
isnt(encoded(qq{'s', '', '$etag-gzip'})->{body}, 'none', 'nor is that of a form that is not asked for');
is($node->sql(qq{SELECT document IS NULL FROM summary_cache_fetch('s', '$etag-gzip')}), 'f', 'a form\'s etag is none of the document\'s');

#
# A change: the old form, then the new one, and never another content under an etag
#
for my $n (1 .. 3)
{
	$node->no_worker;
	$node->sql("UPDATE t SET n = $n");
	my $committed = $node->sql('SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin)) FROM t');
	my $before = $answer->{etag};
	$answer = encoded(q{'s', 'gzip'});
	is("$answer->{status} $answer->{encoding} $answer->{etag}", "stale gzip $etag-gzip", 'after a change: the form that there was');
	like($answer->{text}, qr/"n":@{[ $n - 1 ]}\b/, '... as it was');
	cmp_ok(abs($answer->{stale_since} - $committed), '<=', 0.001, '... stale since the commit');
	$answer = formed('s', 'gzip');
	like($answer->{text}, qr/"n":$n\b/, '... then the new one');
	is_text($answer->{text}, plain('s'), '... which is the document');
	isnt($answer->{etag}, "$etag-gzip", '... with another etag');
	$etag = plain_etag('s');
}

# The first change is what counts, also if nothing is published after it
$node->no_worker;
$node->sql('UPDATE t SET n = 4');
my $first = $node->sql('SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin)) FROM t');
$node->sql('SELECT pg_sleep(0.005)');	# times are kept in milliseconds
$node->sql('UPDATE t SET n = 5');
$answer = encoded(q{'s', 'gzip'});
is($answer->{status}, 'stale', 'after two changes: stale');
cmp_ok(abs($answer->{stale_since} - $first), '<=', 0.001, '... since the first');
like(formed('s', 'gzip')->{text}, qr/"n":5\b/, '... then with both');
$etag = plain_etag('s');

# ... or another section of the summary is published in between
$node->sql(q{CREATE TABLE e (n int); SELECT summary_cache_define('two', 'core',
	'SELECT count(*) AS a, pg_advisory_xact_lock_shared(42)::text AS gate FROM e');
	SELECT summary_cache_define('two', 'progress', 'SELECT count(*) AS b FROM e', refresh => 'inline');
	SELECT summary_cache_configure('two', 'encodings', 'gzip')});
$node->hit('two');
my $holder = Session->new($node);
$holder->query('SELECT pg_advisory_lock(42)');
for my $n (1 .. 3)
{
	$node->sql("INSERT INTO e VALUES ($n)");
	my $got = encoded(q{'two', 'gzip'});
	my $committed = $node->sql('SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin)) FROM e WHERE n = 1');
	like($got->{text}, qr/"a":0,.*"b":$n\b/, "change $n is in one section, and not in the other");
	is($got->{status}, 'stale', '... so it is stale');
	cmp_ok(abs($got->{stale_since} - $committed), '<=', 0.001, '... since the first change');
}
# The time of a change is kept until eight documents were published after it
for my $n (4 .. 12)
{
	$node->sql("INSERT INTO e VALUES ($n)");
	$answer = encoded(q{'two', 'gzip'});
}
like($answer->{text}, qr/"a":0,.*"b":12\b/, 'after many versions of one section');
is("$answer->{status} $answer->{stale_since}", "stale $answer->{built_at}", '... the other is stale since it was built');
$holder->query('SELECT pg_advisory_unlock(42)');
$node->hit('two');
is(encoded(q{'two'})->{stale_since}, '', 'then it is not stale');
$node->sql('BEGIN; INSERT INTO e VALUES (9); ROLLBACK');
is(encoded(q{'two'})->{stale_since}, '', 'a rollback changes nothing');

#
# A session keeps the row of a hit, by the rules of documents
#
{
	my $session = Session->new($node);
	my $read = sub { return encoded($_[0], undef, session => $session) };
	my $used = sub { return $session->query(q{SELECT sum(used_bytes) FROM pg_backend_memory_contexts WHERE name = 'TopMemoryContext'}) };
	my $form = formed('s', 'gzip');

	$session->query('SET summary_cache.local_memory_limit = 0');
	$read->(q{'s', 'gzip'}) for 1 .. 3;
	my $without = $used->();
	is($read->(q{'s', 'gzip'})->{encoding}, 'gzip', 'a session without memory for copies: a form');
	cmp_ok($used->() - $without, '<', $form->{bytes} / 2, '... which is not kept');
	$session->query('RESET summary_cache.local_memory_limit');
	is_deeply($read->(q{'s', 'gzip'}), $form, 'with: the same, which others have');
	cmp_ok($used->() - $without, '>', $form->{bytes} / 2, '... and it is kept');
	is_deeply($read->(q{'s', 'gzip'}), $form, '... and answers again');
	for my $n (51 .. 53)
	{
		$node->no_worker;
		$node->sql("UPDATE t SET n = $n");
		my $got = $read->(q{'s', 'gzip'});
		is("$got->{status} $got->{etag}", "stale $form->{etag}", '... after a change as stale');
		$form = formed('s', 'gzip');
		like($form->{text}, qr/"n":$n\b/, '... then there is a new one');
		is_deeply($read->(q{'s', 'gzip'}), $form, "... which the session has, too: $_") for 1 .. 2;
	}
	for my $asked ('gzip', '', reverse(@encodings), join(', ', @encodings), 'gzip', join(', ', reverse @encodings), '')
	{
		my ($first) = split /, /, $asked;
		is($read->("'s', '$asked'")->{encoding}, $first // '', "of '$asked' it has the first") for 1 .. 2;
	}

	# A pointer to it may live as long as a procedure that commits
	$node->sql(q{CREATE PROCEDURE hold(body bytea, hash text, INOUT seen text = '') LANGUAGE plpgsql AS $$
		DECLARE
			answer record;
		BEGIN
			FOR i IN 1 .. 3 LOOP
				UPDATE t SET n = n + 1;
				COMMIT;
				FOR wait IN 1 .. 3000 LOOP
					SELECT * INTO answer FROM summary_cache_fetch_encoded('s', 'gzip');
					COMMIT;
					EXIT WHEN answer.status = 'hit-revision' AND answer.encoding = 'gzip' AND md5(answer.body) <> hash;
					PERFORM pg_sleep(0.01);
				END LOOP;
				PERFORM repeat('y', 20000 * i);
				seen := seen || (answer.encoding = 'gzip' AND md5(answer.body) <> hash)::text || ' ' || (md5(body) = hash)::text || ' ';
			END LOOP;
		END $$});
	$read->(q{'s', 'gzip'}) for 1 .. 2;
	is($session->query(q{CALL hold((summary_cache_fetch_encoded('s', 'gzip')).body, md5((summary_cache_fetch_encoded('s', 'gzip')).body))}), 'true true ' x 3,
		'what a procedure was given stays, while the session has new ones');
	is_deeply($read->(q{'s', 'gzip'}), formed('s', 'gzip'), '... and goes with it');

	$session->quit;

	# Another extension is another type
	$node->sql('CREATE DATABASE again');
	$session = Session->new($node, 'again');
	for my $n (1, 2)
	{
		$node->sql(qq{DROP EXTENSION IF EXISTS summary_cache; CREATE EXTENSION summary_cache;
			SELECT summary_cache_define('again', 'core', 'SELECT $n AS n, repeat(''x'', 20000) AS x');
			SELECT summary_cache_configure('again', 'encodings', 'gzip')}, 'again');
		ok(wait_until(sub { my $got = $read->(q{'again', 'gzip'}); $got->{encoding} eq 'gzip' && $got->{text} =~ /"n":$n\b/ }), "extension $n: a form");
		like($read->(q{'again', 'gzip'})->{text}, qr/"n":$n\b/, '... again');
	}
	$session->quit;
}
$etag = plain_etag('s');

#
# Private and built answers have the document
#
$answer = encoded(q{'s', 'gzip'}, undef, before => 'BEGIN ISOLATION LEVEL SERIALIZABLE', after => 'COMMIT');
is("$answer->{status} $answer->{encoding} $answer->{etag}", "private  $etag", 'private: the document, with its etag');
is_text($answer->{text}, plain('s'), '... and its bytes');
$answer = encoded(q{'s', 'gzip'}, undef, before => 'BEGIN; UPDATE t SET n = 77', after => 'ROLLBACK');
like($answer->{text}, qr/"n":77\b/, 'with own changes: what they give');
is($answer->{encoding}, '', '... not encoded');
$node->sql(q{SELECT summary_cache_invalidate('s')});
is($stats->('form_bytes'), '0', 'an invalidation gives the forms back');
$answer = encoded(q{'s', 'gzip'});
like("$answer->{status} $answer->{encoding}", qr/^miss (gzip)?$/, 'a miss: the document, unless the worker was faster');
is_text(formed('s', 'gzip')->{text}, plain('s'), '... then the form again');
is(encoded(q{'s', 'gzip', NULL, true})->{status}, 'miss', 'forced');
is(formed('s', 'gzip')->{encoding}, 'gzip', '... of the same bytes, so of the same form');

#
# Every document of document.sql
#
$node->sql('CREATE DATABASE documents');
{
	my $script = slurp_file("$FindBin::RealBin/../sql/document.sql") =~ s/^DROP EXTENSION.*//msr;
	my @pieces = split /^(?=UPDATE |INSERT |SELECT summary_cache_define)/m, $script;
	my ($in, $out, $mark) = ('', '', 0);
	my $psql = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('documents') ], '<', \$in, '>', \$out, '2>', \my $err,
		my $timer = IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	my $looks = Session->new($node, 'documents');
	my ($compared, @wrong, %last) = (0);

	for my $piece (@pieces)
	{
		$mark++;
		$in .= "$piece\n\\echo mark $mark.\n";
		$psql->pump until $out =~ /^mark $mark\.$/m;
		$timer->reset;
		next if $looks->query("SELECT count(*) FROM pg_extension WHERE extname = 'summary_cache'") == 0;
		for my $summary (split /\n/, $looks->query('SELECT summary FROM summary_cache_stats'))
		{
			next if $summary eq 'fails';
			$looks->query("SELECT summary_cache_configure('$summary', 'encodings', '$all')") unless $last{$summary};
			wait_until(sub { $looks->query("SELECT status FROM summary_cache_fetch('$summary')") eq 'hit-revision' });
			my $plain = plain($summary, undef, $looks);
			next if ($last{$summary} // '') eq $plain;
			$last{$summary} = $plain;
			for my $encoding (@encodings)
			{
				my $got;
				wait_until(sub { $got = encoded("'$summary', '$encoding'", undef, session => $looks); $got->{encoding} eq $encoding || length $plain < 200 });
				$compared++ if $got->{encoding};
				push @wrong, "$summary $encoding" if $got->{text} ne $plain || ($got->{encoding} eq '' && length $plain >= 200);
			}
		}
	}
	$in .= "\\q\n";
	$psql->finish;
	$looks->quit;
	is_deeply(\@wrong, [], 'each document of document.sql is its forms');
	cmp_ok($compared, '>=', 20, "... of which there were $compared");
}

# In another encoding of the database, forms are UTF-8 all the same
$node->sql(q{CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0});
$node->sql(q{CREATE EXTENSION summary_cache;
	SELECT summary_cache_define('s', 'core', 'SELECT repeat(chr(228), 1000) AS a');
	SELECT summary_cache_configure('s', 'encodings', 'gzip')}, 'latin');
$node->hit('s', 'latin');
is_text(encoded(q{'s', ''}, undef, db => 'latin')->{text}, '{"a":"' . "\xc3\xa4" x 1000 . '"}', 'in LATIN1 the bytes are UTF-8');
ok(wait_until(sub { encoded(q{'s'}, undef, db => 'latin')->{encoding} eq 'gzip' }), '... encoded');
is_text(encoded(q{'s'}, undef, db => 'latin')->{text}, '{"a":"' . "\xc3\xa4" x 1000 . '"}', '... as well');

# What would be no smaller is not encoded, and is not tried again
$node->sql(q{SELECT summary_cache_define('small', 'core', 'SELECT 1 AS a'); SELECT summary_cache_configure('small', 'encodings', 'gzip')});
$node->hit('small');
encoded(q{'small'});
$node->polled(q{SELECT forms_made FROM summary_cache_stats WHERE summary = 'small'}, '1', 'of a small document it is found out');
is(encoded(q{'small'})->{encoding}, '', '... that it stays as it is') for 1 .. 5;
$node->no_worker;
is($stats->('forms_made', 'small'), '1', '... once');

#
# Rights are those to the document
#
$node->sql(q{CREATE ROLE regress_web LOGIN; CREATE ROLE regress_other LOGIN});
sub as { my ($role, $sql) = @_; return join ' ', ($node->psql('postgres', $sql, extra_params => [ '-U', $role ]))[0, 2]; }
my $read = q{SELECT length(body) > 0 FROM summary_cache_fetch_encoded('s', 'gzip')};
like(as('regress_web', $read), qr/^3 .*permission denied for function summary_cache_fetch_encoded/, 'without EXECUTE it is refused');
$node->sql(q{GRANT EXECUTE ON FUNCTION summary_cache_fetch_encoded TO regress_web, regress_other;
	SELECT summary_cache_configure('s', 'readers', 'regress_web')});
formed('s', 'gzip');
is(as('regress_web', $read), '0 ', 'a reader reads');
like(as('regress_other', $read), qr/^3 .*summary "s" is not defined/, '... and nobody else');
like(as('regress_other', q{SELECT summary_cache_fetch_encoded('s', 'gzip', '*')}), qr/^3 .*is not defined/, '... not whether it is known either');
$node->sql(q{SELECT summary_cache_configure('s', 'readers', NULL)});
formed('s', 'gzip');

# Without the option they go
$node->sql(q{SELECT summary_cache_configure('s', 'encodings', NULL)});
$node->hit('s');
is($stats->('form_bytes'), '0', 'when the option goes, the forms go');
$node->sql(qq{SELECT summary_cache_configure('s', 'encodings', '$all')});
$node->hit('s');
formed('s', 'gzip');

#
# Room
#
$node->sql(q{SELECT summary_cache_configure('s', 'memory_limit', '} . (int($length / 1024) + 3) . q{kB')});
$node->sql('UPDATE t SET n = 100');
$node->hit('s');
encoded(q{'s', 'gzip'});
ok($node->poll(q{SELECT forms_not_kept > 0 FROM summary_cache_stats WHERE summary = 's'}), 'beyond the summary\'s own limit no form is kept');
is(encoded(q{'s', 'gzip'})->{status}, 'hit-revision', '... but the document is');
$node->sql(q{SELECT summary_cache_configure('s', 'memory_limit', NULL)});
$node->sql('UPDATE t SET n = 101');
ok(wait_until(sub { encoded(q{'s', 'gzip'})->{encoding} eq 'gzip' }), 'within it, it is');

# Many versions, of which each gives the room of the one before back
$node->sql(q{CREATE TABLE big (n int, t text); INSERT INTO big SELECT 0, string_agg(md5(g::text), '') FROM generate_series(1, 100000) g;
	SELECT summary_cache_define('big', 'core', 'SELECT * FROM big'); SELECT summary_cache_configure('big', 'encodings', 'gzip:1')});
my @lengths;
for my $n (1 .. 8)
{
	$node->sql("UPDATE big SET n = $n");
	push @lengths, formed('big', 'gzip')->{text} =~ /"n":$n\b/ ? 1 : 0;
}
is("@lengths", "@{[ (1) x 8 ]}", 'in 16 MB there is room for one form of 2 MB at a time, again and again');

# Documents push forms out, and take no harm from them
for my $i (1 .. 3)
{
	$node->sql(qq{SELECT summary_cache_define('fill$i', 'core', 'SELECT n, t AS f$i FROM big')});
	$node->hit("fill$i");
	$node->sql(qq{SELECT summary_cache_get('fill$_')}) for 1 .. $i;
}
my ($bytes, $forms) = split /\|/, $stats->('bytes, form_bytes', 'big');
ok($bytes > 0 || $forms == 0, 'a document that gives way takes its form along');
$node->sql(q{SELECT summary_cache_drop(summary) FROM unnest('{fill1,fill2,fill3}'::name[]) summary});
$node->hit('big');
is(formed('big', 'gzip')->{encoding}, 'gzip', '... and both come back');

# A form pushes out nobody who is read.  On a server of its own, where a large document and ten small ones have
# room, but not its form as well.
{
	my $room = Node->new('room');
	$room->init;
	$room->append_conf('postgresql.conf', "autovacuum = off\nsummary_cache.memory_limit = 13MB\nsummary_cache.max_stale_age = -1\nsummary_cache.max_workers = 1");
	$room->start;
	my $evicted = q{SELECT sum(evictions) FROM summary_cache_stats};
	my $reads = join '; ', map { "SELECT length(summary_cache_get('small$_')::text)" } 1 .. 10;
	my $tried = q{SELECT forms_made, forms_not_kept > 0 FROM summary_cache_stats WHERE summary = 'noise'};
	$room->sql(q{CREATE EXTENSION summary_cache;
		CREATE TABLE small (t text); INSERT INTO small VALUES (repeat('y', 100000));
		CREATE TABLE noise (t text); INSERT INTO noise VALUES (repeat('x', 1000));
		SELECT summary_cache_define('noise', 'core', 'SELECT t FROM noise');
		SELECT summary_cache_configure('noise', 'encodings', 'gzip:1');
		SELECT summary_cache_define('small' || g, 'core', 'SELECT t FROM small') FROM generate_series(1, 10) g});
	$room->hit("small$_") for 1 .. 10;
	ok(wait_until(sub { encoded(q{'noise', 'gzip'}, $room)->{encoding} eq 'gzip' }), 'a small form is there');
	my $reader = Session->new($room);
	$reader->query($reads);
	$room->sql(q{UPDATE noise SET t = (SELECT translate(encode(string_agg(sha256((g || 'x')::bytea), ''), 'base64'), E'\n', '') FROM generate_series(1, 173500) g)});
	my $got;
	wait_until(sub { $reader->query($reads); $got = encoded(q{'noise', 'gzip'}, $room); $room->sql($tried) eq '1|t' });
	is($room->sql($tried), '1|t', 'for a large one there is no room');
	is($room->sql($evicted), '0', '... and nobody gives way who is read');
	is_text($got->{text}, plain('noise', $room), '... so the document is answered');
	$reader->quit;
	$room->stop;
}

#
# Listeners are notified when there is something to read
#
{
	my $listener = Session->new($node);
	$listener->query('LISTEN summary_cache');
	$node->sql(q{SELECT summary_cache_configure('s', 'eager_refresh', 'on')});
	formed('s', 'gzip');
	$node->no_worker;
	$listener->query('SELECT 1');
	$node->sql('UPDATE t SET n = 500');
	ok(wait_until(sub { $listener->query('SELECT 1') =~ /Asynchronous notification .*"summary":"s"/ }), 'a notification');
	$answer = encoded(q{'s', 'gzip'});
	is("$answer->{status} $answer->{encoding}", 'hit-revision gzip', '... comes when the form is there');
	like($answer->{text}, qr/"n":500\b/, '... of what it is about');
	$node->sql(q{SELECT summary_cache_configure('s', 'eager_refresh', NULL)});
	$listener->query('UNLISTEN *');
	$listener->quit;
	formed('s', 'gzip');
}

SKIP:
{
	skip 'needs a debug build', 31 + ($has_zstd ? 7 : 0) unless $ENV{SC_DEBUG_CONF};
	my $at_point = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'summary_cache worker' AND wait_event = 'PgSleep'};
	my $worker = q{(SELECT pid FROM pg_stat_activity WHERE backend_type = 'summary_cache worker' AND wait_event = 'PgSleep')};
	my $n = 1000;

	# A worker stays where it begins to encode; the next ones do not.
	my $hold = sub {
		my ($point) = @_;
		$node->no_worker;
		$node->sql($_) for "ALTER SYSTEM SET summary_cache.debug_point = '$point'";
		$node->set_server('summary_cache.debug_sleep', '2000000000');
		$n++;
		$node->sql("UPDATE t SET n = $n");
		encoded(q{'s', 'gzip'});
		$node->polled($at_point, '1', "a worker is at $point");
		$node->sql($_) for 'ALTER SYSTEM RESET summary_cache.debug_point';
		$node->set_server('summary_cache.debug_sleep', undef, '0');
	};
	# However often it comes to the point: for each encoding.
	my $go_on = sub {
		ok(wait_until(sub { $node->sql("SELECT pg_log_backend_memory_contexts(pid) FROM $worker w(pid)"); $node->sql($at_point) eq '0' }), 'it goes on');
	};

	# Nobody waits for it
	$hold->('form-encode');
	my $got = encoded(q{'s', 'gzip'});
	is("$got->{status} $got->{encoding}", 'hit-revision ', 'meanwhile the document is published, and answered as it is');
	like($got->{text}, qr/"n":$n\b/, '... with the change');
	$n++;
	$node->sql("UPDATE t SET n = $n");
	ok(wait_until(sub { encoded(q{'s', 'gzip'})->{text} =~ /"n":$n\b/ }), '... and is refreshed, by another worker');
	is($node->sql(forced('s')), $n, '... a reader who wants a new one has it');
	ok(wait_until(sub { my $f = encoded(q{'s', 'gzip'}); $f->{encoding} eq 'gzip' && $f->{text} =~ /"n":$n\b/ }), '... and encoded');
	my $made = $stats->('form_bytes');
	$go_on->();
	$node->no_worker;
	$got = encoded(q{'s', 'gzip'});
	is("$got->{status} $got->{encoding} $got->{etag}", 'hit-revision gzip ' . plain_etag('s') . '-gzip', 'a form that comes too late is not kept');
	is_text($got->{text}, plain('s'), '... what there is, is the document');
	is($stats->('form_bytes'), $made, '... in the same room');

	# The first is there before the second.  Who would rather have the second has it as soon as it is there.
	if ($has_zstd)
	{
		my $session = Session->new($node);
		my $read = sub { return encoded(q{'s', 'zstd, gzip'}, undef, session => $session) };
		$node->sql(qq{SELECT summary_cache_configure('s', 'encodings', '$all')});
		formed('s', 'zstd');
		$hold->('form-encode');
		$node->sql("SELECT pg_log_backend_memory_contexts(pid) FROM $worker w(pid)");
		ok(wait_until(sub { $read->()->{encoding} eq 'gzip' }), 'a session has the second best') for 1 .. 2;
		$go_on->();
		is_text(formed('s', 'zstd')->{text}, plain('s'), '... until the best is there');
		is($read->()->{encoding}, 'zstd', '... which it then has');
		$node->sql(q{SELECT summary_cache_configure('s', 'encodings', 'gzip')});
		formed('s', 'gzip');
		$session->quit;
	}

	# It may be terminated there
	$hold->('form-encode');
	$node->sql("SELECT pg_terminate_backend(pid) FROM $worker w(pid)");
	$go_on->();
	like(formed('s', 'gzip')->{text}, qr/"n":$n\b/, 'a worker is terminated while it encodes: the next reader\'s request is carried out by another');
	$hold->('form-made');
	$node->sql("SELECT pg_cancel_backend(pid) FROM $worker w(pid)");
	$go_on->();
	like(formed('s', 'gzip')->{text}, qr/"n":$n\b/, 'a worker is cancelled while it encodes: the next reader asks again');

	# Or killed
	$hold->('form-encode');
	kill 'KILL', $node->sql("SELECT pid FROM $worker w(pid)");
	ok($node->comes_back, 'a worker is killed while it encodes');
	like(formed('s', 'gzip')->{text}, qr/"n":$n\b/, '... and after the crash it is encoded');

	# Nobody is notified before
	my $listener = Session->new($node);
	my $notified = sub { return $listener->query('SELECT 1') =~ /Asynchronous notification .*"summary":"s"/ };
	$listener->query('LISTEN summary_cache');
	$node->no_worker;
	$listener->query('SELECT 1');
	$hold->('form-encode');
	$node->sql('INSERT INTO e VALUES (13)');
	$node->hit('two');
	ok(!$notified->(), 'while a form is made, no listener is notified, nor by another worker');
	$go_on->();
	ok(wait_until($notified), '... and when it is there, it is');
	formed('s', 'gzip');
	$node->no_worker;
	$listener->query('SELECT 1');
	$hold->('form-encode');
	$node->sql("SELECT pg_terminate_backend(pid) FROM $worker w(pid)");
	$go_on->();
	ok(wait_until($notified), '... or by the next worker, if this one is terminated');
	$listener->query('UNLISTEN *');
	$listener->quit;
	formed('s', 'gzip');

	# What goes wrong is counted
	$node->no_worker;
	my $before = $stats->('forms_failed');
	$node->set_server('summary_cache.debug_fail', 'form');
	$n++;
	$node->sql("UPDATE t SET n = $n");
	encoded(q{'s', 'gzip'});
	$node->polled(q{SELECT forms_failed > } . $before . q{ FROM summary_cache_stats WHERE summary = 's'}, 't', 'a failure is counted');
	$got = encoded(q{'s', 'gzip'});
	is("$got->{status} $got->{encoding}", 'hit-revision ', '... and the document answered');
	is($stats->('builds_failed, last_error IS NULL'), '0|t', '... which has not failed');
	encoded(q{'s', 'gzip'}) for 1 .. 5;
	$node->no_worker;
	is($stats->('forms_failed'), $before + 1, '... and it is not tried all the time');
	$node->set_server('summary_cache.debug_fail', undef, '');
	$node->sql(q{SELECT summary_cache_drop('s'); SELECT summary_cache_define('s', 'core', 'SELECT n, more, repeat(''ä€'', 20000) AS long FROM t');
		SELECT summary_cache_configure('s', 'encodings', 'gzip')});
}

#
# Restart, standby, promotion
#
$node->hit('s');
formed('s', 'gzip');
$node->restart;
$answer = encoded(q{'s', 'gzip'});
is_text($answer->{text}, plain('s'), 'after a restart the document is answered');
is($answer->{stale_since}, $answer->{built_at}, '... as stale since it was built') if $answer->{status} eq 'stale';
is_text(formed('s', 'gzip')->{text}, plain('s'), '... and its form is made again');
$node->backup('backup');
my $standby = Node->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
is_text(formed('s', 'gzip', $standby)->{text}, plain('s'), 'a standby makes its own');
$node->sql('UPDATE t SET n = 4711');
my $committed = $node->sql('SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin)) FROM t');
$node->wait_for_catchup($standby);
$answer = encoded(q{'s', 'gzip'}, $standby);
SKIP:
{
	skip 'its worker was faster', 1 if $answer->{status} ne 'stale';
	cmp_ok(abs($answer->{stale_since} - $committed), '<=', 0.001, '... and knows since when it is stale');
}
like(formed('s', 'gzip', $standby)->{text}, qr/"n":4711\b/, '... follows');
$standby->promote;
is_text(formed('s', 'gzip', $standby)->{text}, plain('s', $standby), '... and has it after its promotion');

$standby->stop;
$node->stop;
done_testing();
