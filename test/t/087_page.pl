# Proves in a real browser that the page of doc/http.md shows the summary and its changes by itself, says when it cannot, and makes markup of no value.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Browser;
use HTTP::Tiny;
use IPC::Run;
use JSON::PP qw(encode_json);
use Node;
use PostgreSQL::Test::Utils;
use Service;
use Session;
use Test::More;
use Time::HiRes qw(time);

# Pictures for doc/ and for whoever wants to look: SCREENSHOTS=directory, which the server's user can write.
my $pictures = $ENV{SCREENSHOTS};

for my $why (cannot_serve(), cannot_browse()) { plan skip_all => $why; }

#
# A hub as the extension finds it, and the service on a port: a browser takes no unix socket
#
my $top = "$FindBin::RealBin/../..";
my $node = Node->new('main');
$node->init;
$node->start;
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', 'postgres', '-f', "$top/test/hub/schema.sql" ], 'a hub');
$node->sql(q{
	INSERT INTO domains SELECT i, 'domain-' || i FROM generate_series(1, 10) i;
	INSERT INTO topics SELECT i, 1 + i % 10, 'Topic ' || i, (ARRAY['active','active','paused','archived'])[1 + i % 4] FROM generate_series(1, 90) i;
	INSERT INTO workplans SELECT i, 1 + i % 90, 'Workplan ' || i, (ARRAY['planned','active','active','blocked','done'])[1 + i % 5] FROM generate_series(1, 240) i;
	INSERT INTO tasks SELECT i, 1 + i % 240, 'Task ' || i, (ARRAY['todo','todo','doing','blocked','done','done','done','done'])[1 + i % 8] FROM generate_series(1, 1999) i;
	INSERT INTO decisions SELECT i, 1 + i % 90, 'Decision ' || i, (ARRAY['open','blocking','resolved','resolved'])[1 + i % 4] FROM generate_series(1, 150) i;
	INSERT INTO workplan_dependencies SELECT i, 'Dependency ' || i, i, 1 + i, (ARRAY['open','met'])[1 + i % 2] FROM generate_series(1, 100) i;
	INSERT INTO managed_repos SELECT i, 1 + i % 10, 'repo-' || i, CASE WHEN i % 7 = 0 THEN 'archived' ELSE 'active' END FROM generate_series(1, 50) i;
	INSERT INTO contributions SELECT i, 1 + i % 50, 'Contribution ' || i, (ARRAY['draft','submitted','merged','merged'])[1 + i % 4] FROM generate_series(1, 210) i;
	INSERT INTO capability_requests SELECT i, 1 + i % 10, 'Capability ' || i, (ARRAY['open','accepted','delivered'])[1 + i % 3] FROM generate_series(1, 70) i;
	INSERT INTO extension_points SELECT i, 1 + i % 10, 'ext-' || i, (ARRAY['open','used'])[1 + i % 2] FROM generate_series(1, 40) i;
	INSERT INTO technical_debt SELECT i, 1 + i % 10, 'Debt ' || i, (ARRAY['open','open','paid'])[1 + i % 3], (ARRAY['low','medium','high'])[1 + i / 3 % 3] FROM generate_series(1, 110) i;
	INSERT INTO sbom_snapshots SELECT i, 1 + i % 50, 50 + i FROM generate_series(1, 80) i;
	INSERT INTO progress_events (topic_id, author, summary, created_at)
		SELECT 1 + i % 90, 'agent-' || i % 12, format('Workplan %s: %s', 1 + i % 240,
			(ARRAY['reviewed','three tasks closed','waits for a decision','a test fails on the newest server','merged'])[1 + i % 5]), now() - i * interval '7 minutes'
		FROM generate_series(1, 300) i;
});
$node->sql('CREATE SCHEMA cache; CREATE EXTENSION summary_cache SCHEMA cache; ALTER DATABASE postgres SET search_path = public, cache');
my ($grants) = slurp_file("$examples/../http.md") =~ /^```sql\n(.*?GRANT EXECUTE.*?)^```/ms;
$node->sql($grants);
$node->sql(q{SELECT summary_cache_configure('state', 'eager_refresh', 'on'); SELECT 1 FROM summary_cache_fetch()});

