/*-------------------------------------------------------------------------
 *
 * form.c
 *	  Encoded forms of documents: made by a worker, kept beside the document.
 *
 * A form is the document's bytes, in UTF-8, as HTTP's Content-Encoding names it.  It
 * belongs to a content and not to a version: it has the etag of the document that it
 * was made of.  A reader first decides, by all the rules, with which version of the
 * document it answers, and then takes the form that has the etag of that version.  So
 * a form is never older than the document would be, and whoever may read the one may
 * read the other.
 *
 * Forms are made by workers alone, after the document was published and with no claim
 * on its summary.  Nobody waits for one: a reader that finds none takes the document,
 * and asks for the form.  Listeners are notified when the forms are there, since what
 * they do next is to read.
 *
 * A form is given back when a document of other bytes is published, and whenever the
 * document is.  For one that would be no smaller than the document, an empty form
 * says so.
 *
 * Locks: those of store.c, one at a time, and none while bytes are encoded.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "clock.h"
#include "debug.h"
#include "encode.h"
#include "form.h"
#include "request.h"

/* Before another try when there was no room, and after a failure. */
#define NO_ROOM_NS	(5 * SC_NS_PER_S)
#define FAILED_NS	(60 * SC_NS_PER_S)

#define IDENTITY "identity"

/* Is it this name, which ends with the string it is in? */
static bool
is_name(const char *name, int len, const char *other)
{
	return (int) strlen(other) == len && strncmp(name, other, len) == 0;
}

void
sc_form_parse(const char *list, ScFormsAsked *asked)
{
	const char *name;
	int			len;

	asked->n = 0;
	asked->number = 0;
	while ((len = sc_settings_next_name(&list, &name)) >= 0)
	{
		ScEncoding	encoding = sc_settings_encoding(name, len);
		bool		is_new = sc_encode_is_built_in(encoding);

		/* which comes last, wherever it stands */
		if (len == 0 || is_name(name, len, IDENTITY))
			continue;
		if (encoding == SC_ENCODINGS)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("\"%.*s\" is not an encoding of documents", len, name),
					 errhint("Name gzip, zstd or both, the preferred one first: 'zstd, gzip'.")));
		for (int i = 0; i < asked->n; i++)
			is_new = is_new && asked->wanted[i] != encoding;
		if (!is_new)
			continue;
		asked->wanted[asked->n++] = encoding;
		asked->number = asked->number * (SC_ENCODINGS + 1) + encoding + 1;
	}
}

bytea *
sc_form_get(ScLocal *local, const ScFormsAsked *asked, ScEncoding *encoding, bool *is_final)
{
	bytea	   *form = NULL;
	ScFormState state = SC_FORM_NONE;

	if (asked->n > 0)
		state = sc_store_form(local->index, &local->key, sc_local_etag(&local->etag),
							  asked->wanted, asked->n, encoding, &form);
	*is_final = state == SC_FORM_THERE;
	if (state == SC_FORM_MISSING)
		sc_request_forms(local->index);
	if (form)
		sc_local_warm_up(VARSIZE(form));
	return form;
}

text *
sc_form_etag(ScEtag *etag, ScEncoding encoding)
{
	return cstring_to_text(encoding == SC_ENCODINGS ? sc_local_etag(etag) :
						   psprintf("%s-%s", sc_local_etag(etag), sc_settings_encoding_name(encoding)));
}

bool
sc_form_is_known(ScEtag *etag, const text *known, const ScFormsAsked *asked, ScEncoding *encoding)
{
	const char *list = text_to_cstring(known);
	const char *own = sc_local_etag(etag);
	const char *name;
	int			best = asked->n + 1;
	int			len;

	while ((len = sc_settings_next_name(&list, &name)) >= 0)
	{
		const char *suffix = name + SC_ETAG_LEN + 1;

		if (is_name(name, len, "*") || is_name(name, len, own))
			best = Min(best, asked->n);
		if (len <= SC_ETAG_LEN + 1 || strncmp(name, own, SC_ETAG_LEN) != 0 || suffix[-1] != '-')
			continue;
		for (int i = 0; i < asked->n; i++)
			if (asked->wanted[i] == sc_settings_encoding(suffix, len - SC_ETAG_LEN - 1))
				best = Min(best, i);
	}
	*encoding = best < asked->n ? asked->wanted[best] : SC_ENCODINGS;
	return best <= asked->n;
}

