/*-------------------------------------------------------------------------
 *
 * split.c
 *	  The parts of a section: columns that can be built one by one.
 *
 * A query that is a SELECT of expressions, without FROM or any other clause, gives
 * one row, whatever the tables hold, and no column of it depends on another.  Each
 * column is then a part: the same SELECT with the other columns taken out.  A part
 * reads less than the section, so what has changed concerns fewer of them, and only
 * these are built again.
 *
 * The query of a part is a piece of the section's text, as its author wrote it: what
 * the parser makes of that is compared with what it made of the column in its place.
 * A WITH query goes along with the column that uses it; if two columns do, it would
 * be run twice, and the section is one part.
 *
 * What the text does not show is found out when the parts are first prepared
 * (document.c): if one of them is not closed, or returns a set, the section is built
 * as one after all.  What is not closed may leave something behind that another
 * column sees, or depend on when it is run.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "common/keywords.h"
#include "common/kwlookup.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_target.h"
#include "parser/parser.h"
#include "parser/scanner.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "query.h"
#include "split.h"

/* Words and signs that a text is cut at.  The scanner returns signs as themselves. */
#define TOKEN_OTHER		1000
#define TOKEN_SELECT	1001
#define TOKEN_WITH		1002
#define TOKEN_ALL		1003

typedef struct Token
{
	int			code;
	int			location;
} Token;

/* A text that is being cut. */
typedef struct Cutting
{
	const char *query;
	int			end;			/* of the statement in it */
	Token	   *tokens;
	int			ntokens;
	SelectStmt *statement;
} Cutting;

/* A WITH query, and the column that uses it. */
typedef struct WithQuery
{
	CommonTableExpr *query;
	int			column;			/* -1: none, -2: more than one */
} WithQuery;

/*-------------------------------------------------------------------------
 * What the text consists of
 *-------------------------------------------------------------------------
 */

/* The tokens of a text that has been parsed already. */
static void
find_tokens(Cutting *cutting)
{
	static uint16 *codes = NULL;
	core_yy_extra_type extra;
	core_yyscan_t scanner;
	core_YYSTYPE value;
	YYLTYPE		location;
	int			room = 256;
	int			code;

	if (codes == NULL)
	{
		uint16	   *made = MemoryContextAlloc(TopMemoryContext, sizeof(uint16) * ScanKeywords.num_keywords);

		for (int i = 0; i < ScanKeywords.num_keywords; i++)
			made[i] = TOKEN_OTHER;
		made[ScanKeywordLookup("select", &ScanKeywords)] = TOKEN_SELECT;
		made[ScanKeywordLookup("with", &ScanKeywords)] = TOKEN_WITH;
		made[ScanKeywordLookup("all", &ScanKeywords)] = TOKEN_ALL;
		codes = made;
	}
	cutting->tokens = palloc(sizeof(Token) * room);
	cutting->ntokens = 0;
	scanner = scanner_init(cutting->query, &extra, &ScanKeywords, codes);
	while ((code = core_yylex(&value, &location, scanner)) != 0 && location < cutting->end)
	{
		if (cutting->ntokens == room)
			cutting->tokens = repalloc(cutting->tokens, sizeof(Token) * (room *= 2));
		cutting->tokens[cutting->ntokens++] = (Token)
		{
			code, location
		};
	}
	scanner_finish(scanner);
}

/* The token that begins at a place; -1: none does. */
static int
token_at(const Cutting *cutting, int location)
{
	int			from = 0;
	int			to = cutting->ntokens;

	while (from < to)
	{
		int			middle = from + (to - from) / 2;

		if (cutting->tokens[middle].location < location)
			from = middle + 1;
		else
			to = middle;
	}
	return from < cutting->ntokens && cutting->tokens[from].location == location ? from : -1;
}

/* Where the text ends that a comma divides from what begins at a token; -1: none does. */
static int
end_before(const Cutting *cutting, int token)
{
	return token > 0 && cutting->tokens[token - 1].code == ',' ? cutting->tokens[token - 1].location : -1;
}