my $port = PostgreSQL::Test::Cluster::get_free_port();
my $base = "http://127.0.0.1:$port/";
my $http = HTTP::Tiny->new(timeout => $PostgreSQL::Test::Utils::timeout_default);

sub start_on_port
{
	my (%settings) = @_;
	my %environment = (
		PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'postgres', PGUSER => 'state_service',
		PYTHONDONTWRITEBYTECODE => 1, PORT => $port, REQUEST_TIMEOUT => 3600, %settings);

	$services{page} = {
		process => IPC::Run::start([ 'setpriv', '--pdeathsig', 'KILL', $python, "$examples/state_service.py" ],
			'<', \undef, '>>', "$PostgreSQL::Test::Utils::log_path/087_page_service.log", '2>&1', init => sub { %ENV = (%ENV, %environment) })
	};
	return wait_until(sub { $http->head($base)->{success} }) || die 'the service does not listen';
}

sub stop_on_port
{
	my $process = delete($services{page})->{process};

	$process->signal('TERM');
	return $process->finish;
}

start_on_port();

#
# The page over HTTP
#
my $page = $http->get($base);
is("$page->{status} $page->{headers}{'content-type'}", '200 text/html; charset=utf-8', 'the page');
is($page->{content}, slurp_file("$examples/state_page.html"), '... is the file');
is($http->head($base)->{headers}{'content-length'}, length $page->{content}, '... HEAD, too');
is($http->get($base, { headers => { 'If-None-Match' => $page->{headers}{etag} } })->{status}, 304, '... which a browser that has it is not sent');
is($http->get($base, { headers => { 'If-None-Match' => '"' . '0' x 32 . '"' } })->{status}, 200, '... unless it has another');
is($page->{headers}{'cache-control'}, 'no-cache', '... and asks each time');
unlike($page->{headers}{'content-security-policy'}, qr/unsafe|https?:|\*/, '... with a policy that lets nothing else run');
unlike($page->{content} =~ s{http://www\.w3\.org/2000/svg}{}r, qr{https?://|innerHTML|outerHTML|insertAdjacent|document\.write}, '... and names nothing from elsewhere');

# who copies the service alone has no page
my $alone = PostgreSQL::Test::Utils::tempdir();
append_to_file("$alone/state_service.py", slurp_file("$examples/state_service.py"));
my ($out, $err) = run_command([ $python, '-B', '-c',
		'import sys; sys.path.insert(0, sys.argv[1]); import state_service; print(*(r.path for r in state_service.app.routes if r.path in ("/", "/state/summary")))', $alone ]);
is($out, '/state/summary', 'without the file the service has no page') or note $err;

#
# What it shows
#
my $browser = Browser->new;
my $health = sub { $browser->text('health') };
my $live = 'Live: changes show by themselves.';

sub says
{
	my ($expected, $name) = @_;
	my $is;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $since = time;

	wait_until(sub { ($is = $health->()) =~ $expected });
	like($is, $expected, $name);
	note sprintf '%s: after %.1f s', $name, time - $since;
	return;
}

# A table of the page: its rows, without the share.
my $shown = sub {
	my ($name) = @_;
	return $browser->value(q{Array.from(document.querySelectorAll('#groups table')).filter((t) => t.caption.textContent.startsWith(}
			. encode_json([$name]) . q{[0] + ':')).map((t) => [t.caption.textContent, ...Array.from(t.tBodies[0].rows, (r) =>
			r.cells[0].textContent + ' ' + r.cells[1].textContent)].join('|')).join()});
};
my $is_so = sub {
	my ($table) = @_;
	return $node->sql(qq{SELECT concat_ws('|', replace('$table', '_', ' ') || ': ' || to_char(sum(n), 'FM999,999'),
		string_agg(status || ' ' || to_char(n, 'FM999,999'), '|' ORDER BY status COLLATE "C"))
		FROM (SELECT status, count(*) AS n FROM $table GROUP BY status) s});
};
my $events = q{Array.from(document.querySelectorAll('#events li p:first-child'), (p) => p.textContent).join('|')};

# Until what is shown is what the tables say.
sub shows
{
	my ($name, @tables) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $since = time;

	for my $table (@tables)
	{
		my $so = $is_so->($table);
		my $is;
		wait_until(sub { ($is = $shown->($table =~ tr/_/ /r)) eq $so });
		is($is, $so, "$name: $table");
	}
	my $so = $node->sql(q{SELECT string_agg(summary, '|' ORDER BY created_at DESC, id DESC)
		FROM (SELECT * FROM progress_events ORDER BY created_at DESC, id DESC LIMIT 20) p});
	my $is;
	wait_until(sub { ($is = $browser->value($events)) eq $so });
	is($is, $so, '... and the 20 newest events');
	note sprintf '%s: after %.2f s', $name, time - $since;
	return;
}

$browser->show_on(1280, 1200, 'light');
$browser->call('Page.navigate', url => $base);
wait_until(sub { $browser->value(q{document.readyState === 'complete' && location.href}) eq $base });
says(qr/^\Q$live\E$/, 'the page is live');
$browser->value('window.loaded = "once"; window.said = []; new MutationObserver(() => said.push(document.getElementById("health").textContent))'
		. '.observe(document.getElementById("health"), {childList: true, characterData: true, subtree: true}); 0');
my @with_status = qw(topics workplans tasks decisions workplan_dependencies managed_repos contributions capability_requests domains
	extension_points technical_debt);
shows('at first', @with_status);
is($browser->value('document.querySelectorAll("#groups table").length'), scalar @with_status, '... of each table with a status');
is($browser->value(q{Array.from(document.querySelectorAll('#totals tr'), (r) => r.cells[0].textContent + ' ' + r.cells[1].textContent.replace(',', '')).join('|')}),
	$node->sql(q{SELECT concat_ws('|', } . join(', ', map { "'" . tr/_/ /r . " ' || (SELECT count(*) FROM $_)" } @with_status, 'sbom_snapshots') . ')'),
	'... the totals of all tables');
my ($bar) = $browser->value(q{Array.from(document.querySelectorAll('#groups table')).filter((t) => t.caption.textContent.startsWith('tasks:'))
	.flatMap((t) => Array.from(t.tBodies[0].rows, (r) => r.cells[0].textContent + ' ' + r.querySelector('.text').textContent + ' '
		+ Math.round(100 * parseFloat(r.querySelector('.bar').style.width) / 100))).join('|')});
is($bar, $node->sql(q{SELECT string_agg(format('%s %s %% %s', status, p, p), '|' ORDER BY status)
	FROM (SELECT status, round(100.0 * count(*) / sum(count(*)) OVER ()) AS p FROM tasks GROUP BY status) s}), '... bars that are the shares');
like($browser->text('status'), qr/^(hit-revision|progress-section|miss) \(current/, '... the status of the answer');
like($browser->text('age'), qr/^0 s$/, '... its age');
is($browser->text('etag'), [ map { $_->{response}{headers}{etag} } grep { $_->{response}{url} =~ m{/state/summary} } $browser->events('Network.responseReceived') ]->[0],
	'... and its etag');

if ($pictures)
{
	$browser->call('Emulation.setScrollbarsHidden', hidden => JSON::PP::true);
	for my $scheme (qw(light dark))
	{
		for my $screen ([ 1000, 905 ], [ 1400, 1500 ], [ 360, 900 ], [ 360, 3400 ])
		{
			$browser->show_on(@$screen, $scheme);
			$browser->shoot("$pictures/$scheme-$screen->[0]x$screen->[1].png");
		}
	}
	$browser->show_on(1280, 1200, 'light');
}

#
# Changes, by somebody else
#
my $etag = 'SELECT etag FROM summary_cache_fetch()';
my $asked = sub { map { $_->{request} } grep { $_->{request}{url} =~ m{/state/summary} } $browser->events('Network.requestWillBeSent') };

$node->sql(q{BEGIN; UPDATE tasks SET status = 'done', updated_at = now() WHERE status = 'blocked' AND id < 1000;
	INSERT INTO progress_events (author, summary) VALUES ('agent-7', 'Blocked tasks looked through'); COMMIT});
shows('a commit', 'tasks');
is([ $asked->() ]->[-1]{url}, "${base}state/summary?v=" . $node->sql($etag), '... which is fetched by its etag');
$node->sql(q{DELETE FROM workplan_dependencies WHERE id % 3 = 0; INSERT INTO topics SELECT 1000000, 1, 'New', 'paused'});
shows('another, of a delete', 'workplan_dependencies', 'topics');
$node->sql(q{TRUNCATE extension_points});
wait_until(sub { $shown->('extension points') eq '' });
is($shown->('extension points'), '', 'a table that is empty has no bars');

# values that would be markup, and one that is long
my $evil = q{<img src=x onerror="document.title='taken'"><script>document.title='taken'</script>&amp;};
my $long = 'x' x 300;
$node->sql(qq{UPDATE managed_repos SET status = \$e\$$evil\$e\$ WHERE id = 1;
	UPDATE contributions SET status = '__proto__' WHERE id = 1; UPDATE contributions SET status = '$long' WHERE id = 2;
	INSERT INTO progress_events (author, summary) VALUES (\$e\$$evil\$e\$, \$e\$$evil\$e\$), ('$long', '$long')});
shows('what looks like markup is text', 'managed_repos', 'contributions');
is($browser->value('document.querySelectorAll("img, main script").length'), 0, '... and makes no element');
is($browser->value('document.title'), 'State Hub', '... nor does it run');
is($browser->value('said.join()'), '', 'none of that was read out');
is($browser->value('window.loaded'), 'once', '... nor loaded anew');

# while nothing changes it asks, and is sent nothing
my $answers = sub { grep { $_->{response}{url} =~ m{/state/summary} } $browser->events('Network.responseReceived') };
my $before = () = $answers->();
ok(wait_until(sub { $answers->() > $before && [ $answers->() ]->[-1]{response}{status} == 304 }), 'a check is answered by 304');

#
# In any light, on a phone, without eyes, without a mouse
#
my $contrast = <<'JS';
(() => {
	const channel = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
	const colour = (text) => text.match(/[\d.]+/g).map(Number);
	const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
	const ground = (e) => { const c = colour(getComputedStyle(e).backgroundColor); return c.length < 4 || c[3] === 1 ? c : ground(e.parentElement); };
	const bad = [];
	let n = 0;
	for (const e of document.body.querySelectorAll('*')) {
		if (![...e.childNodes].some((c) => c.nodeType === 3 && c.data.trim()) || !e.checkVisibility() || e.closest('script, noscript, .hidden, .new'))
			continue;
		const [a, b] = [light(colour(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
		n++;
		if ((a + 0.05) / (b + 0.05) < 4.5)
			bad.push(e.outerHTML.slice(0, 80) + ' ' + (a + 0.05) / (b + 0.05));
	}
	return n > 100 ? bad.join('\n') : 'few texts';
})()
JS
my %light;
for my $scheme (qw(light dark))
{
	for my $width (1280, 800, 360, 320)
	{
		$browser->show_on($width, 800, $scheme);
		cmp_ok($browser->value('document.documentElement.scrollWidth'), '<=', $width, "$scheme, $width px: nothing is wider");
	}
	is($browser->value($contrast), '', '... and all text can be read');
	$light{ $browser->value('getComputedStyle(document.body).backgroundColor') } = 1;
	is($browser->value(q{Array.from(document.querySelectorAll('button')).filter((b) => b.getBoundingClientRect().height < 44).length}), 0, '... buttons are large enough for a finger');
}
is(scalar keys %light, 2, 'the two schemes differ');
$browser->show_on(360, 800, 'light');
is($browser->value(q{Math.max(...Array.from(document.querySelectorAll('#totals time'), (t) => t.getClientRects().length))}), 1, 'on a phone each time has one line');
$browser->show_on(1280, 1200, 'light');

# What a screen reader is told: roles, names and properties.
my @told = map { { role => $_->{role}{value}, name => $_->{name}{value} // '', map { $_->{name} => $_->{value}{value} } @{ $_->{properties} // [] } } }
	grep { !$_->{ignored} } @{ $browser->call('Accessibility.getFullAXTree')->{nodes} };
my $told = sub { my ($role) = @_; return join '|', map { $_->{name} } grep { $_->{role} eq $role } @told };
is($told->('banner') . $told->('main'), '', 'a screen reader: landmarks');
is(join(' ', map { my $role = $_; scalar grep { $_->{role} eq $role } @told } qw(banner main)), '1 1', '... one of each');
is($told->('region'), 'Answer|Counts by status|Totals|Newest progress', '... and the parts by name');
is($told->('heading'), 'State Hub|Answer|Counts by status|Totals|Newest progress', '... and heading');
is(scalar(() = grep { $_->{role} eq 'table' && $_->{name} =~ /^[a-z ]+: [\d,]+$|^Totals$/ } @told), @with_status, 'tables have names');
is(join('|', sort keys %{ { map { $_ => 1 } split /\|/, $told->('columnheader') } }), 'Newest change|Rows|Share|Status|Table', '... columns, too');
like($told->('rowheader'), qr/\bblocked\|doing\|done\|todo\b/, '... and rows');
is(scalar(() = grep { $_->{role} eq 'listitem' } @told), 20, 'events are a list');
is($browser->value(q{document.getElementById('events').getAttribute('role')}), 'list', '... also for those that do not call one without marks so');
is(join(' ', map { "$_->{role} $_->{live}" } grep { ($_->{live} // 'off') ne 'off' } @told), 'status polite', 'one place is read out when it changes');
is($told->('button'), 'Pause updates', 'a button to stop all that moves');

$browser->press('Tab', 9);
is($browser->value('document.activeElement.id'), 'pause', 'the first key leads to it');
isnt($browser->value('getComputedStyle(document.activeElement).outlineStyle'), 'none', '... and shows where it is');
$browser->press(' ', 32, ' ');
says(qr/^Updates are paused\. What is shown was read at \d\d:\d\d:\d\d\.$/, 'it stops by a key');
is($browser->text('pause'), 'Resume updates', '... and has another name');
$before = () = $asked->();
my $paused = $is_so->('decisions');
$node->sql(q{UPDATE decisions SET status = 'resolved' WHERE status = 'blocking'});
$node->polled(q{SELECT status FROM summary_cache_fetch()}, 'hit-revision', '... while there is a new document');
is($shown->('decisions'), $paused, '... which is not shown');
is(scalar(() = $asked->()), $before, '... nor asked for');
$browser->press('Enter', 13, "\r");
says(qr/^\Q$live\E$/, 'it goes on by a key');
shows('what was missed', 'decisions');

#
# What is stale
#
my $holder = Session->new($node);
$holder->query('BEGIN; LOCK TABLE domains');
my $stale = $shown->('tasks');
$node->sql(q{UPDATE tasks SET status = 'todo' WHERE status = 'doing'});
says(qr/^Stale: what is shown may lack recent changes/, 'while there is no new document it is stale');
like($browser->text('status'), qr/^stale/, '... by the answer, too');
is($shown->('tasks'), $stale, '... and what is shown has not changed');
ok(wait_until(sub { $browser->text('age') =~ /^([2-9]|\d\d+) s$|min/ }), '... and grows old');
$browser->shoot("$pictures/stale.png") if $pictures;
$holder->query('COMMIT');
says(qr/^\Q$live\E$/, 'until it can be built');
shows('it is', 'tasks');

# Nothing in the console so far; then what a browser says of requests that fail, and nothing else.
sub complaints
{
	return join "\n", (map { $_->{exceptionDetails}{exception}{description} // $_->{exceptionDetails}{text} } $browser->events('Runtime.exceptionThrown')),
		(map { "$_->{type} " . encode_json($_->{args}) } $browser->events('Runtime.consoleAPICalled')),
		(map { "$_->{source} $_->{text} " . ($_->{url} // '') } map { $_->{entry} } $browser->events('Log.entryAdded'));
}
is(complaints(), '', 'no error in the console');

#
# The database goes, and comes back
#
$browser->value('said.length = 0');
my $kept = $shown->('tasks');
$node->stop('fast');
says(qr/^The database is not available\. What is shown was read at \d\d:\d\d:\d\d\.$/, 'the database is stopped');
is($shown->('tasks'), $kept, '... what was shown stays');
like($browser->text('status'), qr/^[a-z-]+ \(current.*, when it was read\)$/, '... as what it was');
like($browser->value('document.title'), qr/^\x{26a0}/, '... the title has a mark');
$browser->shoot("$pictures/database.png") if $pictures;
my $early = $browser->call('Target.createTarget', url => $base)->{targetId};
my $tab = $browser->call('Target.attachToTarget', targetId => $early, flatten => JSON::PP::true)->{sessionId};
{
	local $browser->{session} = $tab;
	wait_until(sub { $browser->value(q{document.readyState === 'complete' && location.href}) eq $base });
	says(qr/^The database is not available\.$/, 'a page that is opened now says so, too');
	is($browser->value(q{Array.from(document.querySelectorAll('section > p:not([hidden])'), (p) => p.textContent).join('|')}),
		join('|', ('Nothing was read yet.') x 3), '... and that there is nothing to show');
}
$browser->call('Target.closeTarget', targetId => $early);
$node->start;
says(qr/^\Q$live\E$/, 'it is started');
$node->sql(q{INSERT INTO progress_events (author, summary) VALUES ('you', 'The database is back'); UPDATE tasks SET status = 'todo' WHERE id = 1});
shows('and all goes on', 'tasks');
is($browser->value('said.length'), 2, '... read out was that it went and came') or note $browser->value('said.join("\n")');

#
# The service
#
stop_on_port();
says(qr/^The service does not answer\. What is shown was read at /, 'the service is stopped');
start_on_port(MAX_STREAMS => 0);
says(qr/^There is no event stream\. Changes show within 5 seconds\.$/, 'it is back, without event streams');
$node->sql(q{UPDATE tasks SET status = 'done' WHERE id = 1});
shows('then changes show all the same', 'tasks');
stop_on_port();
start_on_port();
says(qr/^\Q$live\E$/, 'with event streams');
$node->sql(q{INSERT INTO progress_events (author, summary) VALUES ('you', 'The service is back')});
shows('all goes on', 'tasks');
is($browser->value('window.loaded'), 'once', '... in the same page');
is(complaints() =~ s/^network Failed to load resource: (?:net::ERR_\w+|the server responded with a status of 503 \(Service Unavailable\)) \Q$base\Estate\/(?:summary(?:\?v=\w+)?|events)\n?//mgr,
	'', 'no error in the console but requests that failed');

#
# A service that hangs, a page that nobody sees, a page that the browser keeps for "back"
#
$services{page}{process}->signal('STOP');
$browser->value('dispatchEvent(new Event("online")); 0');
says(qr/^Waiting for an answer\. What is shown was read at /, 'the service hangs');
$services{page}{process}->signal('CONT');
says(qr/^\Q$live\E$/, 'it does not');

my $other = $browser->call('Target.createTarget', url => 'about:blank')->{targetId};
ok(wait_until(sub { $browser->value('document.hidden') }), 'another tab is in front');
$node->sql(q{UPDATE tasks SET status = 'todo' WHERE id = 1});
my $behind = $asked->();
$node->sql(q{UPDATE tasks SET status = 'todo' WHERE id = 2});
$node->polled(q{SELECT status FROM summary_cache_fetch()}, 'hit-revision', '... while there is a new document');
is(scalar(() = $asked->()), $behind, '... for which the page does not ask');
$browser->call('Target.closeTarget', targetId => $other);
shows('in front again', 'tasks');

$browser->value('dispatchEvent(new PageTransitionEvent("pagehide", {persisted: true})); 0');
says(qr/^Updates are paused/, 'a page that is left has no stream');
$browser->value('dispatchEvent(new PageTransitionEvent("pageshow", {persisted: true})); 0');
says(qr/^\Q$live\E$/, '... until one comes back');

#
# What a proxy may answer instead
#
for my $case ([ 502, 'The service is not available.' ], [ 503, 'The service is not available.' ],
	[ 401, 'The summary cannot be read: the service answers 401.' ], [ 200, 'What answers is not the service: its answer is not JSON.' ])
{
	my ($code, $sentence) = @$case;
	$browser->value("window.really ??= fetch; window.fetch = async () => new Response('<html>', {status: $code}); dispatchEvent(new Event('online')); 0");
	says(qr/^\Q$sentence\E What is shown was read at /, "$code of something else");
}
$browser->value('window.fetch = really; dispatchEvent(new Event("online")); 0');
says(qr/^\Q$live\E$/, 'nothing else answers');

#
# Other documents
#
$node->sql('SELECT summary_cache_define($n$state$n$, $n$core$n$, $q$' . slurp_file("$top/test/hub/core.sql") . '$q$)');
my $debts = $node->sql(q{SELECT 'technical debt: ' || sum(n) || '|' || string_agg(severity || ' ' || n, '|' ORDER BY severity)
	FROM (SELECT severity, count(*) AS n FROM technical_debt WHERE status = 'open' GROUP BY severity) s});
ok(wait_until(sub { $shown->('technical debt') =~ /\Q$debts\E$/ }), 'a document of another shape, with its counts');
shows('and statuses', 'tasks');
$node->sql(q{SELECT summary_cache_drop('state'); SELECT summary_cache_define('state', 'core', 'SELECT 1 AS n, ARRAY[1] AS a, NULL AS nothing')});
my $none = q{Array.from(document.querySelectorAll('section')).map((s) => s.querySelector('p:not([hidden])[id]')?.textContent ?? '').join('|')};
ok(wait_until(sub { $browser->value($none) eq '|' . join '|', ('The document has none.') x 3 }), 'a document that has none of that');
$node->sql(q{SELECT summary_cache_drop('state')});
says(qr/^The summary cannot be read: the service answers 500\./, 'no document at all');

#
# The policy is in force
#
is($browser->value(q{try { document.body.innerHTML = '<b>'; 'markup' } catch (error) { error.name }}), 'TypeError', 'the page could not make markup of text');
is($browser->value(q{new Promise((done) => { const s = document.createElement('style'); s.textContent = 'body { opacity: 0 }';
	document.head.append(s); setTimeout(() => done(getComputedStyle(document.body).opacity), 100); })}), '1', '... nor take a style');
is($browser->value(qq{fetch('http://localhost:1/').then(() => 'an answer', (error) => error.name)}), 'TypeError', '... nor ask elsewhere');
like(complaints(), qr/Content Security Policy/, '... and says so');
is(join(' ', grep { !/^\Q$base\E|^data:|^about:/ } map { $_->{request}{url} } $browser->events('Network.requestWillBeSent')), '', 'nothing was asked elsewhere');

$browser->quit;
stop_on_port();
$holder->quit;
$node->stop;
done_testing();
