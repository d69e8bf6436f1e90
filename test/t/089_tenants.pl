# Proves that with the wrappers of doc/applications.md each tenant reads its own document and no other, that writes to one tenant's rows leave the others' documents hits, and what is told and replicated of them.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use Page;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $page = Page->new('applications.md');
my ($define, $read) = $page->blocks('sql', 'A summary for each tenant');
my ($mapped, $from_setting) = $page->blocks('sql', 'Each tenant only its own');
my $node = Node->new('main');
$node->init(allows_streaming => 1);
$node->start;

# As a role that has logged in.
sub as
{
	my ($role, $sql) = @_;
	my ($status, $out, $err) = $node->psql('postgres', $sql, connstr => $node->connstr('postgres') . " user=$role");

	return $status == 0 && $err eq '' ? $out : "$out$err";
}

$node->sql(q{
	CREATE SCHEMA cache;
	CREATE EXTENSION summary_cache SCHEMA cache;
	CREATE SCHEMA api;
	CREATE ROLE app LOGIN;
	CREATE ROLE reader NOLOGIN;
	CREATE ROLE alice LOGIN;
	CREATE ROLE bob LOGIN;
	CREATE ROLE carol LOGIN;
	CREATE ROLE web LOGIN;
	GRANT USAGE ON SCHEMA cache TO app, reader;
	GRANT USAGE, CREATE ON SCHEMA api TO app, reader;
	GRANT USAGE ON SCHEMA api TO alice, bob, carol, web;
	GRANT CREATE ON SCHEMA public TO app;
	ALTER DATABASE postgres SET search_path = public, cache;
	SELECT cache.summary_cache_allow('app');
});
my $fetch = 'SELECT status, document FROM %s()';

#
# One definition, a document for each tenant
#
as('app', q{CREATE TABLE orders (tenant int, total int); INSERT INTO orders SELECT 1 + i % 200, i FROM generate_series(0, 999) i});
like(as('app', $define), qr/NOTICE:  documents of section "sales" of summary "tenant" are made stale by rows of their own key only\n/,
	'the definition is keyed');
my $truth = sub { return $node->sql("SELECT count(*) FROM orders WHERE tenant = $_[0]") };
my $status_of = sub { return as('app', "SELECT status || ' ' || (document->>'orders') FROM summary_cache_fetch('tenant', parameters => '{$_[0]}')") };