/* The SELECT whose first column begins at a token; -1: something else is there. */
static int
select_before(const Cutting *cutting, int token)
{
	if (token > 1 && cutting->tokens[token - 1].code == TOKEN_ALL)
		token--;
	return token > 0 && cutting->tokens[token - 1].code == TOKEN_SELECT ? token - 1 : -1;
}

/*-------------------------------------------------------------------------
 * Which columns there are
 *-------------------------------------------------------------------------
 */

/* Does a column of the text stand for several? */
static bool
is_star(Node *node)
{
	List	   *fields = NIL;

	if (IsA(node, ColumnRef))
		fields = ((ColumnRef *) node)->fields;
	else if (IsA(node, A_Indirection))
		fields = ((A_Indirection *) node)->indirection;
	return fields != NIL && IsA(llast(fields), A_Star);
}

/* Is a statement a SELECT of several expressions, and of nothing else? */
static bool
is_plain_select(Node *node)
{
	SelectStmt *statement = (SelectStmt *) node;
	ListCell   *lc;

	if (!IsA(node, SelectStmt) || statement->op != SETOP_NONE ||
		statement->distinctClause || statement->intoClause || statement->fromClause ||
		statement->whereClause || statement->groupClause || statement->havingClause ||
		statement->windowClause || statement->valuesLists || statement->sortClause ||
		statement->limitOffset || statement->limitCount || statement->lockingClause ||
		list_length(statement->targetList) < 2 || list_length(statement->targetList) > SC_MAX_PARTS)
		return false;
	foreach(lc, statement->targetList)
	{
		ResTarget  *column = lfirst_node(ResTarget, lc);

		if (column->indirection || is_star(column->val))
			return false;
	}
	return true;
}

static const char *
column_key(ResTarget *column)
{
	return column->name ? column->name : FigureColname(column->val);
}

/* Two columns of one name are an error, which the whole query reports. */
static bool
has_key_twice(List *columns)
{
	for (int i = 1; i < list_length(columns); i++)
		for (int j = 0; j < i; j++)
			if (strcmp(column_key(list_nth(columns, i)), column_key(list_nth(columns, j))) == 0)
				return true;
	return false;
}

/*-------------------------------------------------------------------------
 * WITH
 *-------------------------------------------------------------------------
 */

/* Does a node name a WITH query?  In doubt, where the name may be another's, it does. */
static bool
names_query(Node *node, void *name)
{
	if (node == NULL)
		return false;
	check_stack_depth();
	if (IsA(node, RangeVar))
		return ((RangeVar *) node)->schemaname == NULL &&
			strcmp(((RangeVar *) node)->relname, name) == 0;
	return sc_query_walk_raw(node, names_query, name);
}

static void
note_use(WithQuery *query, int column)
{
	if (query->column == -1)
		query->column = column;
	else if (query->column != column)
		query->column = -2;
}

/*
 * Which column each WITH query belongs to; false if one belongs to several columns,
 * or to none: that would be analysed with no part.
 */
static bool
assign_queries(SelectStmt *statement, WithQuery *queries, int nqueries)
{
	ListCell   *lc;
	bool		changed = true;

	for (int q = 0; q < nqueries; q++)
	{
		queries[q].query = list_nth_node(CommonTableExpr, statement->withClause->ctes, q);
		queries[q].column = -1;
		foreach(lc, statement->targetList)
		{
			if (names_query(((ResTarget *) lfirst(lc))->val, queries[q].query->ctename))
				note_use(&queries[q], foreach_current_index(lc));
		}
	}
	/* what one uses, its column uses */
	while (changed)
	{
		changed = false;
		for (int q = 0; q < nqueries; q++)
			for (int u = 0; u < nqueries; u++)
			{
				int			before = queries[u].column;

				if (u == q || queries[q].column == -1 ||
					!names_query(queries[q].query->ctequery, queries[u].query->ctename))
					continue;
				note_use(&queries[u], queries[q].column);
				changed = changed || queries[u].column != before;
			}
	}
	for (int q = 0; q < nqueries; q++)
		if (queries[q].column < 0)
			return false;
	return true;
}

