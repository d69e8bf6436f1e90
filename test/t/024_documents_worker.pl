# Proves that the worker builds documents with their values: those of users' code, also when it is killed, ends too late or finds other parameters; and that over a restart documents keep their values, whatever became of the file, the definition or a type.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $node = Node->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
	autovacuum = off
	restart_after_crash = on
	summary_cache.save_interval = 0
	summary_cache.max_stale_age = -1
	summary_cache.worker_idle_timeout = 1h
});
$node->start;
# Code of the owner's is run by a worker only.  A build of document k waits while somebody holds advisory lock 100 + k.
$node->sql(q{
	SET client_min_messages = warning;
	CREATE EXTENSION summary_cache;
	CREATE TYPE mood AS ENUM ('sad', 'happy');
	CREATE TABLE t (k int, n int);
	INSERT INTO t SELECT k, 10 * k FROM generate_series(1, 20) k;
	CREATE FUNCTION number(k int) RETURNS bigint LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM pg_advisory_xact_lock_shared(100 + k);
		RETURN (SELECT sum(n) FROM t WHERE t.k = number.k);
	END $$;
	CREATE FUNCTION kinds(VARIADIC "values" text[]) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN array_to_string("values", ''|'', ''none''); END';
	SELECT summary_cache_define('s', 'main', 'SELECT number($1) AS n, $1 AS k', '{t}', parameters => '{k int}');
	SELECT summary_cache_define('kinds', 'main', 'SELECT kinds($1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text, $9::text, $10::text, $11::text, $12::text, $13::text, $14::text) AS n', '{t}',
		parameters => '{a int, b text, c numeric, d uuid, e bytea null, f date, g timestamptz, h interval, i mood, j bool, k inet, "l \"char\"", m jsonb, n bpchar}')});

sub document
{
	my ($summary, $value) = @_;
	return qq{SELECT status || ' ' || (document->>'n') FROM summary_cache_fetch('$summary', parameters => '{$value}')};
}
sub documents { return $node->sql(join ';', map { document('s', $_) } @_) }
sub state_of_document
{
	my ($summary, $value) = @_;
	return qq{SELECT state FROM summary_cache_documents WHERE summary = '$summary' AND parameters = '{$value}'};
}
sub worker { return $node->sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'summary_cache worker' LIMIT 1}) }

my ($holder, $reader, $second) = map { Session->new($node) } 1 .. 3;
sub close_gate { $holder->query("SELECT pg_advisory_lock(100 + $_)") for @_; return; }
sub open_gate { $holder->query("SELECT pg_advisory_unlock(100 + $_)") for @_; return; }