like(as('app', $read), qr/^(?:miss|hit-revision)\|[0-9a-f]{32}\|\{"orders":5,/, 'a read by a tenant');
sub concerns
{
	my ($sql, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	for my $tenant (1 .. 3)
	{
		ok(wait_until(sub { $status_of->($tenant) eq 'hit-revision ' . $truth->($tenant) }), "tenant $tenant has the truth") or return;
	}
	is(as('app', $sql), '', $name);
	# without the worker nothing is built before it is read
	my @stale = grep { $status_of->($_) !~ /^hit-revision/ } 1 .. 3;
	is("@stale", $expected, '... ends the documents of these tenants');
	return;
}
$node->set_server('summary_cache.max_workers', 0);
$node->no_worker;
concerns('INSERT INTO orders VALUES (1, 10), (1, 20)', '1', 'INSERT');
concerns('INSERT INTO orders VALUES (2, 10), (3, 20)', '2 3', 'INSERT for two tenants');
concerns('UPDATE orders SET total = total + 1 WHERE tenant = 2', '2', 'UPDATE');
concerns('UPDATE orders SET tenant = 2 WHERE tenant = 1', '1 2', 'UPDATE that moves rows');
concerns('DELETE FROM orders WHERE tenant = 3', '3', 'DELETE');
concerns('INSERT INTO orders VALUES (4, 1)', '', 'a tenant that nobody has read');
concerns("COPY orders FROM STDIN;\n3\t1\n\\.\n", '3', 'COPY');
concerns('INSERT INTO orders VALUES (NULL, 1)', '', 'a row of no tenant');
concerns('TRUNCATE orders', '1 2 3', 'TRUNCATE');
$node->set_server('summary_cache.max_workers', 3);
as('app', 'INSERT INTO orders VALUES (1, 11), (2, 21), (2, 22), (3, 31)');

#
# Roles that are mapped to tenants
#
is(as('app', $mapped), '', 'the mapping and its wrapper');
is(as('app', q{INSERT INTO tenant_role VALUES ('alice', 1), ('bob', 2)}), '', '... two roles have a tenant');
$node->sql('GRANT EXECUTE ON FUNCTION api.my_orders() TO alice, bob, carol');
for ([ 'alice', 1, 1 ], [ 'bob', 2, 2 ])
{
	my ($role, $tenant, $orders) = @$_;

	ok(wait_until(sub { as($role, sprintf $fetch, 'api.my_orders') =~ /^hit-revision\|\{"orders":$orders,/ }), "$role reads the document of tenant $tenant, by hits");
	is(as($role, "SET search_path = pg_temp; CREATE TEMP TABLE tenant_role (role name, tenant int); INSERT INTO tenant_role VALUES ('$role', 3);
		SELECT document->>'orders' FROM api.my_orders()"), $orders, '... whatever temporary tables it has');
	like(as($role, "SET ROLE app; SELECT 1"), qr/permission denied/, '... and it cannot become another');
	like(as($role, q{SELECT * FROM cache.summary_cache_fetch('tenant', parameters => '{3}')}), qr/permission denied/, '... nor read by a tenant of its choice');
	like(as($role, 'TABLE tenant_role'), qr/permission denied/, '... nor the mapping');
	like(as($role, 'TABLE orders'), qr/permission denied/, '... nor the table');
}
is(as('carol', 'SELECT count(*) FROM api.my_orders() WHERE document IS NOT NULL'), 0, 'a role without a tenant reads nothing');
as('app', q{UPDATE tenant_role SET tenant = 2 WHERE role = 'alice'});
is(as('alice', q{SELECT document->>'orders' FROM api.my_orders()}), 2, 'the mapping counts as it is at each read');
as('app', q{UPDATE tenant_role SET tenant = 1 WHERE role = 'alice'});

#
# A tenant that the application sets
#
is(as('app', $from_setting), '', 'the wrapper by a setting');
my $session = sub { return as('web', "SELECT set_config('app.tenant', '$_[0]', false) IS NULL; SELECT document->>'orders' FROM api.tenant_orders()") };
for ([ 2, 2 ], [ 3, 1 ])
{
	my ($tenant, $orders) = @$_;
	ok(wait_until(sub { $session->($tenant) eq "f\n$orders" }), "a session that has set tenant $tenant reads the document of that");
}
like($session->('x'), qr/ERROR:  invalid input syntax for type integer: "x"/, 'what is no tenant is an error');
is(as('web', q{SELECT count(*) FROM api.tenant_orders() WHERE document IS NOT NULL}), 0, 'without a setting there is nothing');
is(as('web', q{BEGIN; SET LOCAL app.tenant = 2; SELECT document->>'orders' FROM api.tenant_orders(); COMMIT; SELECT count(*) FROM api.tenant_orders() WHERE document IS NOT NULL}), "2\n0",
	'... nor after the transaction for which it was set');
like(as('web', q{SELECT * FROM cache.summary_cache_fetch('tenant', parameters => '{3}')}), qr/permission denied/, '... and the wrapper is all that it may read');

#
# Who listens is told the values
#
ok(wait_until(sub { as('app', q{LISTEN summary_cache; INSERT INTO orders VALUES (2, 1);
	SELECT status FROM summary_cache_fetch('tenant', parameters => '{2}'); SELECT pg_sleep(0.3)})
	=~ /payload "\{"summary":"tenant","parameters":\[2\],"built_at":"[^"]+"\}"/ }), 'a notification has the values');

#
# A standby knows of tables only
#
$node->backup('backup');
my $standby = Node->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf', 'summary_cache.max_workers = 0');
$standby->start;
sub replicated { my $lsn = $node->lsn('flush'); return $standby->poll(qq{SELECT pg_last_wal_replay_lsn() >= '$lsn'}); }
my $there = sub { return $standby->sql("SELECT status FROM summary_cache_fetch('tenant', parameters => '{$_[0]}')") };
replicated();
for my $tenant (1, 2)
{
	ok(wait_until(sub { $there->($tenant) eq 'hit-revision' }), "a standby has the document of tenant $tenant");
}
as('app', 'INSERT INTO orders VALUES (2, 1)');
replicated();
isnt($there->(1), 'hit-revision', '... which a write to the rows of another makes stale');
$standby->promote;
$standby->poll('SELECT NOT pg_is_in_recovery()') or die 'it is not promoted';
for my $tenant (1, 2)
{
	$standby->sql("SELECT summary_cache_get('tenant', true, '{$tenant}')");
	ok(wait_until(sub { $there->($tenant) eq 'hit-revision' }), "promoted, it builds the document of tenant $tenant");
}
$standby->sql('INSERT INTO orders VALUES (2, 1)');
is($there->(1), 'hit-revision', '... which such a write leaves a hit then');
isnt($there->(2), 'hit-revision', '... and its own does not');
$standby->stop;

#
# Why the rights matter: who may execute the reading function has every tenant's document
#
$node->sql('GRANT USAGE ON SCHEMA cache TO alice; GRANT EXECUTE ON FUNCTION cache.summary_cache_fetch TO alice');
like(as('alice', q{SELECT document->>'orders' FROM cache.summary_cache_fetch('tenant', parameters => '{2}')}), qr/^[2-9]$/, 'with EXECUTE on the reading function a tenant reads the others');
as('app', q{SELECT summary_cache_configure('tenant', 'readers', '')});
like(as('alice', q{SELECT document->>'orders' FROM cache.summary_cache_fetch('tenant', parameters => '{2}')}), qr/ERROR:  summary "tenant" is not defined/, '... unless the summary has readers');
is(as('alice', q{SELECT document->>'orders' FROM api.my_orders()}), 1, '... which leaves the wrapper as it was');

$node->stop;
done_testing();
