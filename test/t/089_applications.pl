# Proves that each recipe of doc/applications.md does what that page says; those for tenants are in 089_tenants.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use Page;
use PostgreSQL::Test::Utils;
use Service;
use Session;
use Test::More;

my $page = Page->new('applications.md');
my $has_setpriv = system('setpriv --version >/dev/null 2>&1') == 0;
my $node = Node->new('main');
$node->init;
$node->start;

# As the role of an application.
sub app { my ($db, $sql) = @_; return $node->safe_psql($db, $sql, connstr => $node->connstr($db) . ' user=app'); }

# The same with what it is told.
sub app_told
{
	my ($db, $sql) = @_;
	my ($status, $out, $err) = $node->psql($db, $sql, connstr => $node->connstr($db) . ' user=app', on_error_stop => 1);
	return $err;
}

sub session { my ($db) = @_; my $session = Session->new($node, $db); $session->query('SET SESSION AUTHORIZATION app'); return $session; }

#
# A database with the extension
#
my $heading = 'A database with the extension';
$node->safe_psql('postgres', scalar $page->blocks('psql', $heading));
is($node->sql(q{SELECT rolcreatedb AND NOT rolsuper FROM pg_roles WHERE rolname = 'app'}), 't', 'the role is no superuser');
app('postgres', scalar $page->blocks('sql', $heading));
my $define = q{
	CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY, total int NOT NULL, discount int NOT NULL DEFAULT 0);
	SELECT summary_cache_define('shop', 'sales', 'SELECT count(*) AS orders, sum(total - discount) AS total FROM orders');
};
app('test_shop', $define);
like(app('test_shop', fetch('shop', 'orders')), qr/^miss 0$/, 'it defines a summary in a copy of the template');
ok($node->hit('shop', 'test_shop'), '... which has hits');
is(app_told('test_shop', 'CREATE EXTENSION IF NOT EXISTS summary_cache') =~ /NOTICE: +extension "summary_cache" already exists/, 1,
	'CREATE EXTENSION IF NOT EXISTS is a NOTICE');
app('postgres', 'CREATE DATABASE test_second TEMPLATE test_template');
app('test_second', $define);
is(app('test_second', fetch('shop', 'orders')), 'miss 0', 'a second copy, beside it, has its own');
app('postgres', 'DROP DATABASE test_second');

#
# What a test reads
#
$heading = 'What a test reads';
my ($mine, $other) = map { session('test_shop') } 1 .. 2;
# no worker is quicker than the read
$node->set_server('summary_cache.max_workers', 0);
$node->no_worker;
is($mine->query('BEGIN; INSERT INTO orders (total) VALUES (1); ' . fetch('shop', 'orders')), 'private 1', 'writes of its own transaction');
$mine->query('ROLLBACK');
is($mine->query(fetch('shop', 'orders')), 'hit-revision 0', '... which are rolled back');
like($mine->query('INSERT INTO orders (total) VALUES (1); ' . fetch('shop', 'orders')), qr/^(?:miss|hit-revision) 1$/, 'a commit of its own');
is($mine->query(fetch('shop', 'orders')), 'hit-revision 1', '... is then cached');

# A worker that is held up
$node->set_server('summary_cache.max_workers', 3);
my $gate = Session->new($node, 'test_shop');
$node->safe_psql('test_shop', q{CREATE FUNCTION gate() RETURNS text LANGUAGE sql AS 'SELECT pg_advisory_xact_lock_shared(42)::text'});
app('test_shop', q{SELECT summary_cache_define('gated', 'sales', 'SELECT count(*) AS orders, gate() FROM orders', '{orders}')});
ok($node->hit('gated', 'test_shop'), 'a summary whose builds can be held up');
$gate->query('SELECT pg_advisory_lock(42)');
$other->query('TRUNCATE orders');
is($mine->query(fetch('gated', 'orders')), 'stale 1', 'the first read after another session\'s TRUNCATE has the rows of before');
$gate->query('SELECT pg_advisory_unlock(42)');
ok(wait_until(sub { $mine->query(fetch('gated', 'orders')) eq 'hit-revision 0' }), '... until it is refreshed');