#
# The right values
#
is(documents(1, 2, 3), "miss 10\nmiss 20\nmiss 30", 'documents of the owner\'s code');
is(documents(1, 2, 3), "hit-revision 10\nhit-revision 20\nhit-revision 30", '... which are kept');
my $kinds = q{ARRAY['-1', E'a"b\\\\c', '1.50', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', NULL, '2026-02-01', '2026-01-01 12:00+02', '1 day 2 hours', 'happy', 'on', '10.0.0.1/8', 'x', '{"b": 1, "a": [null]}', 'ab ']};
my $answer = qq{SELECT document->>'n' FROM summary_cache_fetch('kinds', parameters => $kinds)};
my $expected = '-1|a"b\c|1.50|a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11|none|2026-02-01|2026-01-01 10:00:00+00|1 day 02:00:00|happy|true|10.0.0.1/8|x|{"a": [null], "b": 1}|ab';
is($node->sql($answer), $expected, 'values of all kinds');
is($node->sql(qq{SET DateStyle = german; SET IntervalStyle = iso_8601; SET bytea_output = escape; $answer}), $expected, '... whatever the settings of the reader');
my $empty = $kinds =~ s/NULL/'\\x00'/r;
is($node->sql($answer =~ s/\Q$kinds\E/$empty/r), $expected =~ s/none/\\x00/r, '... and one that is not null');

# two at once
$node->set_server('summary_cache.max_workers', 2);
close_gate(4, 5);
$reader->send_sql(document('s', 4));
$node->polled(at_gate(104), '1', 'a worker builds a document');
$second->send_sql(document('s', 5));
is(documents(1, 2), "hit-revision 10\nhit-revision 20", '... while the others are hits');
open_gate(5);
is($second->result, 'miss 50', '... and one that is asked for later is built beside it');
is($node->sql(at_gate(104)), '1', '... which is still being built');
open_gate(4);
is($reader->result, 'miss 40', '... and then is there');
is(documents(4, 5), "hit-revision 40\nhit-revision 50", 'both are kept, each for its values');
$node->set_server('summary_cache.max_workers', undef, '3');

#
# A worker that does not come to the end
#
for my $signal (qw(INT TERM))
{
	$node->sql(q{SELECT summary_cache_invalidate('s', parameters => '{4}')});
	close_gate(4);
	$reader->send_sql(document('s', 4));
	$node->polled(at_gate(104), '1', "SIG$signal: a worker builds");
	$second->send_sql(document('s', 5));
	is($second->result, 'hit-revision 50', '... another document is a hit');
	kill $signal, $node->sql(q{SELECT a.pid FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.objid = 104 AND NOT granted AND backend_type = 'summary_cache worker'});
	if ($signal eq 'TERM')
	{
		$node->polled(at_gate(104), '1', 'SIGTERM: another worker takes over');
		open_gate(4);
		is($reader->result, 'miss 40', '... with the same values');
	}
	else
	{
		is($reader->result . $reader->error =~ s/\n.*//sr, 'ERROR:  summary "s" could not be built: canceling statement due to user request', 'SIGINT: the reader is told');
		is($node->sql(q{SELECT parameters, consecutive_failures FROM summary_cache_documents WHERE summary = 's' AND consecutive_failures > 0}), '{4}|1', '... and the view says of which document');
		open_gate(4);
		ok(wait_until(sub { $node->sql(q{SELECT count(summary_cache_get('s', parameters => '{4}'))}) eq '1' }), '... which then is built');
	}
	is(documents(4, 5), "hit-revision 40\nhit-revision 50", '... and both are right');
}
close_gate(6);
$reader->send_sql(document('s', 6));
$node->polled(at_gate(106), '1', 'SIGKILL: a worker builds');
kill 'KILL', worker();
$reader->{psql}->pump while !eval { $reader->{err} =~ /server closed|terminating|lost/ } && $reader->{psql}->pumpable;
ok($node->comes_back, 'the server restarts');
$_->quit for $holder, $reader, $second;
($holder, $reader, $second) = map { Session->new($node) } 1 .. 3;
is(documents(6, 5), "miss 60\nmiss 50", '... and builds what is asked for');

#
# build_timeout
#
$node->sql(q{
	CREATE FUNCTION slow(k int) RETURNS int LANGUAGE plpgsql AS 'BEGIN IF k = 2 THEN PERFORM pg_sleep(600); END IF; RETURN k; END';
	SELECT summary_cache_define('slow', 'main', 'SELECT slow($1) AS n', '{}', parameters => '{k int}', run_query => false)});
$node->set_server('summary_cache.build_timeout', '300ms');
is($node->sql(document('slow', 1)), 'miss 1', 'one document is built in time');
my ($status, $out, $err) = $node->psql('postgres', document('slow', 2));
like($err, qr/ERROR:  .*(build_timeout|longer than)/s, 'another is not');
is($node->sql(document('slow', 1)), 'hit-revision 1', '... which costs the first one nothing');
is($node->sql(q{SELECT parameters, consecutive_failures > 0, last_error ~ 'took longer than' FROM summary_cache_documents WHERE summary = 'slow' ORDER BY 1}), "{1}|f|\n{2}|t|t", '... and is seen');
$node->sql(q{SELECT summary_cache_drop('slow')});
$node->set_server('summary_cache.build_timeout', undef, '5min');

#
# Other parameters, while requests wait
#
$node->set_server('summary_cache.max_workers', 1);
is(documents(1 .. 3), "miss 10\nmiss 20\nmiss 30", 'documents');
close_gate(7);
$reader->send_sql(document('s', 7));
$node->polled(at_gate(107), '1', 'a worker builds one');
$second->send_sql(document('s', 8));
$node->sql('UPDATE t SET n = n + 1');
is(documents(1 .. 3), "stale 10\nstale 20\nstale 30", 'others are to be refreshed');
$node->polled('SELECT requests_waiting >= 4 FROM summary_cache_server', 't', '... and wait for it');
$node->sql(q{SELECT summary_cache_define('s', 'main', 'SELECT number(length($1)) AS n, $1 AS k', '{t}', parameters => '{k text}')});
open_gate(7);
for my $session ($reader, $second)
{
	my $result = $session->result;
	like("$result|" . $session->error, qr/^((miss|private) \d+\||\|ERROR:  (the values are not for the parameters|summary "s" is read with|there is no value))/, 'who waits has an answer of before, or is told of the new parameters')
		or diag "$result|" . $session->error;
}
is(documents('abcde'), 'miss 51', 'the new parameters');
$node->polled('SELECT requests_waiting FROM summary_cache_server', '0', 'nothing waits');
is($node->sql(q{SELECT parameters, state FROM summary_cache_documents WHERE summary = 's'}), '{abcde}|current', 'there are documents with the new parameters only');
is($node->sql(q{SELECT documents FROM summary_cache_stats WHERE summary = 's'}), '1', '... and others take no room');
$node->sql(q{SELECT summary_cache_define('s', 'main', 'SELECT number($1) AS n, $1 AS k', '{t}', parameters => '{k int}')});
is(documents(5), 'miss 51', 'the old ones once more');
$node->set_server('summary_cache.max_workers', undef, '3');

#
# Types
#
$node->sql(q{
	SELECT summary_cache_define('m', 'main', 'SELECT $1 AS n, kinds($1::text) AS f', '{t}', parameters => '{m mood}');
	SELECT summary_cache_define('c', 'main', 'SELECT $1 AS n, (SELECT count(*) FROM t) AS c', parameters => '{m mood}')});
for my $summary (qw(m c))
{
	is($node->sql(join ';', document($summary, 'sad'), document($summary, 'happy')), "miss sad\nmiss happy", "$summary: values of an enum");
}
$node->sql(q{ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'; ALTER TYPE mood ADD VALUE 'wild' BEFORE 'blue'});
for my $summary (qw(m c))
{
	is($node->sql(join ';', map { "SELECT document->>'n' FROM summary_cache_fetch('$summary', force_refresh => true, parameters => '{$_}')" } qw(blue happy wild)), "blue\nhappy\nwild", "$summary: one is renamed, and one is new");
	is($node->sql(q{SELECT string_agg(parameters[1], ' ' ORDER BY parameters[1]) FROM summary_cache_documents WHERE summary = '} . $summary . q{'}), 'blue happy wild', '... in the view as well');
	($status, $out, $err) = $node->psql('postgres', document($summary, 'sad'));
	like($err, qr/invalid input value for enum mood: "sad"/, '... and the old name is none');
}
# listeners are notified by the worker, which is no place for code of a type's owner
$node->sql(q{
	SET client_min_messages = warning;
	CREATE TABLE ran (who name);
	CREATE FUNCTION to_json_of(mood) RETURNS json LANGUAGE plpgsql AS $$BEGIN INSERT INTO ran VALUES (current_user); RETURN '"ran"'; END$$;
	CREATE CAST (mood AS json) WITH FUNCTION to_json_of(mood);
	SELECT summary_cache_define('l', 'main', 'SELECT (SELECT count(*) FROM t) AS n', parameters => '{m mood}')});
my $listener = Session->new($node);
my $heard = '';
$listener->query('LISTEN summary_cache');
$node->sql(document('l', 'happy'));
ok(wait_until(sub { ($heard .= $listener->query('SELECT')) =~ /"summary":"l","parameters":\["happy"\],/ }), 'a notification has the name of an enum\'s value') or diag $heard;
is($node->sql('SELECT count(*) FROM ran'), '0', '... and a cast of its owner\'s is not run for that');
$listener->quit;
$node->sql(q{SELECT summary_cache_drop('l')});
($status, $out, $err) = $node->psql('postgres', 'DROP TYPE mood CASCADE');
is($status, 0, 'the type is dropped') or diag $err;
for my $summary (qw(m c kinds))
{
	($status, $out, $err) = $node->psql('postgres', $summary eq 'kinds' ? $answer : document($summary, 'happy'));
	like($err, qr/ERROR:  section "main" of summary "$summary" is damaged\nDETAIL:  .*column "parameter_types" has a type that no parameter can have\.\nHINT:/,
		"$summary: it cannot be read, and the error says why");
}
is($node->sql(q{SELECT count(*) FROM summary_cache_documents WHERE summary IN ('m', 'c', 'kinds')}), '0', 'the view has nothing of it');
is($node->sql(q{SELECT parameters FROM summary_cache_sections WHERE summary = 'm'}), '', '... and the other views do not fail');
($status, $out, $err) = $node->psql('postgres', $_) for 'SELECT count(*) FROM summary_cache_stats, summary_cache_tables, summary_cache_parts';
is($status, 0, '... none of them') or diag $err;
$node->sql(q{SELECT summary_cache_define('c', 'main', 'SELECT $1 AS n', parameters => '{m text}')});
is($node->sql(document('c', 'happy')), 'miss happy', 'it can be defined with another type');
like(documents(5), qr/^(hit-revision|stale) 51$/, '... nor other summaries');
$node->sql(q{SELECT summary_cache_drop(s) FROM unnest('{m,c,kinds}'::text[]) s});


#
# A restart: documents keep their values
#
my $path = $node->data_dir . '/pg_stat_tmp/summary_cache.documents';
$node->sql(q{
	SET client_min_messages = warning;
	CREATE TYPE mood AS ENUM ('sad', 'happy');
	SELECT summary_cache_define('kinds', 'main', 'SELECT (SELECT sum(n) FROM t WHERE k = $1) AS n, concat_ws(''|'', $2, $3, $4, $5, $6, $7, $8) AS v',
		parameters => '{k int, a text, b numeric, c uuid, d bytea null, e timestamptz, f mood, g jsonb}');
	SELECT summary_cache_define('plain', 'main', 'SELECT sum(n) AS n FROM t');
	-- a summary that has got parameters
	SELECT summary_cache_define('new', 'main', 'SELECT sum(n) AS n FROM t');
	SELECT summary_cache_get('new');
	SELECT summary_cache_define('new', 'main', 'SELECT sum(n) AS n FROM t WHERE k = $1', parameters => '{k int}')});
my @lists = (q{ARRAY['1', 'a"', '1.50', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', NULL, '2026-01-01 12:00+02', 'happy', '[1]']},
	q{ARRAY['2', '', '1', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\x00', '2026-01-01 12:00+02', 'sad', '{}']},
	q{ARRAY['2', '', '1', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', NULL, '2026-01-01 12:00+02', 'sad', '{}']});
my $all = join ';', map { qq{SELECT status || ' ' || document FROM summary_cache_fetch('kinds', parameters => $_)} } @lists;
sub saved { return $node->sql($all) =~ s/^\S+ //gmr }

# The server's log of one start; what is done before.
sub restarted
{
	my ($before) = @_;

	$node->stop;
	$before->() if $before;
	my $offset = -s $node->logfile;
	$node->start;
	return substr(slurp_file($node->logfile), $offset);
}

$node->sql($all);
$node->sql(q{SELECT summary_cache_get('plain'), summary_cache_get('new', parameters => '{3}')});
my $were = saved();
my $values = q{SELECT summary, parameters, state FROM summary_cache_documents WHERE summary IN ('kinds', 'new') ORDER BY 1, 2};
my $are = $node->sql($values);
like($are, qr/^(kinds\|.*\|current\n){3}new\|\{3\}\|current$/, 'documents with values of all kinds');
$_->quit for $holder, $reader, $second;
$node->set_server('summary_cache.max_workers', 0);
my $log = restarted();
unlike($log, qr/summary_cache\.documents/, 'a restart: the file is loaded');
is($node->sql($values), $are =~ s/current/stale/gr, '... with the values, as stale');
is($node->sql("BEGIN ISOLATION LEVEL REPEATABLE READ; $all; COMMIT") =~ s/^\S+ //gmr, $were, '... which is not served as current');
is($node->sql(q{SELECT max(age) < interval '10 minutes' FROM summary_cache_documents}), 't', '... of its age');
$node->set_server('summary_cache.max_workers', undef, '3');
restarted();
ok($node->poll(q{SELECT bool_and(state = 'current') FROM summary_cache_documents WHERE summary IN ('kinds', 'new')}), 'with workers all are refreshed, without a reader');
is($node->sql($values), $are, '... each for its values');
is($node->sql($all), join("\n", map { "hit-revision $_" } split /\n/, $were), '... and are hits');

# what changes while the server is down, or the file is old
$node->set_server('summary_cache.max_workers', 0);
$node->sql($all);
$node->stop;
my $file = slurp_file($path);
$node->start;
my $put_back = sub { open my $to, '>:raw', $path or die "$path: $!"; print $to $file; close $to; };
$node->sql('UPDATE t SET n = 1000 WHERE k = 1');
$log = restarted($put_back);
unlike($log, qr/damaged/, 'an old file');
is($node->sql("SET summary_cache.max_stale_age = 0; $all") =~ s/^\S+ //gmr, $were =~ s/"n":\d+/"n":1000/r, '... is not current');
$node->sql(q{SELECT summary_cache_define('new', 'main', 'SELECT sum(n) AS n FROM t WHERE k = length($1)', parameters => '{k text}')});
$log = restarted($put_back);
is($node->sql(q{SELECT parameters FROM summary_cache_documents WHERE summary = 'new'}), '', 'a file with documents of other parameters');
is($node->sql(q{SELECT document FROM summary_cache_fetch('new', parameters => '{333}')}), '{"n":' . $node->sql('SELECT sum(n) FROM t WHERE k = 3') . '}', '... which are not served');
$node->sql(q{ALTER TYPE mood RENAME VALUE 'happy' TO 'glad'});
$log = restarted($put_back);
is($node->sql('SET summary_cache.max_stale_age = 0; ' . $all =~ s/happy/glad/r) =~ s/^\S+ //gmr, $were =~ s/"n":\d+/"n":1000/r =~ s/happy/glad/r, 'a file from before a value was renamed');
$node->sql('DROP TYPE mood CASCADE');
$log = restarted($put_back);
is($node->sql(q{SELECT count(*) FROM summary_cache_documents WHERE summary = 'kinds'}), '0', 'a file from before a type was dropped');
$node->sql(q{SELECT summary_cache_drop('kinds')});

# Bytes of the values are flipped.  With the sums as they were nothing of the document is loaded; with right ones the
# document may be, but not for other values.
my @crc = map { my $c = $_; $c = $c & 1 ? ($c >> 1) ^ 0x82f63b78 : $c >> 1 for 1 .. 8; $c } 0 .. 255;
sub crc32c
{
	my ($bytes) = @_;
	my $crc = 0xffffffff;

	$crc = $crc[ ($crc ^ $_) & 255 ] ^ ($crc >> 8) for unpack 'C*', $bytes;
	return $crc ^ 0xffffffff;
}
$node->sql(q{SELECT summary_cache_define('one', 'main', 'SELECT $1 AS k, (SELECT sum(n) FROM t WHERE k = $2) AS n', parameters => '{k text, n int}')});
$node->sql(q{SELECT summary_cache_invalidate(summary) FROM (SELECT DISTINCT summary FROM summary_cache_sections) s});
$node->sql(q{SELECT summary_cache_get('one', parameters => '{abcdefgh, 5}')});
$node->set_server('summary_cache.max_workers', 0);
$node->stop;
$file = slurp_file($path);
my $values_at = index $file, 'abcdefgh' or die 'no values in the file';
# the first of the document's bytes: the values' size is in front, and the hash
my $begin = $values_at - 4 - 8 - 16;
my ($size) = unpack 'L', substr $file, $begin + 8, 4;
is($size, 16 + 8 + 16 + 8 + 8, 'the values are where this test looks for them') or BAIL_OUT('another layout');
my $header = rindex substr($file, 0, $begin), 'one';
# its header ends with the two sums, and begins with the number of the file, which is in that as well
my $id = substr $file, 48, 8;
my $head_at = rindex substr($file, 0, $begin), $id;
my $document = substr $file, $begin;
my $bytes_crc = pack 'L', crc32c($document);
my $sum_at = rindex substr($file, 0, $begin), $bytes_crc;
cmp_ok($sum_at, '>', $head_at, 'the sum of its bytes is in its header') or BAIL_OUT('another layout');
my $n = 0;
my $wrong = 0;
# the hash, the size, the number, a type and a length; the second type, length and value.  (What is in a value of right
# sums is taken for what was saved.)
my %is_valid = (0 => [ 0, 8, 20, 24, 32, 48 ], 1 => [ 0, 7, 8, 9, 12, 16, 17, 20, 21, 23, 40, 44, 47, 48, 49, 55 ]);
for my $valid (0, 1)
{
	for my $at (@{ $is_valid{$valid} })
	{
		my $bytes = $document;
		my $flipped = $file;

		substr($bytes, $at, 1) = chr(ord(substr $bytes, $at, 1) ^ (1 << $at % 8));
		substr($flipped, $begin) = $bytes;
		if ($valid)
		{
			substr($flipped, $sum_at, 4) = pack 'L', crc32c($bytes);
			substr($flipped, $sum_at + 4, 4) = pack 'L', crc32c(substr $flipped, $head_at, $sum_at + 4 - $head_at);
		}
		open my $to, '>:raw', $path or die "$path: $!";
		print $to $flipped;
		close $to;
		$node->start;
		my $said = $node->sql(q{SELECT document FROM summary_cache_fetch('one', parameters => '{abcdefgh, 5}');
			SELECT document FROM summary_cache_fetch('one', parameters => '{abcdefgi, 5}');
			SELECT document FROM summary_cache_fetch('one', parameters => '{abcdefgh, 4}');
			SELECT count(*) < 2 FROM summary_cache_documents WHERE reads = 0});
		$n++;
		$wrong++, diag "byte $at: $said" if $said ne qq({"k":"abcdefgh","n":51}\n{"k":"abcdefgi","n":51}\n{"k":"abcdefgh","n":41}\nt);
		$node->stop('immediate');
	}
}
is($wrong, 0, "$n files with values that are damaged: all answers are right");
done_testing();