/* The document with this etag, in UTF-8; NULL if the summary has another by now. */
static char *
document_bytes(int index, const ScDocKey *key, ScEtag *etag, Size *len)
{
	text	   *document = NULL;
	ScView		view;
	bool		is_same;
	char	   *bytes;

	if (!sc_store_open(index, key, &view))
		return NULL;
	is_same = view.nchunks == etag->nhashes;
	for (int i = 0; is_same && i < view.nchunks; i++)
		is_same = memcmp(view.chunks[i]->hash, etag->hashes[i], SC_HASH_BYTES) == 0;
	if (is_same)
		document = sc_local_assemble(view.chunks, view.nchunks);
	sc_store_close(index);
	if (document == NULL)
		return NULL;

	bytes = pg_server_to_any(VARDATA(document), VARSIZE(document) - VARHDRSZ, PG_UTF8);
	*len = bytes == VARDATA(document) ? VARSIZE(document) - VARHDRSZ : strlen(bytes);
	return bytes;
}

/* Encode a document, and keep the form. */
static ScPutResult
make_form(int index, const ScDocKey *key, ScEtag *etag, ScEncoding encoding, int level,
		  const char *bytes, Size len)
{
	Size		encoded_len = 0;
	void	   *encoded;
	ScForm	   *form;
	ScPutResult result;

	SC_POINT("form-encode");
	if (SC_FAILS("form"))
		elog(ERROR, "a document could not be encoded");
	encoded = sc_encode(encoding, level, bytes, len, len - 1, &encoded_len);
	form = MemoryContextAllocHuge(CurrentMemoryContext, offsetof(ScForm, bytes) + encoded_len);
	memset(form, 0, offsetof(ScForm, bytes));
	form->size = offsetof(ScForm, bytes) + encoded_len;
	form->len = encoded ? (uint32) encoded_len : 0;
	strlcpy(form->etag, sc_local_etag(etag), sizeof(form->etag));
	if (encoded)
	{
		memcpy(form->bytes, encoded, encoded_len);
		pfree(encoded);
	}
	SC_POINT("form-made");
	result = sc_store_put_form(index, key, encoding, etag->hashes, etag->nhashes, form);
	pfree(form);
	return result;
}

void
sc_form_make(int index, const ScDocKey *key)
{
	int64		begin = sc_clock_now();
	int			levels[SC_ENCODINGS];
	uint64		made = 0;
	uint64		not_kept = 0;
	ScEtag		etag;
	char	   *bytes = NULL;
	Size		len = 0;
	ScView		view;

	if (!sc_store_open(index, key, &view))
		return;
	sc_local_etag_prepare(&etag, view.chunks, view.nchunks);
	sc_store_close(index);
	if (etag.nhashes == 0)
		return;
	sc_store_missing_forms(index, key, sc_local_etag(&etag), levels);
	for (int i = 0; i < SC_ENCODINGS; i++)
	{
		ScPutResult result;

		if (levels[i] == 0 || !sc_encode_is_built_in((ScEncoding) i))
			continue;
		if (bytes == NULL)
			bytes = document_bytes(index, key, &etag, &len);
		/* who published another has asked for its forms */
		if (bytes == NULL)
			break;
		result = make_form(index, key, &etag, (ScEncoding) i, levels[i], bytes, len);
		if (sc_store_is_published(result))
			made++;
		else if (sc_store_lacked_room(result))
			not_kept++;
	}
	sc_store_note_forms(index, key, made, 0, not_kept, begin, not_kept > 0 ? NO_ROOM_NS : 0,
						sc_refresh_rest);
}

void
sc_form_note_failure(int index, const ScDocKey *key, int64 begin_ns, bool cancelled)
{
	sc_store_note_forms(index, key, 0, cancelled ? 0 : 1, 0, begin_ns, cancelled ? 0 : FAILED_NS,
						sc_refresh_rest);
}