/*-------------------------------------------------------------------------
 * Parts
 *-------------------------------------------------------------------------
 */

static void
append_piece(StringInfo out, const Cutting *cutting, int from, int to)
{
	appendBinaryStringInfo(out, cutting->query + from, to - from);
	/* it may end in a comment */
	appendStringInfoChar(out, '\n');
}

/* The WITH queries of a column; false if the text is not as expected. */
static bool
append_queries(StringInfo out, const Cutting *cutting, const WithQuery *queries, int nqueries,
			   int column, int main_select)
{
	bool		any = false;

	for (int q = 0; q < nqueries; q++)
	{
		int			end;

		if (queries[q].column != column)
			continue;
		if (q + 1 < nqueries)
			end = end_before(cutting, token_at(cutting, queries[q + 1].query->location));
		else
			end = cutting->tokens[main_select].location;
		if (end < queries[q].query->location)
			return false;
		appendStringInfoString(out, any ? ", " :
							   cutting->statement->withClause->recursive ? "WITH RECURSIVE " : "WITH ");
		any = true;
		append_piece(out, cutting, queries[q].query->location, end);
	}
	return true;
}

/* What the query of a part is to be parsed to. */
static Node *
part_statement(const Cutting *cutting, const WithQuery *queries, int nqueries, int column)
{
	SelectStmt *statement = makeNode(SelectStmt);
	List	   *own = NIL;

	*statement = *cutting->statement;
	statement->targetList = list_make1(list_nth(statement->targetList, column));
	for (int q = 0; q < nqueries; q++)
		if (queries[q].column == column)
			own = lappend(own, queries[q].query);
	statement->withClause = NULL;
	if (own)
	{
		statement->withClause = makeNode(WithClause);
		*statement->withClause = *cutting->statement->withClause;
		statement->withClause->ctes = own;
	}
	return (Node *) statement;
}

/* The query of a part, or NULL. */
static char *
cut_part(const Cutting *cutting, const WithQuery *queries, int nqueries, int column)
{
	List	   *columns = cutting->statement->targetList;
	int			first = token_at(cutting, ((ResTarget *) linitial(columns))->location);
	int			main_select = first < 0 ? -1 : select_before(cutting, first);
	int			start = ((ResTarget *) list_nth(columns, column))->location;
	int			end = cutting->end;
	StringInfoData out;
	List	   *parsed;

	if (main_select < 0 || token_at(cutting, start) < 0)
		return NULL;
	if (column + 1 < list_length(columns))
		end = end_before(cutting, token_at(cutting, ((ResTarget *) list_nth(columns, column + 1))->location));
	if (end < start)
		return NULL;
	initStringInfo(&out);
	if (!append_queries(&out, cutting, queries, nqueries, column, main_select))
		return NULL;
	appendStringInfoString(&out, "SELECT ");
	append_piece(&out, cutting, start, end);
	/* without the end of the line, and what may be before it */
	while (out.len > 0 && isspace((unsigned char) out.data[out.len - 1]))
		out.data[--out.len] = '\0';

	parsed = raw_parser(out.data, RAW_PARSE_DEFAULT);
	return list_length(parsed) == 1 &&
		equal(linitial_node(RawStmt, parsed)->stmt, part_statement(cutting, queries, nqueries, column)) ?
		out.data : NULL;
}

