# Proves that an upgrade leaves what a fresh install makes, object by object, for every upgrade script; and that the comparison notices what upgrade scripts forget.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Test::More;

use Versions;

my $node = Node->new('main');
$node->init;
$node->start;
if (($node->psql('postgres', q{SELECT xmlcomment('')}))[0] != 0)
{
	$node->stop;
	plan skip_all => 'the server has no XML, in which the catalogs are compared';
}
my $versions = Versions->new($node);

# All that makes up the extension, a line a property, with names for OIDs.
# Of what is in two orders by chance (ACLs, the dump's configuration) the order does not count; that of
# a table's columns does.
my $describe = <<'SQL';
SET search_path = pg_catalog;
CREATE FUNCTION pg_temp.acl(acl aclitem[], kind "char", owner oid) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s %s%s', CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
			privilege_type, CASE WHEN is_grantable THEN ' grantable' END), ', ' ORDER BY grantee, privilege_type)
	FROM aclexplode(coalesce(acl, acldefault(kind, owner)))
$$;
CREATE TEMP VIEW member AS
	SELECT classid, objid, i.type || ' ' || i.identity AS name
	FROM pg_depend d, pg_identify_object(classid, objid, 0) i
	WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
	  AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'summary_cache');
-- tables, views, and what is behind composite types
CREATE TEMP VIEW relation AS
	SELECT c.*, name FROM member JOIN pg_class c ON classid = 'pg_class'::regclass AND c.oid = objid
	UNION ALL
	SELECT c.*, name FROM member JOIN pg_type t ON classid = 'pg_type'::regclass AND t.oid = objid
		JOIN pg_class c ON c.oid = t.typrelid;
