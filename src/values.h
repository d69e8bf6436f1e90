/*-------------------------------------------------------------------------
 *
 * values.h
 *	  The parameters of summaries, and lists of values for them.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_VALUES_H
#define SC_VALUES_H

#include "nodes/params.h"
#include "nodes/pg_list.h"
#include "utils/array.h"

#include "base.h"

#define SC_MAX_PARAMETERS	16

/* Bytes of all values of a document. */
#define SC_MAX_VALUES_SIZE	4096

typedef struct ScParameter
{
	char	   *name;
	Oid			type;
	bool		nullable;
} ScParameter;

typedef struct ScParameters
{
	int			n;				/* 0: none */
	ScParameter *list;
} ScParameters;

/*
 * Values for all parameters of a summary, in one piece that holds no pointers: it
 * is compared, copied to shared memory and saved as it is.  Behind it come the
 * values, each as a ScValue.
 */
typedef struct ScValues
{
	uint64		hash;			/* by the types' own hash functions; never 0 */
	uint32		size;			/* of the whole, bytes */
	uint32		n;
} ScValues;

typedef struct ScValue
{
	Oid			type;
	int32		len;			/* of the bytes, aligned, which follow; -1:
								 * NULL */
} ScValue;

/* Parse a declaration such as {project bigint, day date null}, in the current memory
 * context.  An error, which names the summary, if it is none. */
extern ScParameters sc_values_declare(const char *summary, ArrayType *declaration);

/* The two columns of the definition table that hold them, and back: false, with what
 * is wrong with them. */
extern void sc_values_write_columns(const ScParameters *parameters, Datum *names, Datum *types);
extern bool sc_values_read_columns(char **names, int nnames, Oid *types, int ntypes,
								   ScParameters *parameters, const char **damage);

extern bool sc_values_same_parameters(const ScParameters *a, const ScParameters *b);
extern Oid *sc_values_types(const ScParameters *parameters);

/* As a declaration shows them: "project bigint, day date null". */
extern char *sc_values_describe(const ScParameters *parameters);

/* The values that an array of text gives, in the current memory context; NULL if there
 * are no parameters, and none were given.  Runs the types' input functions; an error
 * names the summary and the parameter. */
extern ScValues *sc_values_parse(const char *summary, const ScParameters *parameters, ArrayType *array);

/* Are two lists one document's?  The first looks at the bytes only; the second asks the
 * types' equality, so not with an LWLock. */
extern bool sc_values_identical(const ScValues *a, const ScValues *b);
extern bool sc_values_equal(const ScValues *a, const ScValues *b);

/* Is a piece of so many bytes laid out as one? */
extern bool sc_values_is_sound(const ScValues *values, Size size);

/* An error unless values are such as these parameters take: none, or of another number;
 * or of other types, since they were declared anew. */
extern void sc_values_check(const char *summary, const ScParameters *parameters, const ScValues *values);
extern bool sc_values_fit(const ScParameters *parameters, const ScValues *values);

/* For the execution of a query; an error if they are not values for these parameters,
 * which may have been declared anew.  The values are those of "values" itself. */
extern ParamListInfo sc_values_bind(const char *summary, const ScParameters *parameters, const ScValues *values);

/* One value, which may be NULL; from 0. */
extern Datum sc_values_get(const ScValues *values, int n, Oid *type, bool *isnull);

/* As an array of text, by the types' output functions; and as one of JSON. */
extern Datum sc_values_to_array(const ScValues *values);
extern char *sc_values_to_json(const ScValues *values);

/* Has a type's default equality this hash operator family? */
extern bool sc_values_has_family(Oid type, Oid opfamily);

extern ScValues *sc_values_copy(const ScValues *values);

#endif							/* SC_VALUES_H */