for my $case ([ 'enabled', 'off', 'private' ], [ 'max_stale_age', '0', 'miss' ])
{
	my ($name, $value, $status) = @$case;
	$other->query('INSERT INTO orders (total) VALUES (1)');
	is($mine->query("SET summary_cache.$name = $value; " . fetch('shop', 'orders')), "$status 1", "$name = $value: another session's commit is there");
	$other->query('TRUNCATE orders');
	is($mine->query(fetch('shop', 'orders')), "$status 0", '... and its TRUNCATE');
	is($mine->query(fetch('shop', 'orders')), "$status 0", '... each time');
	$mine->query("RESET summary_cache.$name");
}
$node->safe_psql('test_shop', 'CREATE ROLE regress_reader LOGIN; GRANT EXECUTE ON FUNCTION summary_cache_fetch TO regress_reader');
my $reads = sub {
	my ($role, $setting) = @_;
	return join ' ', ($node->psql('test_shop', "SET summary_cache.$setting; " . fetch('gated', 'orders'),
			connstr => $node->connstr('test_shop') . " user=$role"))[ 1, 2 ];
};
like($reads->('regress_reader', 'enabled = off'), qr/cannot be built in this session/, 'off, functions of one\'s own are for members of the owner');
like($reads->('app', 'enabled = off'), qr/^private 0/, '... who get a document');
like($reads->('regress_reader', 'max_stale_age = 0'), qr/^miss 0/, '... with max_stale_age, for everybody');
app('test_shop', q{
	CREATE TABLE divisor (n int);
	INSERT INTO divisor VALUES (1);
	SELECT summary_cache_define('fails', 'main', 'SELECT 1 / n AS n FROM divisor');
});
ok($node->hit('fails', 'test_shop'), 'a section that will fail');
$other->query('UPDATE divisor SET n = 0');
is($mine->query('SET summary_cache.max_stale_age = 0; ' . fetch('fails')), 'stale 1', 'with max_stale_age alone its old document is served');
is($mine->query('SET summary_cache.stale_if_error = 0; ' . fetch('fails')), '', '... and not with stale_if_error = 0');
like($mine->error, qr/division by zero/, '... but an error');
is($mine->query('RESET summary_cache.stale_if_error; SET summary_cache.enabled = off; ' . fetch('fails')), '', '... likewise if it is off');
like($mine->error, qr/division by zero/, '... that error');
$mine->query('RESET ALL');
app('test_shop', q{SELECT summary_cache_drop('fails')});
app('test_shop', q{SELECT summary_cache_configure('shop', 'max_stale_age', '1h')});
ok($node->hit('shop', 'test_shop'), 'an option of the summary');
is($mine->query('SET summary_cache.max_stale_age = 0; ' . fetch('shop', 'orders')), 'hit-revision 0', '... wins over the setting');
is($mine->query('SET summary_cache.enabled = off; ' . fetch('shop', 'orders')), 'private 0', '... but not over enabled');
app('test_shop', q{SELECT summary_cache_configure('shop', 'max_stale_age', NULL)});
# the document of before has the option still
ok($node->hit('shop', 'test_shop'), 'the option is removed');

app('test_shop', scalar $page->blocks('sql', $heading));
is(app('test_shop', fetch('shop', 'orders') . '; ' . fetch('shop', 'orders')), "miss 0\nmiss 0", 'the setting of a role holds for new sessions');
app('postgres', 'ALTER ROLE app RESET ALL; ALTER DATABASE test_shop SET summary_cache.max_stale_age = 0');
is(app('test_shop', fetch('shop', 'orders') . '; ' . fetch('shop', 'orders')), "miss 0\nmiss 0", 'so does that of a database, by its owner');
app('postgres', 'CREATE DATABASE copied TEMPLATE test_template; ALTER DATABASE test_shop RESET ALL');
is(app('copied', 'SHOW summary_cache.max_stale_age'), '5min', '... which the next one from the template has not');
app('postgres', 'DROP DATABASE copied');
my $options = ' options=-csummary_cache.max_stale_age=0';
is($node->safe_psql('test_shop', 'SHOW summary_cache.max_stale_age', connstr => $node->connstr('test_shop') . $options), '0', 'it can be in the connection string');