CREATE TEMP VIEW property (name, property, value) AS
	SELECT name, 'member', '' FROM member
	UNION ALL
	SELECT name, 'comment', obj_description(objid, classid::regclass::text::name) FROM member
	UNION ALL
	SELECT name, 'security label', label FROM member JOIN pg_seclabels l ON (classoid, objoid) = (classid, objid)
	UNION ALL
	SELECT name, 'rights that pg_dump leaves out, of column ' || objsubid, pg_temp.acl(initprivs, 'f', 0)
		FROM member JOIN pg_init_privs ON (classoid, objoid) = (classid, objid)
	UNION ALL
	SELECT name, 'another dependency', format('%s: %s', deptype, (pg_identify_object(refclassid, refobjid, refobjsubid)).identity)
		FROM member JOIN pg_depend d USING (classid, objid) WHERE deptype <> 'e'
	UNION ALL
	SELECT name, p.* FROM member JOIN pg_proc f ON classid = 'pg_proc'::regclass AND f.oid = objid, LATERAL (VALUES
		('definition', CASE WHEN prokind IN ('f', 'p', 'w') THEN pg_get_functiondef(f.oid) ELSE to_jsonb(f)::text END),
		('owner', proowner::regrole::text),
		('rights', pg_temp.acl(proacl, 'f', proowner))) p
	UNION ALL
	SELECT name, p.* FROM relation r, LATERAL (VALUES
		('kind', format('%s %s %s', relkind, relpersistence, relam)),
		('options', reloptions::text),
		('row security', format('%s %s', relrowsecurity, relforcerowsecurity)),
		('replica identity', relreplident::text),
		('owner', relowner::regrole::text),
		('rights', pg_temp.acl(relacl, (CASE relkind WHEN 'S' THEN 's' ELSE 'r' END)::"char", relowner)),
		('query', CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(r.oid) END),
		('content', CASE WHEN relkind = 'r' THEN query_to_xml(format('SELECT * FROM %s ORDER BY 1', r.oid::regclass), true, false, '')::text END)) p
	UNION ALL
	SELECT name, format('column %s (%s)', attnum, attname), concat_ws(' | ', attisdropped,
		CASE WHEN NOT attisdropped THEN format_type(atttypid, atttypmod) END, attnotnull, attidentity, attgenerated, attstorage, attcompression,
		attstattarget, attcollation::regcollation, attislocal,
		(SELECT string_agg(o, ',' ORDER BY o) FROM unnest(attoptions) o WHERE o LIKE 'n\_distinct%'), 'default ' || pg_get_expr(adbin, adrelid),
		'rights ' || attacl::text, 'comment ' || col_description(r.oid, attnum))
		FROM relation r JOIN pg_attribute a ON attrelid = r.oid AND attnum > 0
		LEFT JOIN pg_attrdef d ON (adrelid, adnum) = (attrelid, attnum)
	UNION ALL
	SELECT name, 'constraint ' || conname, concat_ws(' | ', pg_get_constraintdef(c.oid), convalidated, obj_description(c.oid, 'pg_constraint'))
		FROM relation r JOIN pg_constraint c ON conrelid = r.oid
	UNION ALL
	SELECT name, 'index', concat_ws(' | ', pg_get_indexdef(indexrelid), indisvalid, indisreplident, indisclustered, obj_description(indexrelid, 'pg_class'))
		FROM relation r JOIN pg_index ON indrelid = r.oid
	UNION ALL
	SELECT name, 'trigger ' || tgname, concat_ws(' | ', pg_get_triggerdef(t.oid), 'enabled', tgenabled, obj_description(t.oid, 'pg_trigger'))
		FROM relation r JOIN pg_trigger t ON tgrelid = r.oid
	UNION ALL
	SELECT name, 'rule ' || rulename, concat_ws(' | ', pg_get_ruledef(w.oid), ev_enabled, obj_description(w.oid, 'pg_rewrite'))
		FROM relation r JOIN pg_rewrite w ON ev_class = r.oid
	UNION ALL
	SELECT name, 'policy ' || polname, concat_ws(' | ', polcmd, polpermissive, polroles::regrole[], pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
		FROM relation r JOIN pg_policy p ON polrelid = r.oid
	UNION ALL
	SELECT name, p.* FROM member JOIN pg_type t ON classid = 'pg_type'::regclass AND t.oid = objid, LATERAL (VALUES
		('type', concat_ws(' | ', typtype, typlen, typbyval, typcategory, typispreferred, typdelim, typinput, typoutput, typreceive, typsend,
			typmodin, typmodout, typanalyze, typalign, typstorage, typnotnull, format_type(typbasetype, typtypmod), typdefault)),
		('labels', (SELECT string_agg(enumlabel, ', ' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid)),
		('constraints', (SELECT string_agg(conname || ' ' || pg_get_constraintdef(c.oid), ', ' ORDER BY conname) FROM pg_constraint c WHERE contypid = t.oid)),
		('owner', typowner::regrole::text),
		('rights', pg_temp.acl(typacl, 'T', typowner))) p
	UNION ALL
	SELECT name, p.* FROM member JOIN pg_namespace n ON classid = 'pg_namespace'::regclass AND n.oid = objid, LATERAL (VALUES
		('owner', nspowner::regrole::text),
		('rights', pg_temp.acl(nspacl, 'n', nspowner))) p
	UNION ALL
	SELECT 'extension', p.* FROM pg_extension e, LATERAL (VALUES
		('owner', extowner::regrole::text),
		('schema', extnamespace::regnamespace::text),
		('relocatable', extrelocatable::text),
		('comment', obj_description(e.oid, 'pg_extension')),
		('what pg_dump carries', (SELECT string_agg(format('%s %L', c::regclass, condition), ', ' ORDER BY c::regclass::text)
			FROM unnest(extconfig, extcondition) AS u (c, condition)))) p
		WHERE extname = 'summary_cache';
-- a line each
SELECT name, property, replace(value, E'\n', ' ') FROM property ORDER BY name COLLATE "C", property COLLATE "C", value COLLATE "C";
-- of these nothing but the name would be compared
SELECT 'not described', name FROM member WHERE classid NOT IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_type'::regclass, 'pg_namespace'::regclass);
SQL

# What the extension is made of after some statements, which are rolled back.
sub objects
{
	my ($sql) = @_;

	return $node->safe_psql('postgres', "BEGIN; CREATE SCHEMA s; $sql; $describe ROLLBACK;");
}

sub fresh
{
	my ($version) = @_;

	return objects("CREATE EXTENSION summary_cache SCHEMA s VERSION '$version'");
}

sub upgraded
{
	my ($from, $to) = @_;

	return objects("CREATE EXTENSION summary_cache SCHEMA s VERSION '$from'; ALTER EXTENSION summary_cache UPDATE TO '$to'");
}

# The lines that only one of two descriptions has.
sub difference
{
	my ($wanted, $got) = @_;
	my %count;

	$count{$_}-- foreach split /\n/, $wanted;
	$count{$_}++ foreach split /\n/, $got;
	return join('', map { ($count{$_} > 0 ? '+' : '-') . "$_\n" } grep { $count{$_} } sort keys %count);
}

#
# The scripts that there are
#
my $version = $versions->version;
my $fresh = fresh($version);
cmp_ok(() = $fresh =~ /\n/g, '>', 200, 'a fresh install is described');
unlike($fresh, qr/not described/, '... in all its kinds of objects');

# What a user of each version that can be upgraded may have in its tables.
my %definitions = (
	'1.0' => q{INSERT INTO summary_cache.definition (summary, section, position, refresh, owner, query, sources, reads, calls, keys, settings)
		VALUES ('kept', 'one', 1, 'background', current_user::regrole, 'SELECT 1 AS one', '{}', '{}', '{}', '{one}', '{search_path=pg_catalog}');
		INSERT INTO summary_cache.option (summary, option, value) VALUES ('kept', 'max_stale_age', '60')});
my $kept = q{SELECT summary, section, query FROM summary_cache.definition; SELECT summary, option, value FROM summary_cache.option};

foreach my $from (split /\n/, $node->safe_psql('postgres', qq{
	SELECT source FROM pg_extension_update_paths('summary_cache') WHERE target = '$version' AND path IS NOT NULL}))
{
	is(difference($fresh, upgraded($from, $version)), '', "upgraded from $from, $version is the same");
	ok($definitions{$from}, "... there is a sample of what $from holds")
	  and is($node->safe_psql('postgres', qq{
		BEGIN; SET LOCAL client_min_messages = error; CREATE EXTENSION summary_cache VERSION '$from'; $definitions{$from};
		ALTER EXTENSION summary_cache UPDATE; SELECT summary_cache_get('kept'); $kept; ROLLBACK}),
		qq({"one":1}\nkept|one|SELECT 1 AS one\nkept|max_stale_age|60), '... which is served after the upgrade');
}

#
# A next version that is made up, so that the comparison is known to compare
#
my $added = <<'SQL';
CREATE TABLE summary_cache_extra (
    id integer PRIMARY KEY,
    note text NOT NULL DEFAULT '' CHECK (note <> 'x'),
    amount numeric(10, 2)
);
COMMENT ON TABLE summary_cache_extra IS 'more';
COMMENT ON COLUMN summary_cache_extra.note IS 'words';
REVOKE ALL ON summary_cache_extra FROM PUBLIC;
CREATE INDEX ON summary_cache_extra (note);
SELECT pg_catalog.pg_extension_config_dump('summary_cache_extra', 'WHERE id > 0');
INSERT INTO summary_cache_extra VALUES (0, 'ours');
CREATE TRIGGER summary_cache_statement
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON summary_cache_extra
    FOR EACH STATEMENT EXECUTE FUNCTION summary_cache_touch('definition');
ALTER TABLE summary_cache_extra ENABLE ALWAYS TRIGGER summary_cache_statement;
CREATE FUNCTION summary_cache_extra_notes() RETURNS SETOF text
    AS 'SELECT note FROM @extschema@.summary_cache_extra' LANGUAGE sql STABLE;
COMMENT ON FUNCTION summary_cache_extra_notes() IS 'the words';
REVOKE ALL ON FUNCTION summary_cache_extra_notes() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION summary_cache_extra_notes() TO pg_monitor;
CREATE VIEW summary_cache_more WITH (security_barrier) AS SELECT id, note FROM summary_cache_extra WHERE id > 0;
CREATE TYPE summary_cache_colour AS ENUM ('red', 'green');
ALTER TABLE summary_cache.option ADD COLUMN since timestamptz;
ALTER TABLE summary_cache.option ADD COLUMN until timestamptz;
ALTER TYPE summary_cache_answer ADD ATTRIBUTE age interval;
ALTER FUNCTION summary_cache_reset_stats() COST 10;
SQL
my $guard = "\\echo Use ALTER EXTENSION. \\quit\n";

$versions->add('1.1test', $versions->script . $added);
$versions->add("$version--1.1test", $guard . $added);
$fresh = fresh('1.1test');
like($fresh, qr/summary_cache_extra/, 'the made-up version has its objects');
is(difference($fresh, upgraded($version, '1.1test')), '', 'a right upgrade script leaves what a fresh install makes');

# A user's definitions.
is($node->safe_psql('postgres', qq{
	BEGIN; SET LOCAL client_min_messages = error; CREATE EXTENSION summary_cache VERSION '$version'; $definitions{$version};
	ALTER EXTENSION summary_cache UPDATE TO '1.1test'; $kept; ROLLBACK}),
	"kept|one|SELECT 1 AS one\nkept|max_stale_age|60", '... and the definitions in their place');

# What is wrong in the upgrade script (a pattern and what stands there instead), and how the difference
# tells.
my @mistakes = (
	[ 'REVOKE on a function', qr/REVOKE .* FUNCTION .*;\n/, '', qr/^\+function .*extra_notes.*\|rights\|PUBLIC EXECUTE/m ],
	[ 'GRANT', qr/GRANT .*;\n/, '', qr/^-function .*extra_notes.*\|rights\|.*pg_monitor EXECUTE/m ],
	[ 'comment on a table', qr/COMMENT ON TABLE .*;\n/, '', qr/^-table .*extra\|comment\|more$/m ],
	[ 'comment on a column', qr/COMMENT ON COLUMN .*;\n/, '', qr/^-table .*extra\|column 2 .*comment words$/m ],
	[ 'comment on a function', qr/COMMENT ON FUNCTION .*;\n/, '', qr/^-function .*extra_notes.*\|comment\|the words$/m ],
	[ 'comment of another wording', qr/'more'/, "'less'", qr/^\+table .*extra\|comment\|less$/m ],
	[ 'index', qr/CREATE INDEX .*;\n/, '', qr/^-table .*extra\|index\|CREATE INDEX/m ],
	[ 'check', qr/ CHECK \(.*\)/, '', qr/^-table .*extra\|constraint .*CHECK/m ],
	[ 'NOT NULL', qr/NOT NULL DEFAULT/, 'DEFAULT', qr/^-table .*extra\|column 2 \(note\)/m ],
	[ 'default', qr/ DEFAULT ''/, '', qr/^-table .*extra\|column 2 \(note\).*default ''/m ],
	[ 'scale of a type', qr/numeric\(10, 2\)/, 'numeric(10, 3)', qr/^\+table .*extra\|column 3 .*numeric\(10,3\)/m ],
	[ 'order of columns', qr/since/, 'until', qr/^\+table .*option\|column 4 \(until\)/m, qr/until timestamptz;\n(?=ALTER TYPE)/, "since timestamptz;\n" ],
	[ 'column that was there before', qr/ALTER TABLE \S+ ADD COLUMN since/, "ALTER TABLE summary_cache.option ADD COLUMN old int;\nALTER TABLE summary_cache.option DROP COLUMN old;\n\$&", qr/^\+table .*option\|column 4 \(\.{8}pg\.dropped/m ],
	[ 'dump of a table', qr/SELECT pg_catalog.*;\n/, '', qr/^-extension\|what pg_dump carries\|.*extra/m ],
	[ 'condition of a dump', qr/WHERE id > 0'\)/, "')", qr/^-extension\|what pg_dump carries\|.*id > 0/m ],
	[ 'row', qr/INSERT .*;\n/, '', qr/<note>ours<\/note>/m ],
	[ 'trigger', qr/CREATE TRIGGER[^;]*;\nALTER.*;\n/, '', qr/^-table .*extra\|trigger summary_cache_statement/m ],
	[ 'ENABLE ALWAYS', qr/ALTER TABLE .* TRIGGER .*;\n/, '', qr/^\+table .*extra\|trigger .*enabled \| O/m ],
	[ 'volatility', qr/STABLE/, '', qr/^-function .*extra_notes.*STABLE/m ],
	[ 'body', qr/SELECT note FROM/, 'SELECT DISTINCT note FROM', qr/^\+function .*extra_notes.*DISTINCT/m ],
	[ 'cost', qr/ALTER FUNCTION .*;\n/, '', qr/^-function .*reset_stats.*COST 10/m ],
	[ 'query of a view', qr/ WHERE id > 0;/, ';', qr/^-view .*more\|query.*WHERE.*id > 0/m ],
	[ 'option of a view', qr/ WITH \(security_barrier\)/, '', qr/^-view .*options\|\{security_barrier=true\}/m ],
	[ 'label of an enum', qr/'red', 'green'/, "'green', 'red'", qr/^\+type .*colour\|labels\|green, red/m ],
	[ 'attribute of a type', qr/ALTER TYPE .*;\n/, '', qr/^-type .*answer\|column 5 \(age\)/m ],
	[ 'whole view', qr/CREATE VIEW .*;\n/, '', qr/^-view .*more\|member/m ],
	[ 'object too many', qr/\z/, "CREATE SEQUENCE summary_cache_left_over;\n", qr/^\+sequence .*left_over\|member/m ],
);
my $n = 0;
foreach my $mistake (@mistakes)
{
	my ($name, $pattern, $instead, $tells, $and, $then) = @$mistake;
	my $script = $added;

	$n++;
	$instead =~ s/\$&/ALTER TABLE summary_cache.option ADD COLUMN since/;
	$script =~ s/$pattern/$instead/ or die "nothing to mistake: $name";
	$script =~ s/$and/$then/ or die "nothing to mistake: $name" if $and;
	$versions->add("$version--1.1mistake$n", $guard . $script);
	like(difference($fresh, upgraded($version, "1.1mistake$n")), $tells, "noticed: $name");
}

$node->stop;
done_testing();