/* The queries of a section's parts, and their keys; NIL if it is one part. */
static List *
cut_query(const char *query, List **keys)
{
	Cutting		cutting = {query};
	List	   *statements = raw_parser(query, RAW_PARSE_DEFAULT);
	RawStmt    *raw;
	WithQuery  *queries = NULL;
	int			nqueries = 0;
	List	   *parts = NIL;

	if (list_length(statements) != 1)
		return NIL;
	raw = linitial_node(RawStmt, statements);
	cutting.statement = (SelectStmt *) raw->stmt;
	if (!is_plain_select(raw->stmt) || has_key_twice(cutting.statement->targetList))
		return NIL;
	cutting.end = raw->stmt_len > 0 ? raw->stmt_location + raw->stmt_len : (int) strlen(query);
	find_tokens(&cutting);
	if (cutting.ntokens == 0 ||
		(cutting.tokens[0].code != TOKEN_SELECT && cutting.tokens[0].code != TOKEN_WITH))
		return NIL;
	if (cutting.statement->withClause)
	{
		nqueries = list_length(cutting.statement->withClause->ctes);
		if (nqueries > SC_MAX_PARTS)
			return NIL;
		queries = palloc(sizeof(WithQuery) * nqueries);
		if (!assign_queries(cutting.statement, queries, nqueries))
			return NIL;
	}
	for (int i = 0; i < list_length(cutting.statement->targetList); i++)
	{
		char	   *part = cut_part(&cutting, queries, nqueries, i);

		if (part == NULL)
			return NIL;
		parts = lappend(parts, part);
		*keys = lappend(*keys, pstrdup(column_key(list_nth(cutting.statement->targetList, i))));
	}
	return parts;
}

/*
 * The same, where the text is read as it is when it is prepared (owner.c), whatever
 * the session's settings are, and nobody is told of a name that is too long.
 */
static List *
cut_undisturbed(const char *query, List **keys)
{
	bool		conforming = standard_conforming_strings;
	bool		warning = escape_string_warning;
	int			messages = client_min_messages;
	MemoryContext context = CurrentMemoryContext;
	List	   *volatile parts = NIL;

	standard_conforming_strings = true;
	escape_string_warning = false;
	client_min_messages = ERROR;
	PG_TRY();
	{
		parts = cut_query(query, keys);
	}
	PG_CATCH();
	{
		standard_conforming_strings = conforming;
		escape_string_warning = warning;
		client_min_messages = messages;
		/* the parser has nothing but memory: nothing is to be rolled back */
		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		parts = NIL;
	}
	PG_END_TRY();
	standard_conforming_strings = conforming;
	escape_string_warning = warning;
	client_min_messages = messages;
	return parts;
}

static void
split_section(ScSectionDef *section, MemoryContext context)
{
	MemoryContext scratch;
	MemoryContext old;
	List	   *keys = NIL;
	List	   *queries;

	scratch = AllocSetContextCreate(CurrentMemoryContext, "summary_cache parts", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(scratch);
	queries = section->damage ? NIL : cut_undisturbed(section->query, &keys);
	MemoryContextSwitchTo(context);
	if (queries)
	{
		int			nparts = list_length(queries);
		ScSectionDef *parts = palloc(sizeof(ScSectionDef) * nparts);

		for (int p = 0; p < nparts; p++)
		{
			parts[p] = *section;
			parts[p].query = pstrdup(list_nth(queries, p));
			parts[p].keys = palloc(sizeof(char *));
			parts[p].keys[0] = pstrdup(list_nth(keys, p));
			parts[p].nkeys = 1;
			parts[p].plan = NULL;
			parts[p].plan_generation = parts[p].meaning_generation = parts[p].keyed_generation = 0;
			parts[p].closed = SC_CLOSED_UNKNOWN;
			parts[p].part = p;
			parts[p].unread = NULL;
		}
		section->parts = parts;
		section->nparts = nparts;
	}
	section->was_split = true;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
}

void
sc_split_sections(ScSummaryDef *definition)
{
	for (int i = 0; i < definition->nsections; i++)
		if (!definition->sections[i].was_split)
			split_section(&definition->sections[i], definition->context);
}