my ($program) = grep { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin', '/usr/local/sbin';
my $pooler;
END
{
	my $exit = $?;
	$pooler->kill_kill if $pooler;
	$? = $exit;
}

SKIP:
{
	skip 'there is no pgbouncer, or no setpriv', 4 unless $program && $has_setpriv;
	my $dir = PostgreSQL::Test::Utils::tempdir_short();
	append_to_file("$dir/users", qq{"app" ""\n});
	append_to_file("$dir/pgbouncer.ini", "[databases]\ntest_shop = host=" . $node->host . ' port=' . $node->port . qq{
[pgbouncer]
unix_socket_dir = $dir
listen_port = 6432
auth_type = trust
auth_file = $dir/users
pool_mode = transaction
});
	app('postgres', 'ALTER ROLE app SET summary_cache.max_stale_age = 0');
	$pooler = IPC::Run::start([ 'setpriv', '--pdeathsig', 'KILL', $program, "$dir/pgbouncer.ini" ], '<', \undef, '>', "$dir/log", '2>&1');
	my $through = sub {
		my ($more) = @_;
		return $node->psql('test_shop', fetch('shop', 'orders'), on_error_stop => 1,
			connstr => "host=$dir port=6432 dbname=test_shop user=app$more");
	};
	my ($status, $out, $err);
	ok(wait_until(sub { ($status, $out, $err) = eval { $through->('') }; defined $status && $status == 0 }), 'behind a pooler');
	is($out, 'miss 0', '... the setting of the role holds') or diag $err;
	($status, $out, $err) = $through->($options);
	isnt($status, 0, '... and it cannot be in the connection string');
	like($err, qr/unsupported startup parameter/, '... as the pooler says');
	$pooler->kill_kill;
	undef $pooler;
	app('postgres', 'ALTER ROLE app RESET ALL');
}

#
# Migrations
#
$heading = 'Migrations';
my ($migration, $who_reads, $invalidate, $build, $check) = $page->blocks('sql', $heading);
app('test_shop', q{SELECT summary_cache_drop('gated'); INSERT INTO orders (total, discount) VALUES (10, 1)});
ok($node->hit('shop', 'test_shop'), 'before the migrations');
is(app('test_shop', $who_reads), 'shop|sales', 'which section reads the table');
my $told = app_told('test_shop', 'ALTER TABLE orders RENAME COLUMN total TO amount');
like($told, qr/NOTICE: +section "sales" of summary "shop" follows/, 'a rename is followed, and a NOTICE says so');
is(app('test_shop', forced('shop', 'total')), '9', '... with the same keys');
app('test_shop', 'ALTER TABLE orders RENAME COLUMN amount TO total');
ok($node->hit('shop', 'test_shop'), 'renamed back');

my $failed = q{SELECT builds_failed FROM summary_cache_stats WHERE summary = 'shop'};
my $old = $node->sql($failed, 'test_shop');
like(app_told('test_shop', 'BEGIN; ALTER TABLE orders DROP COLUMN discount; ROLLBACK'), qr/WARNING: +section "sales" of summary "shop" cannot be built any more/,
	'a column is dropped that is needed: a WARNING');
(my $taken_back = $migration) =~ s/^COMMIT/ROLLBACK/m or die 'the page has no COMMIT';
unlike(app_told('test_shop', $taken_back), qr/WARNING/, 'the page\'s way has none');
is(app('test_shop', forced('shop', 'total')), '9', '... and if it is rolled back, all is as before');
ok($node->hit('shop', 'test_shop'), '... hits');
$node->set_server('summary_cache.max_workers', 0);
$node->no_worker;
my $before = $mine->query('RESET ALL; ' . fetch('shop', 'total'));
is($before, 'hit-revision 9', 'the document before');
app('test_shop', $migration);
like($mine->query(fetch('shop', 'total')), qr/^(?:stale 9|miss 10|hit-revision 10)$/, 'after the migration, the old document is stale');
app('test_shop', $invalidate);
like($mine->query(fetch('shop', 'total')), qr/^(?:miss|hit-revision) 10$/, '... and gone once it is invalidated');
$node->set_server('summary_cache.max_workers', 3);
is($node->sql($failed, 'test_shop'), $old, '... and no build has failed');

is(app('test_shop', $build), 'shop|' . length(app('test_shop', q{SELECT summary_cache_get('shop')})), 'the check builds each summary');
is(app('test_shop', $check), '', '... and finds nothing');
app('test_shop', q{
	CREATE TABLE gone (n int);
	SELECT summary_cache_define('broken', 'main', 'SELECT sum(n) AS n FROM gone');
	ALTER TABLE gone DROP COLUMN n;
	ALTER TABLE orders DISABLE TRIGGER ALL;
});
like(app_told('test_shop', $build), qr/ERROR: .*column "n" does not exist/s, 'a section that cannot be built is an error of the check');
app('test_shop', q{SELECT summary_cache_drop('broken')});
app('test_shop', $build);
like(app('test_shop', $check), qr/^shop\|sales\|unprovable\|a source cannot be tracked.*\norders\|trigger .* is disabled$/, '... and what is not proven is listed');
app('test_shop', 'ALTER TABLE orders ENABLE TRIGGER ALL');
app('test_shop', $build);
is(app('test_shop', $check), '', '... until it is put right');

#
# document::text
#
is(app('test_shop', scalar $page->blocks('sql', 'document::text')) =~ s/.*\|//r, app('test_shop', q{SELECT summary_cache_get('shop')}), 'document::text is the document');
$_->quit for $mine, $other, $gate;

#
# NOTICEs that a framework hides
#
my $notices = $page->blocks('sql', 'NOTICEs that a framework hides');
is(app('test_shop', $notices), '', 'there is nothing to be said');
$told = app_told('test_shop', q{SELECT summary_cache_define('unseen', 'main', 'SELECT gate(), now() AS n')});
my @said = map { s/^(?:psql:<stdin>:\d+: )?NOTICE: +//r } grep { /NOTICE: / } split /\n/, $told;
cmp_ok(scalar @said, '>', 0, 'a definition says something');
is_deeply([ map { (split /\|/)[2] } split /\n/, app('test_shop', $notices) ], \@said, '... the same as the page\'s query');
app('test_shop', q{SELECT summary_cache_drop('unseen')});

#
# Django
#
sub run_in
{
	my ($dir, $environment, @command) = @_;
	my $output = '';
	my $ok = IPC::Run::run(\@command, '<', \undef, '>', \$output, '2>&1',
		init => sub { chdir $dir or die; %ENV = (%ENV, %$environment) });
	return ($ok, $output);
}

my $django = q{import django, psycopg2; assert django.VERSION >= (3, 2)};
SKIP:
{
	skip "$python has no Django and psycopg2", 8 if system("$python -c '$django' 2>/dev/null") != 0;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	mkdir "$dir/$_" for 'shop', 'shop/migrations';
	for my $block ($page->blocks('python', 'Django'))
	{
		my ($file) = $block =~ /^# (\S+)\n/ or die 'a block without a file';
		append_to_file("$dir/$file", $block);
	}
	# what startproject, startapp and makemigrations make
	append_to_file("$dir/settings.py", q{

SECRET_KEY = "test"
INSTALLED_APPS = ["shop"]
ROOT_URLCONF = "urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
});
	append_to_file("$dir/urls.py", "from django.urls import path\nfrom shop import views\nurlpatterns = [path('shop', views.shop)]\n");
	append_to_file("$dir/shop/$_", '') for '__init__.py', 'migrations/__init__.py';
	append_to_file("$dir/shop/models.py", "from django.db import models\n\n\nclass Order(models.Model):\n    total = models.IntegerField()\n");
	append_to_file("$dir/shop/migrations/0001_initial.py", q{
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    operations = [migrations.CreateModel("Order", [
        ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
        ("total", models.IntegerField())])]
});
	app('postgres', 'DROP DATABASE test_shop; CREATE DATABASE shop TEMPLATE test_template');
	my %environment = (PGHOST => $node->host, PGPORT => $node->port, PYTHONDONTWRITEBYTECODE => 1, DJANGO_SETTINGS_MODULE => 'settings', PYTHONPATH => $dir);
	my @manage = ($python, '-m', 'django');

	my ($ok, $output) = run_in($dir, \%environment, @manage, 'migrate');
	ok($ok, 'Django migrates a database from the template') or diag $output;
	is(app('shop', fetch('shop', 'orders')), 'miss 0', '... which has the summary');
	($ok, $output) = run_in($dir, \%environment, @manage, 'makemigrations', '--check', '--dry-run');
	ok($ok, '... and nothing more to migrate') or diag $output;
	($ok, $output) = run_in($dir, \%environment, @manage, 'test', '--noinput', '--settings=settings_test');
	ok($ok, "its test runner makes a database as that role, and the page's tests pass") or diag $output;
	like($output, qr/^Ran 4 tests/m, '... all of them');
	($ok, $output) = run_in($dir, \%environment, @manage, 'migrate', 'shop', '0001');
	ok($ok, 'it takes the migration back') or diag $output;
	is(app('shop', q{SELECT count(*) FROM summary_cache_sections}), '0', '... and the summary is gone');
	($ok, $output) = run_in($dir, \%environment, @manage, 'migrate');
	ok($ok, '... and makes it again') or diag $output;
}

#
# A Node service
#
SKIP:
{
	my ($why_not, %node_path) = node_with_pg();
	$why_not ||= 'there is no setpriv' unless $has_setpriv;
	skip $why_not, 1 if $why_not;
	app('postgres', 'CREATE DATABASE served TEMPLATE test_template');
	app('served', $define);
	my $dir = PostgreSQL::Test::Utils::tempdir_short();
	start_program('node', "$dir/http", { PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'served', PGUSER => 'app',
			LISTEN => "$dir/http", %node_path }, 'node', $page->file('js', 'A Node service', "$dir/shop.js"));
	my $get = sub { return request('node', 'GET', '/shop', @_) };

	my $answer = $get->();
	is("$answer->{code} $answer->{status}", '200 miss', 'Node: 200');
	is($answer->{body}, app('served', q{SELECT summary_cache_get('shop')}), '... with the bytes of the database');
	is($answer->{etag}, '"' . app('served', q{SELECT etag FROM summary_cache_fetch('shop')}) . '"', '... and its etag');
	my $etag = $answer->{etag};
	for my $known ($etag, "W/$etag", qq{"x", $etag}, '*')
	{
		$answer = $get->("If-None-Match: $known");
		is("$answer->{code} $answer->{etag} " . ($answer->{body} // ''), "304 $etag ", "... If-None-Match: $known: 304");
	}
	is($get->("If-None-Match: $_")->{code}, 200, "... If-None-Match: $_: 200") for '"x"', '', '"x", "y"', 'x';
	is(request('node', 'HEAD', '/shop')->{etag}, $etag, '... HEAD has the headers');
	is(request('node', $_->[0], $_->[1])->{code}, $_->[2], "... $_->[0] $_->[1]: $_->[2]") for [ 'POST', '/shop', 405 ], [ 'GET', '/x', 404 ];
	app('served', 'INSERT INTO orders (total) VALUES (7)');
	ok(wait_until(sub { $get->("If-None-Match: $etag")->{code} == 200 }), '... a commit gives another document');
	$node->stop;
	$answer = $get->();
	is("$answer->{code} $answer->{'retry-after'} $answer->{'cache-control'}", '503 1 no-store', '... the database is stopped: 503');
	$node->start;
	ok(wait_until(sub { $get->()->{code} == 200 }), '... and is back');
}

$node->stop;
done_testing();
