-- Proves which types a parameter may have: base types of PostgreSQL's own that have a default hash operator class, or are the same bytes as one that has, and enums.

SET client_min_messages = error;
CREATE EXTENSION summary_cache SCHEMA public;
CREATE SCHEMA regress_types;
SET search_path = regress_types, public;
\pset format unaligned
\pset tuples_only

CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE DOMAIN whole AS int;
CREATE TYPE pair AS (a int, b int);
CREATE TYPE own_range AS RANGE (subtype = int);

-- the SQLSTATE of a definition with a parameter of a type; 00000: it is accepted
CREATE FUNCTION declared(type regtype) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM public.summary_cache_define('t', 'main', 'SELECT $1 IS NULL AS x', parameters => ARRAY['p ' || type::text]);
    RETURN '00000';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;

CREATE TABLE tried AS SELECT t.oid::regtype AS type, t.typtype, t.typcategory,
    EXISTS (SELECT FROM pg_opclass c JOIN pg_am a ON a.oid = c.opcmethod WHERE a.amname = 'hash' AND c.opcdefault AND c.opcintype = t.oid) AS hashed
    FROM pg_type t WHERE t.typtype <> 'p' AND t.typnamespace = 'pg_catalog'::regnamespace AND t.typrelid = 0 AND t.typcategory <> 'A' AND t.typisdefined;
ALTER TABLE tried ADD code text;
UPDATE tried SET code = declared(type);

-- those that have a hash operator class and are not accepted: a name that means one with a length
SELECT type, code FROM tried WHERE typtype = 'b' AND hashed AND code <> '00000' ORDER BY type::text;
-- those that are accepted and neither have one nor are the same bytes as a type that has
SELECT type FROM tried t WHERE code = '00000' AND NOT hashed AND NOT EXISTS (
    SELECT FROM pg_cast c JOIN tried o ON o.type = c.casttarget WHERE c.castsource = t.type AND c.castmethod = 'b' AND o.hashed);
SELECT typtype, code FROM tried WHERE typtype <> 'b' GROUP BY 1, 2 ORDER BY 1, 2;
SELECT t, declared(t) FROM unnest('{mood,whole,pair,own_range,mood[],whole[],int[],text[],jsonb,json,xml,money,point}'::regtype[]) t;

-- which value an input means is up to the session's settings, and which document it is is not
SELECT public.summary_cache_define('day', 'main', $$SELECT $1::text AS d$$, parameters => '{d date}');
SET datestyle = 'ISO, DMY';
SELECT status, document FROM public.summary_cache_fetch('day', parameters => '{1.2.2026}');
SET datestyle = 'ISO, MDY';
SELECT status, document FROM public.summary_cache_fetch('day', parameters => '{2.1.2026}');
SELECT status, document FROM public.summary_cache_fetch('day', parameters => '{2026-02-01}');

DROP EXTENSION summary_cache;
SET client_min_messages = error;
DROP SCHEMA regress_types CASCADE;
