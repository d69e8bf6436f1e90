# Proves by which column each source of a query is found to be keyed, with random writes of other keys that change no result.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Compile;
use Node;
use Test::More;

# How many writes are tried of each query; the seed of what is random.
my $rounds = $ENV{ROUNDS} || 300;
my $seed = $ENV{SEED} || int(rand 1_000_000);
note "SEED=$seed";
srand $seed;

my $module = compile_module('keyed', 'modules/keyed.c', '-Wl,-Bsymbolic', '-D_GNU_SOURCE', "-I$FindBin::RealBin/../../src");

my $node = Node->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\njit = off\nautovacuum = off");
$node->start;

# The names of tables are those of the functions that make random rows of them.
$node->sql(qq{
	CREATE ROLE reader;
	CREATE FUNCTION keyed(text, regtype[]) RETURNS text STRICT LANGUAGE c AS '$module';
	CREATE FUNCTION keyed_hash(anyelement) RETURNS bigint STRICT LANGUAGE c AS '$module';
	-- as who is subject to policies
	CREATE FUNCTION keyed_for_reader(text, regtype[]) RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT keyed(\$1, \$2)';
});
# Collations that are nondeterministic are there only with ICU.
my $icu = $node->sql(q{SELECT EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i')}) eq 't';
$node->sql('CREATE COLLATION ci ' . ($icu ? q{(provider = icu, locale = 'und-u-ks-level2', deterministic = false)} : 'FROM "C"'));
my $nondeterministic = $icu ? qr/(?!)/ : qr/\b(?:ci|nc|loose)\b/;
$node->sql(q{
	CREATE DOMAIN whole AS int CHECK (VALUE < 1000);
	CREATE DOMAIN label AS text;
	CREATE DOMAIN loose AS text COLLATE ci;
	CREATE TYPE mood AS ENUM ('1', '2', '3', '4');
	CREATE TYPE pair AS (a int, b int);
	CREATE TYPE textrange AS RANGE (subtype = text);
	-- a base type with a hash operator class, as an extension brings it
	CREATE TYPE own;
	CREATE FUNCTION own_in(cstring) RETURNS own IMMUTABLE STRICT LANGUAGE internal AS 'int4in';
	CREATE FUNCTION own_out(own) RETURNS cstring IMMUTABLE STRICT LANGUAGE internal AS 'int4out';
	CREATE TYPE own (input = own_in, output = own_out, internallength = 4, passedbyvalue, alignment = int4);
	CREATE FUNCTION own_eq(own, own) RETURNS bool IMMUTABLE STRICT LANGUAGE internal AS 'int4eq';
	CREATE FUNCTION own_hash(own) RETURNS int IMMUTABLE STRICT LANGUAGE internal AS 'hashint4';
	CREATE FUNCTION own_hash(own, int8) RETURNS int8 IMMUTABLE STRICT LANGUAGE internal AS 'hashint4extended';
	CREATE OPERATOR = (leftarg = own, rightarg = own, function = own_eq, commutator = =, hashes);
	CREATE OPERATOR CLASS own_ops DEFAULT FOR TYPE own USING hash AS OPERATOR 1 =, FUNCTION 1 own_hash(own), FUNCTION 2 own_hash(own, int8);
	-- an operator of a user that has the name and the types, in another schema
	CREATE SCHEMA other;
	CREATE OPERATOR other.= (leftarg = int, rightarg = int, function = int4eq, hashes);

	CREATE TABLE projects (id int, name text, org int);
	CREATE TABLE tasks (id int, project_id int, title text, n int);
	CREATE TABLE notes (id bigint, project_id bigint, task_id int, body text);
	CREATE TABLE things (v varchar(10), c char(4), w whole, l label, num numeric, m mood, f float8, f4 float4, nm name, nc name COLLATE ci, ci text COLLATE ci,
		cc text COLLATE "C", o own, a int[], ov own[], j jsonb, jj json, b bit(3), p pair, r int4range, tr textrange,
		d date, ts timestamptz, oid oid, lo loose, va varchar[], wa whole[], t text, net cidr, u uuid, i2 smallint);
	CREATE TABLE computed (n int, g int GENERATED ALWAYS AS (n + 1) STORED);
	CREATE TABLE parted (project_id int, n int) PARTITION BY LIST (n);
	CREATE TABLE parted1 PARTITION OF parted FOR VALUES IN (1, 2);
	CREATE TABLE parted2 PARTITION OF parted DEFAULT;
	CREATE TABLE base (project_id int, n int);
	CREATE TABLE child (extra int) INHERITS (base);
	CREATE TABLE rls_plain (project_id int, n int);
	CREATE TABLE rls_member (project_id int, n int);
	CREATE TABLE rls_key (project_id int, n int);
	CREATE TABLE members (project_id int, n int);
	ALTER TABLE rls_plain ENABLE ROW LEVEL SECURITY;
	ALTER TABLE rls_member ENABLE ROW LEVEL SECURITY;
	CREATE POLICY p ON rls_plain USING (n > 1);
	CREATE POLICY p ON rls_member USING (EXISTS (SELECT FROM members m WHERE m.project_id = rls_member.project_id));
	CREATE MATERIALIZED VIEW mv AS SELECT project_id, n FROM tasks;
	CREATE FOREIGN DATA WRAPPER nothing;
	CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
	CREATE FOREIGN TABLE foreign_tasks (project_id int) SERVER nowhere;
	CREATE SEQUENCE seq;

	CREATE VIEW v_tasks AS SELECT id AS task, project_id AS project, n FROM tasks;
	CREATE VIEW v_view AS SELECT project, n + 1 AS n FROM v_tasks WHERE n < 4;
	CREATE VIEW v_barrier WITH (security_barrier) AS SELECT project_id, n FROM tasks WHERE n < 4;
	CREATE VIEW v_agg AS SELECT project_id, count(*) AS n FROM tasks GROUP BY project_id;
	CREATE VIEW v_distinct AS SELECT DISTINCT project_id, n FROM tasks;
	CREATE VIEW v_limit AS SELECT project_id, n FROM tasks ORDER BY project_id, n LIMIT 3;
	CREATE VIEW v_window AS SELECT project_id, row_number() OVER (ORDER BY project_id, n, id, title) AS n FROM tasks;
	CREATE VIEW v_set AS SELECT project_id, generate_series(1, n) AS n FROM tasks;
	CREATE VIEW v_volatile AS SELECT project_id, random() < 2 AS n FROM tasks;
	CREATE VIEW v_all AS SELECT project_id, n FROM tasks UNION ALL SELECT project_id::int, task_id FROM notes UNION ALL SELECT id, org FROM projects;
	CREATE VIEW v_all_plain AS SELECT project_id, n FROM tasks UNION ALL SELECT id, org FROM projects;
	CREATE VIEW v_wider AS SELECT project_id, n FROM tasks UNION ALL SELECT project_id, task_id FROM notes;
	CREATE VIEW v_union AS SELECT project_id, n FROM tasks UNION SELECT id, org FROM projects;
	CREATE VIEW v_expression AS SELECT project_id + 1 AS project_id, n FROM tasks;
	CREATE VIEW v_left AS SELECT p.id, t.project_id, t.n FROM projects p LEFT JOIN tasks t ON t.project_id = p.id;
	CREATE VIEW v_generated AS SELECT g FROM computed;
	GRANT USAGE ON SCHEMA other TO reader;
	GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader;

	-- a number from 1 to 4, or NULL
	CREATE FUNCTION one() RETURNS int LANGUAGE sql VOLATILE AS
		'SELECT CASE WHEN random() < 0.9 THEN 1 + floor(random() * 4)::int END';
	CREATE FUNCTION projects() RETURNS TABLE (id int, name text, org int) LANGUAGE sql AS 'SELECT one(), one()::text, one()';
	CREATE FUNCTION tasks() RETURNS TABLE (id int, project_id int, title text, n int) LANGUAGE sql AS
		'SELECT one(), one(), one()::text, one()';
	CREATE FUNCTION notes() RETURNS TABLE (id bigint, project_id bigint, task_id int, body text) LANGUAGE sql AS
		'SELECT one()::bigint, one()::bigint, one(), one()::text';
	CREATE FUNCTION things() RETURNS SETOF things LANGUAGE sql AS $$
		SELECT one()::varchar, one()::char(4), one()::whole, one()::label, (one()::text || '.0')::numeric, one()::text::mood,
			one()::float8, one()::float4, one()::text::name, one()::text::name, CASE WHEN random() < 0.5 THEN 'a' ELSE 'A' END || one(), one()::text, one()::text::own,
			ARRAY[one()], ARRAY[one()]::text[]::own[], to_jsonb(one()), to_json(one()), one()::bit(3), (one(), one())::pair,
			int4range(1, 1 + coalesce(one(), 1)), textrange(one()::text, NULL), '2026-01-01'::date + one(),
			'2026-01-01'::timestamptz + one() * interval '1 day', one()::oid, one()::text, ARRAY[one()]::varchar[], ARRAY[one()]::whole[],
			one()::text, ('10.0.0.' || one())::cidr, ('00000000-0000-0000-0000-00000000000' || one())::uuid, one()::smallint $$;
	CREATE FUNCTION computed() RETURNS TABLE (n int) LANGUAGE sql AS 'SELECT one()';
	CREATE FUNCTION parted() RETURNS TABLE (project_id int, n int) LANGUAGE sql AS 'SELECT one(), one()';
	CREATE FUNCTION base() RETURNS TABLE (project_id int, n int) LANGUAGE sql AS 'SELECT one(), one()';
	CREATE FUNCTION rls_plain() RETURNS TABLE (project_id int, n int) LANGUAGE sql AS 'SELECT one(), one()';
	CREATE FUNCTION rls_member() RETURNS TABLE (project_id int, n int) LANGUAGE sql AS 'SELECT one(), one()';
	CREATE FUNCTION members() RETURNS TABLE (project_id int, n int) LANGUAGE sql AS 'SELECT one(), one()';

	-- what a query returns, as who is subject to policies
	CREATE FUNCTION result(query text) RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
	DECLARE
		rows text;
	BEGIN
		EXECUTE 'SELECT string_agg(x::text, E''\n'' ORDER BY x::text COLLATE "C") FROM (' || query || ') x' INTO rows;
		RETURN coalesce(rows, '');
	END $$;
	ALTER FUNCTION result(text) OWNER TO reader;
	ALTER FUNCTION keyed_for_reader(text, regtype[]) OWNER TO reader;

	-- one write of a row that satisfies a condition before and after
	CREATE FUNCTION write(name text, condition text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		columns text := (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
			WHERE attrelid = name::regclass AND attnum > 0 AND attgenerated = '');
		one_row text := format('(tableoid, ctid) = (SELECT tableoid, ctid FROM %I WHERE %s ORDER BY random() LIMIT 1)', name, condition);
		command text;
	BEGIN
		command := CASE floor(random() * 3)
			WHEN 0 THEN format('INSERT INTO %I (%s) SELECT * FROM %I() WHERE %s', name, columns, name, condition)
			WHEN 1 THEN format('DELETE FROM %I WHERE %s', name, one_row)
			-- an assignment of no row makes all of it NULL, which is no key
			ELSE format('UPDATE %I SET (%s) = (SELECT %s FROM %I() WHERE %s) WHERE %s', name, columns, columns, name, condition, one_row)
		END;
		EXECUTE command;
		RETURN command;
	END $$;

	-- Writes of other keys: the first that changes a result, or NULL.  Now and then anything changes.
	CREATE FUNCTION tried(query text, names text[], conditions text[], rounds int, size int, seed float8, OUT wrong text, OUT results bigint) LANGUAGE plpgsql AS $$
	DECLARE
		before text;
		after text;
		command text;
		seen text[] := '{}';
		i int;
	BEGIN
		PERFORM setseed(seed);
		FOR round IN 1 .. rounds LOOP
			IF round % 5 = 1 THEN
				FOR i IN 1 .. cardinality(names) LOOP
					-- a table is never large, and never empty for long
					EXECUTE format('DELETE FROM %1$I WHERE (SELECT count(*) FROM %1$I) > %2$s AND random() < 0.5', names[i], size);
					EXECUTE (SELECT format('INSERT INTO %I (%s) SELECT r.* FROM generate_series(1, 3), LATERAL (SELECT * FROM %I() WHERE generate_series > 0) r',
						names[i], string_agg(quote_ident(attname), ', ' ORDER BY attnum), names[i])
						FROM pg_attribute WHERE attrelid = names[i]::regclass AND attnum > 0 AND attgenerated = '');
				END LOOP;
				before := result(query);
				seen := seen || md5(before);
			END IF;
			i := 1 + floor(random() * cardinality(names));
			command := write(names[i], conditions[i]);
			after := result(query);
			IF after <> before THEN
				wrong := format(E'%s\n%s\nbefore:\n%s\nafter:\n%s', query, command, before, after);
				RETURN;
			END IF;
		END LOOP;
		results := (SELECT count(DISTINCT x) FROM unnest(seen) x);
	END $$;
});

my $none = 'no condition compares one of its columns with a parameter for equality';

# Types of the parameters; values of them that the columns have; a query; what is found: of a key, the column and the
# parameter, otherwise the reason.
my @int = ('int', '2');
my @ints = ('int,int', '2,3');
my @text = ('text', '2');
my @queries = (
	# conditions
	[@int, 'SELECT * FROM tasks WHERE project_id = $1', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM tasks WHERE $1 = project_id', 'tasks=project_id$1'],
	[@int, 'SELECT count(*), array_agg(n ORDER BY n) FROM tasks WHERE project_id = $1 AND n > 1', 'tasks=project_id$1'],
	[@ints, 'SELECT * FROM tasks WHERE n = $1 AND project_id = $2', 'tasks=project_id$2'],
	[@ints, 'SELECT * FROM tasks WHERE ROW(project_id, n) = ROW($1, $2)', 'tasks=project_id$1'],
	[@ints, 'SELECT * FROM tasks WHERE project_id = $2 AND project_id = $1', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM tasks WHERE n = 1 AND (title > $1::text AND (project_id = $1 AND id > 0))', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM tasks WHERE project_id = $1 OR n = 1', 'tasks: its column "project_id" is compared with a parameter only inside OR'],
	[@int, 'SELECT * FROM tasks WHERE NOT project_id = $1', 'tasks: its column "project_id" is compared with a parameter only inside NOT'],
	[@int, 'SELECT * FROM tasks WHERE project_id <> $1', 'tasks: its column "project_id": it is compared by an operator that is not the equality of its type\'s hash family'],
	[@int, 'SELECT * FROM tasks WHERE project_id >= $1', 'tasks: its column "project_id": it is compared by an operator that is not the equality of its type\'s hash family'],
	[@int, 'SELECT * FROM tasks WHERE project_id OPERATOR(other.=) $1', 'tasks: its column "project_id": it is compared by an operator that is not PostgreSQL\'s own'],
	[@int, 'SELECT * FROM tasks WHERE project_id IS NOT DISTINCT FROM $1', 'tasks: its column "project_id" is compared with a parameter only inside NOT'],
	[@int, 'SELECT * FROM tasks WHERE project_id = ANY (ARRAY[$1])', 'tasks: the condition on its column "project_id" is not a comparison by ='],
	[@ints, 'SELECT * FROM tasks WHERE project_id IN ($1, $2)', 'tasks: the condition on its column "project_id" is not a comparison by ='],
	[@int, 'SELECT * FROM tasks WHERE project_id + 0 = $1', 'tasks: its column "project_id" and a parameter are compared only inside an expression'],
	[@int, 'SELECT * FROM tasks WHERE project_id = $1 + 0', 'tasks: its column "project_id" and a parameter are compared only inside an expression'],
	[@int, 'SELECT * FROM tasks WHERE project_id = abs($1)', 'tasks: its column "project_id" and a parameter are compared only inside an expression'],
	[@int, 'SELECT * FROM tasks WHERE (project_id = $1) IS TRUE', 'tasks: the condition on its column "project_id" is not a comparison by ='],
	[@int, 'SELECT * FROM tasks WHERE (CASE WHEN project_id = $1 THEN true END)', 'tasks: the condition on its column "project_id" is not a comparison by ='],
	[@int, 'SELECT * FROM tasks WHERE project_id = 2', "tasks: $none"],
	[@int, 'SELECT $1, count(*) FROM tasks', "tasks: $none"],
	[@int, 'SELECT count(*) FILTER (WHERE project_id = $1) FROM tasks', "tasks: $none"],
	[@int, 'SELECT * FROM tasks WHERE tasks.tableoid = $1::oid', "tasks: $none"],
	[@int, 'SELECT * FROM tasks WHERE tasks = ROW(1, $1, NULL, 1)::tasks', 'tasks: no condition compares one of its columns with a parameter for equality'],
	[@int, 'SELECT 1', ''],
	# groups, limits, windows
	[@int, 'SELECT n, count(*) FROM tasks WHERE project_id = $1 GROUP BY n HAVING count(*) > 0', 'tasks=project_id$1'],
	[@int, 'SELECT project_id, count(*) FROM tasks GROUP BY project_id HAVING project_id = $1', "tasks: $none"],
	[@int, 'SELECT DISTINCT n FROM tasks WHERE project_id = $1', 'tasks=project_id$1'],
	[@int, 'SELECT id, n, title FROM tasks WHERE project_id = $1 ORDER BY id, n, title LIMIT 2', 'tasks=project_id$1'],
	[@int, 'SELECT n, rank() OVER (ORDER BY n) FROM tasks WHERE project_id = $1', 'tasks=project_id$1'],
	[@int, 'SELECT project_id, n, count(*) FROM tasks WHERE project_id = $1 GROUP BY GROUPING SETS ((project_id), (n), ())', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM tasks WHERE project_id = $1 FOR UPDATE', 'tasks: its rows are locked (FOR UPDATE or FOR SHARE)'],
	[@int, 'SELECT * FROM v_tasks WHERE project = $1 FOR SHARE', 'tasks: its rows are locked (FOR UPDATE or FOR SHARE)'],
	[@int, 'SELECT * FROM tasks TABLESAMPLE system (50) REPEATABLE (1) WHERE project_id = $1', 'tasks: TABLESAMPLE chooses among all of its rows'],
	# joins
	[@ints, 'SELECT * FROM tasks t, projects p WHERE t.project_id = $1 AND p.id = $2', 'tasks=project_id$1', 'projects=id$2'],
	[@int, 'SELECT * FROM projects p, tasks t WHERE p.id = $1', 'projects=id$1', "tasks: $none"],
	[@int, 'SELECT * FROM projects p JOIN tasks t ON t.project_id = $1 AND p.id = $1', 'projects=id$1', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM projects p LEFT JOIN tasks t ON t.project_id = $1 AND p.id = $1', 'projects: the outer join keeps its rows, whatever its column "id" is', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM projects p RIGHT JOIN tasks t ON t.project_id = $1 AND p.id = $1', 'projects=id$1', 'tasks: the outer join keeps its rows, whatever its column "project_id" is'],
	[@int, 'SELECT * FROM projects p FULL JOIN tasks t ON t.project_id = p.id AND t.project_id = $1 AND p.id = $1', 'projects: the outer join keeps its rows, whatever its column "id" is', 'tasks: the outer join keeps its rows, whatever its column "project_id" is'],
	[@int, 'SELECT * FROM projects p FULL JOIN tasks t ON t.project_id = p.id WHERE p.id = $1', 'projects=id$1', "tasks: $none"],
	[@int, 'SELECT * FROM projects p FULL JOIN tasks t ON t.project_id = p.org WHERE p.id = $1 AND t.n = $1', 'projects=id$1', 'tasks=n$1'],
	[@int, 'SELECT * FROM projects p LEFT JOIN tasks t ON t.project_id = p.org WHERE t.n = $1', "projects: $none", 'tasks=n$1'],
	[@int, 'SELECT * FROM projects p LEFT JOIN tasks t ON t.project_id = p.org WHERE p.id = $1', 'projects=id$1', "tasks: $none"],
	[@int, 'SELECT * FROM projects p LEFT JOIN (tasks t JOIN notes x ON x.task_id = t.id AND t.n = $1 AND x.task_id = $1) ON t.project_id = p.id', "projects: $none", 'tasks=id$1', 'notes=task_id$1'],
	[@int, 'SELECT * FROM projects p LEFT JOIN (tasks t LEFT JOIN notes x ON x.task_id = t.id) ON t.project_id = p.org AND t.n = $1', "projects: $none", 'tasks=n$1', "notes: $none"],
	[@int, 'SELECT * FROM projects p LEFT JOIN (tasks t LEFT JOIN notes x ON x.task_id = t.id) ON t.project_id = p.org AND t.id = $1', "projects: $none", 'tasks=id$1', 'notes=task_id$1'],
	[@int, 'SELECT * FROM projects p LEFT JOIN (tasks t FULL JOIN notes x ON x.task_id = t.id) ON x.task_id = p.org AND t.n = $1', "projects: $none", 'tasks=n$1', "notes: $none"],
	[@int, 'SELECT * FROM (projects p LEFT JOIN tasks t ON t.project_id = p.org) JOIN notes x ON x.task_id = p.id AND t.n = $1', "projects: $none", 'tasks=n$1', "notes: $none"],
	[@int, 'SELECT * FROM (projects p LEFT JOIN tasks t ON t.n = $1) FULL JOIN notes x ON x.task_id = p.id AND x.task_id = $1', "projects: $none", 'tasks=n$1', 'notes: the outer join keeps its rows, whatever its column "task_id" is'],
	[@int, 'SELECT * FROM projects p RIGHT JOIN tasks t ON p.id = t.project_id LEFT JOIN notes x ON x.task_id = t.n WHERE t.project_id = $1', 'projects=id$1', 'tasks=project_id$1', "notes: $none"],
	# equality with what is equal to a parameter
	[@int, 'SELECT * FROM projects p JOIN tasks t ON t.project_id = p.id WHERE p.id = $1', 'projects=id$1', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM projects p JOIN tasks t ON p.id = t.project_id WHERE t.project_id = $1', 'projects=id$1', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM projects p LEFT JOIN tasks t ON t.project_id = p.id WHERE p.id = $1', 'projects=id$1', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM projects p LEFT JOIN tasks t ON t.project_id = p.id WHERE t.project_id = $1', "projects: $none", 'tasks=project_id$1'],
	[@int, 'SELECT * FROM projects p LEFT JOIN tasks t ON t.project_id = p.id AND p.id = $1', 'projects: the outer join keeps its rows, whatever its column "id" is', "tasks: $none"],
	[@int, 'SELECT * FROM tasks t, tasks u WHERE t.project_id = u.id AND u.id = $1', 'tasks=project_id$1', 'tasks=id$1'],
	[@int, 'SELECT * FROM tasks t WHERE t.id = t.project_id AND t.project_id = $1', 'tasks=id$1'],
	[@int, 'SELECT * FROM projects p JOIN tasks t ON t.project_id = p.id JOIN notes x ON x.project_id = t.project_id WHERE p.id = $1', 'projects=id$1', 'tasks=project_id$1', 'notes=project_id$1'],
	[@int, 'SELECT * FROM projects p LEFT JOIN tasks t ON t.project_id = p.id LEFT JOIN notes x ON x.project_id = t.project_id WHERE p.id = $1', 'projects=id$1', 'tasks=project_id$1', 'notes=project_id$1'],
	[@int, 'SELECT * FROM projects p JOIN tasks t ON t.project_id >= p.id WHERE p.id = $1', 'projects=id$1', "tasks: $none"],
	[@int, 'SELECT * FROM projects p JOIN tasks t ON t.project_id = p.id OR t.n = 1 WHERE p.id = $1', 'projects=id$1', "tasks: $none"],
	[@int, 'SELECT * FROM projects p JOIN tasks t ON t.title = p.name WHERE p.id = $1', 'projects=id$1', "tasks: $none"],
	# USING and NATURAL
	[@int, 'SELECT * FROM projects JOIN tasks USING (id) WHERE id = $1', 'projects=id$1', 'tasks=id$1'],
	[@int, 'SELECT * FROM projects LEFT JOIN tasks USING (id) WHERE id = $1', 'projects=id$1', 'tasks=id$1'],
	[@int, 'SELECT * FROM projects RIGHT JOIN tasks USING (id) WHERE id = $1', 'projects=id$1', 'tasks=id$1'],
	[@int, 'SELECT * FROM projects FULL JOIN tasks USING (id) WHERE id = $1', "projects: its column \"id\" and a parameter are compared only inside an expression", "tasks: its column \"id\" and a parameter are compared only inside an expression"],
	[@int, 'SELECT * FROM projects NATURAL JOIN tasks WHERE id = $1', 'projects=id$1', 'tasks=id$1'],
	[@int, 'SELECT * FROM projects NATURAL LEFT JOIN tasks WHERE tasks.id = $1', "projects: $none", 'tasks=id$1'],
	[@int, 'SELECT j.* FROM (projects p LEFT JOIN tasks t USING (id)) AS j WHERE j.n = $1', "projects: $none", 'tasks=n$1'],
	[@int, 'SELECT * FROM tasks JOIN notes USING (project_id) WHERE tasks.project_id = $1', 'tasks=project_id$1', 'notes=project_id$1'],
	# subqueries and views
	[@int, 'SELECT * FROM (SELECT * FROM tasks WHERE project_id = $1) x', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM (SELECT * FROM tasks) x WHERE project_id = $1', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM (SELECT project_id AS k FROM (SELECT id, project_id FROM tasks OFFSET 0) y) x WHERE k = $1', "tasks: $none"],
	[@int, 'SELECT * FROM (SELECT id, project_id FROM tasks WHERE project_id = $1 OFFSET 1) x WHERE false', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM v_tasks WHERE project = $1', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM v_view WHERE project = $1', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM v_view WHERE n = $1', "tasks: $none"],
	[@int, 'SELECT * FROM v_barrier WHERE project_id = $1', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM v_agg WHERE project_id = $1', "tasks: $none"],
	[@int, 'SELECT * FROM v_distinct WHERE project_id = $1', "tasks: $none"],
	[@int, 'SELECT * FROM v_limit WHERE project_id = $1', "tasks: $none"],
	[@int, 'SELECT * FROM v_window WHERE project_id = $1', "tasks: $none"],
	[@int, 'SELECT * FROM v_set WHERE project_id = $1', "tasks: $none"],
	[@int, 'SELECT * FROM v_volatile WHERE project_id = $1', "tasks: $none"],
	[@int, 'SELECT * FROM v_expression WHERE project_id = $1', "tasks: $none"],
	[@int, 'SELECT * FROM v_all_plain WHERE project_id = $1', 'tasks=project_id$1', 'projects=id$1'],
	[@int, 'SELECT * FROM v_all WHERE project_id = $1', 'tasks=project_id$1', 'projects=id$1', "notes: $none"],
	[@int, 'SELECT * FROM v_wider WHERE project_id = $1', 'notes=project_id$1', "tasks: $none"],
	[@int, 'SELECT * FROM v_union WHERE project_id = $1', "tasks: $none", "projects: $none"],
	[@int, 'SELECT project_id FROM tasks WHERE project_id = $1 UNION SELECT id FROM projects WHERE org = $1', 'tasks=project_id$1', 'projects=org$1'],
	[@int, 'SELECT id FROM tasks WHERE project_id = $1 EXCEPT SELECT id FROM projects', 'tasks=project_id$1', "projects: $none"],
	[@int, 'SELECT * FROM v_left WHERE id = $1', 'projects=id$1', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM v_left WHERE project_id = $1', "projects: $none", 'tasks=project_id$1'],
	[@int, 'SELECT * FROM projects p LEFT JOIN v_tasks v ON v.project = p.id WHERE p.id = $1', 'projects=id$1', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM projects p LEFT JOIN v_tasks v ON v.project = p.org AND v.n = $1', "projects: $none", 'tasks=n$1'],
	[@int, 'SELECT * FROM v_tasks v LEFT JOIN projects p ON v.project = p.org AND v.n = $1', "projects: $none", "tasks: $none"],
	[@int, 'SELECT * FROM (SELECT * FROM projects WHERE id = $1) p JOIN tasks t ON t.project_id = p.id', 'tasks=project_id$1', 'projects=id$1'],
	[@int, 'SELECT * FROM (SELECT id, count(*) FROM projects WHERE id = $1 GROUP BY id) p LEFT JOIN tasks t ON t.project_id = p.id', 'tasks=project_id$1', 'projects=id$1'],
	[@int, 'SELECT * FROM (SELECT $1 AS id) p JOIN tasks t ON t.project_id = p.id', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM (VALUES ($1)) p (id) JOIN tasks t ON t.project_id = p.id', 'tasks=project_id$1'],
	[@ints, 'SELECT * FROM (VALUES ($1), ($2)) p (id) JOIN tasks t ON t.project_id = p.id', "tasks: $none"],
	# LATERAL
	[@int, 'SELECT * FROM projects p, LATERAL (SELECT count(*) FROM tasks t WHERE t.project_id = p.id) x WHERE p.id = $1', 'projects=id$1', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM projects p LEFT JOIN LATERAL (SELECT n FROM tasks t WHERE t.project_id = p.id ORDER BY n LIMIT 1) x ON true WHERE p.id = $1', 'projects=id$1', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM projects p LEFT JOIN LATERAL (SELECT count(*) AS c FROM tasks t WHERE t.project_id = p.id) x ON p.id = $1', 'projects: the outer join keeps its rows, whatever its column "id" is', "tasks: $none"],
	[@int, 'SELECT * FROM projects p JOIN LATERAL (SELECT count(*) AS c FROM tasks t WHERE t.project_id = p.id) x ON p.id = $1', 'projects=id$1', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM projects p, LATERAL (SELECT p.id AS k) x JOIN tasks t ON t.project_id = x.k WHERE p.id = $1', 'projects=id$1', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM projects p, generate_series(1, (SELECT count(*) FROM tasks t WHERE t.project_id = p.id)) g WHERE p.id = $1', 'projects=id$1', 'tasks=project_id$1'],
	# sub-selects
	[@int, 'SELECT (SELECT count(*) FROM tasks t WHERE t.project_id = $1) FROM projects', "projects: $none", 'tasks=project_id$1'],
	[@int, 'SELECT p.id, (SELECT count(*) FROM tasks t WHERE t.project_id = p.id) FROM projects p WHERE p.id = $1', 'projects=id$1', 'tasks=project_id$1'],
	[@int, 'SELECT p.id, (SELECT count(*) FROM tasks t WHERE t.project_id = p.id) FROM projects p', "tasks: $none", "projects: $none"],
	[@int, 'SELECT p.id, (SELECT count(*) FROM tasks t WHERE t.project_id = p.id) FROM projects p WHERE p.id = $1 GROUP BY p.id', 'projects=id$1', 'tasks=project_id$1'],
	[@int, 'SELECT p.org, (SELECT count(*) FROM tasks t WHERE t.project_id = p.id) FROM projects p WHERE p.id = $1 GROUP BY GROUPING SETS ((p.id), (p.org), ()), p.org, p.id', 'projects=id$1', 'tasks=project_id$1'],
	[@int, 'SELECT p.id FROM projects p WHERE p.id = $1 GROUP BY p.id HAVING (SELECT count(*) FROM tasks t WHERE t.project_id = p.id) > 1', 'projects=id$1', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM projects p WHERE p.id = $1 ORDER BY (SELECT count(*) FROM tasks t WHERE t.project_id = p.id)', 'projects=id$1', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM projects p WHERE p.id = $1 AND EXISTS (SELECT FROM tasks t WHERE t.project_id = p.id AND t.n = p.org)', 'projects=id$1', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM projects p WHERE p.id = $1 AND NOT EXISTS (SELECT FROM tasks t WHERE t.project_id = p.id AND t.n = p.org)', 'projects=id$1', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM projects p WHERE p.id = $1 OR EXISTS (SELECT FROM tasks t WHERE t.project_id = p.id)', 'projects: its column "id" is compared with a parameter only inside OR', "tasks: $none"],
	[@int, 'SELECT * FROM projects p WHERE p.id = $1 AND p.org IN (SELECT n FROM tasks t WHERE t.project_id = $1)', 'projects=id$1', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM projects p WHERE p.id = $1 AND p.org IN (SELECT n FROM tasks)', 'projects=id$1', "tasks: $none"],
	[@int, 'SELECT * FROM projects p WHERE p.id = $1 AND p.org NOT IN (SELECT n FROM tasks t WHERE t.project_id = p.id AND n > 0)', 'projects=id$1', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM projects p LEFT JOIN notes x ON x.task_id = p.org AND (SELECT count(*) FROM tasks t WHERE t.project_id = p.id) > 1 WHERE p.id = $1', 'projects=id$1', "notes: $none", 'tasks=project_id$1'],
	[@int, 'SELECT * FROM notes x LEFT JOIN projects p ON x.task_id = p.org AND p.id = $1 AND (SELECT count(*) FROM tasks t WHERE t.project_id = p.id) > 1', "notes: $none", 'projects=id$1', 'tasks=project_id$1'],
	[@int, 'SELECT * FROM notes x FULL JOIN projects p ON x.task_id = p.org AND p.id = $1 WHERE (SELECT count(*) FROM tasks t WHERE t.project_id = p.id) > 1', "notes: $none", 'projects: the outer join keeps its rows, whatever its column "id" is', "tasks: $none"],
	[@int, 'SELECT p.id, (SELECT count(*) FROM tasks t WHERE t.project_id = p.id AND EXISTS (SELECT FROM notes x WHERE x.project_id = p.id AND x.task_id = t.id)) FROM projects p WHERE p.id = $1', 'projects=id$1', 'tasks=project_id$1', 'notes=project_id$1'],
	[@int, 'SELECT json_build_object(\'p\', p.name, \'t\', (SELECT json_agg(t.n ORDER BY t.n) FROM tasks t WHERE t.project_id = p.id))::text FROM projects p WHERE p.id = $1', 'projects=id$1', 'tasks=project_id$1'],
	[@int, 'SELECT (SELECT max(n) FROM tasks), (SELECT count(*) FROM tasks WHERE project_id = $1)', "tasks: in one of its scans, $none"],
	[@ints, 'SELECT (SELECT max(n) FROM tasks WHERE project_id = $1), (SELECT count(*) FROM tasks WHERE n = $2)', 'tasks=project_id$1', 'tasks=n$2'],
	[@ints, 'SELECT (SELECT max(n) FROM tasks WHERE project_id = $2), (SELECT count(*) FROM tasks WHERE project_id = $1)', 'tasks=project_id$2', 'tasks=project_id$1'],
	[@int, 'SELECT (SELECT count(*) FROM tasks WHERE project_id = $1), (SELECT count(*) FROM v_tasks WHERE project = $1)', 'tasks=project_id$1'],
	# CTEs
	[@int, 'WITH c AS (SELECT * FROM tasks WHERE project_id = $1) SELECT count(*) FROM c', 'tasks=project_id$1'],
	[@int, 'WITH c AS (SELECT * FROM tasks) SELECT count(*) FROM c WHERE project_id = $1', "tasks: $none"],
	[@int, 'WITH c AS MATERIALIZED (SELECT * FROM projects WHERE id = $1) SELECT c.id, (SELECT count(*) FROM tasks t WHERE t.project_id = c.id) FROM c', 'projects=id$1', 'tasks=project_id$1'],
	[@int, 'WITH c AS (SELECT $1::int AS k), d AS (SELECT k FROM c) SELECT t.* FROM tasks t JOIN d ON t.project_id = d.k', 'tasks=project_id$1'],
	[@int, 'WITH c AS (SELECT $1::int AS k UNION SELECT 1) SELECT t.* FROM tasks t JOIN c ON t.project_id = c.k', "tasks: $none"],
	[@int, 'SELECT (WITH c AS (SELECT n FROM tasks t WHERE t.project_id = p.id) SELECT count(*) FROM c) FROM projects p WHERE p.id = $1', 'projects=id$1', 'tasks=project_id$1'],
	[@int, 'WITH RECURSIVE c AS (SELECT id, n, 0 AS depth FROM tasks WHERE project_id = $1 UNION ALL SELECT t.id, t.n, depth + 1 FROM tasks t JOIN c ON t.id = c.n WHERE depth < 2) SELECT * FROM c', "tasks: in one of its scans, $none"],
	[@int, 'WITH RECURSIVE c AS (SELECT id, n, 0 AS depth FROM tasks WHERE project_id = $1 UNION ALL SELECT t.id, t.n, depth + 1 FROM tasks t JOIN c ON t.id = c.n WHERE depth < 2 AND t.project_id = $1) SELECT * FROM c', 'tasks=project_id$1'],
	[@int, 'WITH RECURSIVE c AS (SELECT $1::int AS k UNION SELECT k + 1 FROM c WHERE k < 4) SELECT t.* FROM tasks t JOIN c ON t.project_id = c.k', "tasks: $none"],
	# what is no table
	[@int, 'SELECT * FROM mv WHERE project_id = $1', 'mv: a materialized view has no row triggers'],
	[@int, 'SELECT * FROM foreign_tasks WHERE project_id = $1', 'foreign_tasks: it is a foreign table'],
	[@int, 'SELECT relname FROM pg_class WHERE oid = $1::oid', 'pg_class: it is a system catalog'],
	[@int, 'SELECT * FROM seq WHERE last_value = $1', 'seq: it is not a table'],
	[@int, 'SELECT table_to_xml(\'tasks\', true, true, \'\')::text FROM tasks WHERE project_id = $1', 'tasks: a function is given its name and may read all of it'],
	# trees
	[@int, 'SELECT * FROM parted WHERE project_id = $1', 'parted=project_id$1'],
	[@int, 'SELECT * FROM base WHERE project_id = $1', 'base=project_id$1'],
	[@int, 'SELECT * FROM ONLY base WHERE project_id = $1', 'base=project_id$1'],
	[@int, 'SELECT * FROM computed WHERE g = $1', 'computed=g$1'],
	# policies
	[@int, 'SELECT * FROM rls_plain WHERE project_id = $1', 'rls_plain=project_id$1'],
	[@int, 'SELECT * FROM rls_plain', "rls_plain: $none"],
	[@int, 'SELECT * FROM rls_member WHERE project_id = $1', 'rls_member=project_id$1', 'members=project_id$1'],
	[@int, 'SELECT * FROM rls_member WHERE n = $1', 'rls_member=n$1', "members: $none"],
	# types
	['bigint', '2', 'SELECT * FROM tasks WHERE project_id = $1', 'tasks=project_id$1'],
	['smallint', '2', 'SELECT * FROM notes WHERE project_id = $1', 'notes=project_id$1'],
	['bigint', '2', 'SELECT * FROM things WHERE i2 = $1', 'things=i2$1'],
	[@int, 'SELECT * FROM notes x JOIN tasks t ON t.project_id = x.project_id WHERE x.project_id = $1', 'notes=project_id$1', 'tasks=project_id$1'],
	['numeric', '2', 'SELECT * FROM tasks WHERE project_id = $1', 'tasks: its column "project_id" and a parameter are compared only inside an expression'],
	['numeric', '2', 'SELECT * FROM things WHERE num = $1', 'things=num$1'],
	[@text, 'SELECT * FROM things WHERE v = $1', 'things=v$1'],
	['varchar', '2', 'SELECT * FROM things WHERE v = $1', 'things=v$1'],
	['varchar', '2', 'SELECT * FROM things WHERE t = $1', 'things=t$1'],
	['char(4)', '2', 'SELECT * FROM things WHERE c = $1', 'things=c$1'],
	[@text, 'SELECT * FROM things WHERE c = $1', 'things: its column "c" and a parameter are compared only inside an expression'],
	['bpchar', '2', 'SELECT * FROM things WHERE t::bpchar = $1', 'things: its column "t" is compared as another type'],
	[@int, 'SELECT * FROM things WHERE w = $1', 'things=w$1'],
	['whole', '2', 'SELECT * FROM tasks WHERE project_id = $1', 'tasks=project_id$1'],
	['whole', '2', 'SELECT * FROM things WHERE w = $1', 'things=w$1'],
	[@text, 'SELECT * FROM things WHERE l = $1', 'things=l$1'],
	['mood', '2', 'SELECT * FROM things WHERE m = $1', 'things=m$1'],
	['float8', '2', 'SELECT * FROM things WHERE f = $1', 'things=f$1'],
	['float8', '2', 'SELECT * FROM things WHERE f4 = $1', 'things=f4$1'],
	['name', '2', 'SELECT * FROM things WHERE nm = $1', 'things=nm$1'],
	[@text, 'SELECT * FROM things WHERE nm = $1', 'things=nm$1'],
	['name', '2', 'SELECT * FROM things WHERE t = $1', 'things=t$1'],
	['date', '2026-01-03', 'SELECT * FROM things WHERE d = $1', 'things=d$1'],
	['timestamp', '2026-01-03', 'SELECT * FROM things WHERE d = $1', 'things: its column "d": it is compared by an operator that is not the equality of its type\'s hash family'],
	['timestamptz', '2026-01-03', 'SELECT * FROM things WHERE ts = $1', 'things=ts$1'],
	['uuid', '00000000-0000-0000-0000-000000000002', 'SELECT * FROM things WHERE u = $1', 'things=u$1'],
	['inet', '10.0.0.2', 'SELECT * FROM things WHERE net = $1', 'things=net$1'],
	['regclass', '2', 'SELECT * FROM things WHERE oid = $1', 'things=oid$1'],
	['oid', '2', 'SELECT * FROM things WHERE w::oid = $1', 'things: its column "w" is compared as another type'],
	['int[]', '{2}', 'SELECT * FROM things WHERE a = $1', 'things=a$1'],
	['own[]', '{2}', 'SELECT * FROM things WHERE ov = $1', 'things: its column "ov": it is compared as a type that has no hash function of PostgreSQL\'s own'],
	['varchar[]', '{2}', 'SELECT * FROM things WHERE va = $1', 'things=va$1'],
	['whole[]', '{2}', 'SELECT * FROM things WHERE wa = $1', 'things=wa$1'],
	['jsonb', '2', 'SELECT * FROM things WHERE j = $1', 'things=j$1'],
	['bit(3)', '010', 'SELECT * FROM things WHERE b = $1', 'things: its column "b": it is compared as a type that has no hash function of PostgreSQL\'s own'],
	['pair', '(1,2)', 'SELECT * FROM things WHERE p = $1', 'things: its column "p": it is compared as a type that has no hash function of PostgreSQL\'s own'],
	['int4range', '[1,3)', 'SELECT * FROM things WHERE r = $1', 'things=r$1'],
	['textrange', '[2,)', 'SELECT * FROM things WHERE tr = $1', 'things: its column "tr": it is compared as a type that has no hash function of PostgreSQL\'s own'],
	['own', '2', 'SELECT * FROM things WHERE o = $1', 'things: its column "o": it is compared by an operator that is not PostgreSQL\'s own'],
	# collations
	['text', 'a2', 'SELECT * FROM things WHERE ci = $1', 'things=ci$1'],
	[@text, 'SELECT * FROM things WHERE cc = $1', 'things=cc$1'],
	[@text, 'SELECT * FROM things WHERE cc = $1 COLLATE "POSIX"', 'things: its column "cc" and a parameter are compared only inside an expression'],
	['loose', '2', 'SELECT * FROM things WHERE t = $1', 'things: its column "t" is compared by another collation than its own, and one of them is nondeterministic'],
	['loose', '2', 'SELECT * FROM things WHERE lo = $1', 'things=lo$1'],
	['loose', 'a2', 'SELECT * FROM things WHERE nc = $1', 'things: its column "nc": it is compared with another type by a nondeterministic collation'],
	['text', 'a2', 'SELECT x.* FROM things x JOIN tasks t ON t.title = x.ci WHERE x.ci = $1', 'things=ci$1', 'tasks: its column "title" is compared by another collation than its own, and one of them is nondeterministic'],
);

# The same tables for both: what the function says of a query, by lines.
sub found
{
	my ($query, $types) = @_;
	(my $quoted = $query) =~ s/'/''/g;
	my $text = $node->sql("SELECT keyed_for_reader('$quoted', '{$types}')");

	return map { /^(\S+) keyed by (\S+) = \$(\d+)$/ ? "$1=$2\$$3" : s/^(\S+) not keyed: /$1: /r } split /\n/, $text;
}

# The query with values in the place of its parameters.
sub with_values
{
	my ($query, $types, $values) = @_;
	my @types = split /,/, $types;
	my @values = @types > 1 ? split(/,/, $values) : ($values);

	$_ = $_ eq 'NULL' ? $_ : "'$_'" for @values;
	$query =~ s/\$(\d+)/($values[$1 - 1]::$types[$1 - 1])/g;
	return $query;
}

# Tries writes of other keys, of tables with about so many rows; returns what was wrong, how many results
# there were, and what failed.
sub tried
{
	my ($query, $types, $values, $keys, $size) = @_;
	my %conditions;

	push @{ $conditions{ $keys->[$_]{table} } }, with_values("($keys->[$_]{column} = \$$keys->[$_]{parameter}) IS NOT TRUE", $types, $values)
		for 0 .. $#$keys;
	my @tables = sort keys %conditions;
	my $names = join ', ', map { "'$_'" } @tables;
	my $conditions = join ', ', map { '$c$' . join(' AND ', @{ $conditions{$_} }) . '$c$' } @tables;
	my (undef, $answer, $error) = $node->psql('postgres', sprintf "SET statement_timeout = '20s'; SELECT coalesce(wrong, ''), results FROM tried(\$q\$%s\$q\$, ARRAY[%s], ARRAY[%s], %d, %d, %f)",
		with_values($query, $types, $values), $names, $conditions, $rounds, $size, rand);

	return ($1, $2, $error) if $answer =~ /\A(.*)\|(\d*)\z/s;
	return ('', 0, $error);
}

# A table that is not keyed has rows as well.
sub fill
{
	$node->sql(join ' ', map { "TRUNCATE $_; INSERT INTO $_ SELECT r.* FROM generate_series(1, 12), LATERAL (SELECT * FROM $_() WHERE generate_series > 0) r;" }
		qw(projects tasks notes things parted base rls_plain rls_member members));
	return;
}

my ($ntried, $nquiet) = (0, 0);
fill();
for (@queries)
{
	my ($types, $values, $query, @expected) = @$_;
	next if "$query $types" =~ $nondeterministic;
	my @found = found($query, $types);
	my @keys = map { /^(\w+)=(\w+)\$(\d+)$/ ? { table => $1, column => $2, parameter => $3 } : () } @found;

	is(join("\n", sort @found), join("\n", sort grep { $_ ne '' } @expected), "$query ($types)");
	next if !@keys || grep { $_->{table} eq 'computed' } @keys;
	my ($wrong, $results, $error) = tried($query, $types, $values, \@keys, 20);
	is($wrong . $error, '', '... and no other key changes the result');
	$ntried++;
	$nquiet++ if $results eq '' || $results < 3;
}
cmp_ok($ntried, '>', 60, 'queries were tried');
cmp_ok($nquiet, '<', $ntried / 5, '... of which most have changing results') if $rounds >= 100;

# Queries at random, with the columns that what they read has
my %columns = (
	projects => [qw(id org)], tasks => [qw(id project_id n)], notes => [qw(project_id task_id)], v_view => [qw(project n)],
	v_agg => [qw(project_id n)], v_all_plain => [qw(project_id n)], v_left => [qw(id project_id n)], v_limit => [qw(project_id n)]);
our @names = (qw(projects tasks notes) x 2, keys %columns);
my $nitems = 0;

sub any { return $_[ int rand @_ ]; }

# A condition on these columns and those of outer levels.
sub random_condition
{
	my ($depth, $own, @outer) = @_;
	my $column = any(@$own);
	my $kind = rand;

	return "$column = " . any('$1', '$1', '$2') if $kind < 0.35;
	return any('$1', '$2') . " = $column" if $kind < 0.4;
	return "$column = " . any(@$own, @outer) if $kind < 0.8;
	return "($column = \$1 OR " . any(@$own, @outer) . ' = 1)' if $kind < 0.84;
	return any('NOT EXISTS', 'EXISTS') . ' (' . random_query($depth + 1, @$own, @outer) . ')' if $kind < 0.9 && $depth < 2;
	return "$column " . any('<', '<=', 'IS DISTINCT FROM') . ' ' . any(@$own, '$1');
}

sub random_conditions
{
	return join ' AND ', map { random_condition(@_) } 1 .. 1 + int rand 2.4;
}

# A part of FROM; adds its columns.  Columns to the left are there for LATERAL only.
sub random_from
{
	my ($n, $depth, $columns, $lateral, @outer) = @_;

	if ($n == 1)
	{
		my $alias = 'x' . ++$nitems;
		if ($depth < 2 && rand() < 0.25)
		{
			push @$columns, "$alias.k1", "$alias.k2";
			return 'LATERAL (' . random_query($depth + 1, @$lateral, @outer) . ") $alias";
		}
		my $name = any(@names);
		push @$columns, map { "$alias.$_" } @{ $columns{$name} };
		return "$name $alias";
	}
	my $left = 1 + int rand($n - 1);
	my $join = any('JOIN', 'LEFT JOIN', 'LEFT JOIN', 'RIGHT JOIN', 'FULL JOIN');
	my (@left, @right);
	my $larg = random_from($left, $depth, \@left, $lateral, @outer);
	my $rarg = random_from($n - $left, $depth, \@right, [ @$lateral, $join =~ /^(JOIN|LEFT)/ ? @left : () ], @outer);
	push @$columns, @left, @right;
	return "($larg $join $rarg ON " . any(@left) . ' = ' . any(@right) . (rand() < 0.5 ? ' AND ' . random_conditions($depth, [ @left, @right ], @outer) : '') . ')';
}

# A query of two columns, k1 and k2.
sub random_query
{
	my ($depth, @outer) = @_;
	my @columns;
	my $with = '';
	my $name = 'c' . ++$nitems;
	# for what is below only
	local $columns{$name} = [qw(k1 k2)];
	local @names = @names;
	if ($depth < 2 && rand() < 0.2)
	{
		$with = "WITH $name AS (" . random_query($depth + 1, @outer) . ') ';
		push @names, ($name) x 8;
	}
	my $from = random_from(1 + int rand(3.5 - $depth), $depth, \@columns, [], @outer);
	my $where = rand() < 0.75 ? ' WHERE ' . random_conditions($depth, \@columns, @outer) : '';
	my $first = any(@columns);
	my $second = $depth < 2 && rand() < 0.3 ? '(SELECT count(*) FROM (' . random_query($depth + 1, @columns, @outer) . ') c)' : any(@columns, @outer, '$1::int');
	my $kind = rand;

	return "${with}SELECT $first AS k1, count(*) AS k2 FROM $from$where GROUP BY $first" if $kind < 0.1;
	return "${with}SELECT DISTINCT $first AS k1, $second AS k2 FROM $from$where" if $kind < 0.2;
	return "${with}SELECT $first AS k1, $second AS k2 FROM $from$where ORDER BY 1, 2 LIMIT 2" if $kind < 0.3;
	return "${with}SELECT $first AS k1, $second AS k2 FROM $from$where UNION ALL SELECT id, n FROM tasks WHERE project_id = \$1" if $kind < 0.35;
	return "${with}SELECT $first AS k1, $second AS k2 FROM $from$where";
}

my $nrandom = $ENV{QUERIES} || 40;
my ($nkeyed, $nwrong) = (0, 0);
$rounds = 60;
for (1 .. 100 * $nrandom)
{
	my $query = random_query(0);
	my @keys = map { /^(\w+)=(\w+)\$(\d+)$/ ? { table => $1, column => $2, parameter => $3 } : () } found($query, 'int,int');
	next if !@keys;
	fill();
	my ($wrong, $results, $error) = tried($query, 'int,int', any('2,3', '2,3', '2,3', '2,2', 'NULL,3'), \@keys, 7);
	if ($wrong ne '')
	{
		$nwrong++;
		diag "SEED=$seed: $wrong";
	}
	elsif ($error ne '')
	{
		# not every condition is possible there, and a join may be too large
		like($error, qr/FULL JOIN is only supported|statement timeout/, 'a random query fails for what is known');
		next;
	}
	last if ++$nkeyed == $nrandom;
}
is($nkeyed, $nrandom, 'random queries that are keyed');
is($nwrong, 0, '... which no other key changes');
$rounds = 300;

# The trial sees what would be wrong
for (
	['SELECT * FROM tasks WHERE project_id >= $1', 'tasks', 'project_id'],
	['SELECT * FROM projects p LEFT JOIN tasks t ON t.project_id = p.org AND p.id = $1', 'projects', 'id'],
	['SELECT * FROM v_window WHERE project_id = $1', 'tasks', 'project_id'],
	['SELECT * FROM projects p FULL JOIN tasks t ON t.project_id = p.id AND t.project_id = $1', 'tasks', 'project_id'],
	['SELECT (SELECT sum(n) FROM tasks), (SELECT count(*) FROM tasks WHERE project_id = $1)', 'tasks', 'project_id'])
{
	my ($query, $table, $column) = @$_;
	my ($wrong) = tried($query, @int, [{ table => $table, column => $column, parameter => 1 }], 20);
	isnt($wrong, '', "seen as wrong: $query");
}

# Values that are equal have the same hash, each by its own type
for (
	['2::smallint', '2::int'], ['2::int', '2::bigint'], ['-5::smallint', '(-5)::bigint'], ['2.5::float4', '2.5::float8'],
	['-0.0::float8', '0.0::float8'], ['2.50::numeric', '2.5::numeric'], ["'ab'::text", "'ab'::varchar"], ["'ab'::name", "'ab'::text"],
	["'ab'::char(4)", "'ab  '::bpchar"], ['2::whole', '2::bigint'], ["'x'::label", "'x'::text"], ["'10.0.0.1'::cidr", "'10.0.0.1'::inet"],
	["'aB'::text COLLATE ci", "'Ab'::text COLLATE ci"], ["'24:00'::interval", "'1 day'::interval"], ["'{1}'::whole[]", "'{1}'::whole[]"],
	["'2'::mood", "'2'::mood"])
{
	my ($first, $second) = @$_;
	next if $first =~ $nondeterministic;
	is($node->sql("SELECT keyed_hash($first) = keyed_hash($second)"), 't', "the hash of $first is that of $second");
}
for ('2::text::own', "'{2}'::own[]", 'ROW(1, 2)::pair', "'010'::bit(3)", "'[2,)'::textrange")
{
	my $value = s/^2::text::own$/'2'::own/r;
	is($node->sql("SELECT keyed_hash($value) IS NULL"), 't', "$value has no hash");
}
isnt($node->sql('SELECT keyed_hash(1)'), $node->sql('SELECT keyed_hash(2)'), 'other values have other hashes');

$node->stop;
done_testing();
