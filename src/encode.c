/*-------------------------------------------------------------------------
 *
 * encode.c
 *	  Encodes bytes as HTTP's Content-Encoding names it.
 *
 * gzip by zlib, zstd by libzstd.  Each is built in if pkg-config finds its library
 * (Makefile), since PostgreSQL itself can be built without.
 *
 * Nothing of the libraries' memory is left behind by an error, an interrupt among
 * them.  zlib allocates by our functions, in the current memory context.  They must
 * not raise an error: it would pass through zlib's own code.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#ifdef SC_HAVE_GZIP
#include <zlib.h>
#endif
#ifdef SC_HAVE_ZSTD
#include <zstd.h>
#endif

#include "miscadmin.h"
#include "utils/memutils.h"

#include "encode.h"

/* Bytes that are encoded between two looks at interrupts. */
#define ENCODED_PIECE	(256 * 1024)

/* gzip's header and trailer instead of zlib's, and the largest window. */
#define GZIP_WINDOW_BITS	(16 + 15)
#define GZIP_MEMORY_LEVEL	8	/* zlib's default */

bool
sc_encode_is_built_in(ScEncoding encoding)
{
#ifdef SC_HAVE_GZIP
	if (encoding == SC_GZIP)
		return true;
#endif
#ifdef SC_HAVE_ZSTD
	if (encoding == SC_ZSTD)
		return true;
#endif
	return false;
}

const char *
sc_encode_library(ScEncoding encoding)
{
	return encoding == SC_GZIP ? "zlib" : "libzstd";
}

#if defined(SC_HAVE_GZIP) || defined(SC_HAVE_ZSTD)

static void
out_of_memory(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY),
			 errmsg("out of memory"),
			 errdetail("A document could not be encoded.")));
}
#endif

#ifdef SC_HAVE_GZIP
static void *
gzip_allocate(void *opaque, unsigned int items, unsigned int size)
{
	return MemoryContextAllocExtended(CurrentMemoryContext, (Size) items * size,
									  MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
}

static void
gzip_free(void *opaque, void *address)
{
	pfree(address);
}

/* Returns false if it does not fit. */
static bool
encode_gzip(int level, const char *bytes, Size len, char *room, Size most, Size *encoded)
{
	z_stream	stream = {.zalloc = gzip_allocate,.zfree = gzip_free};
	Size		done = 0;
	int			result = deflateInit2(&stream, level, Z_DEFLATED, GZIP_WINDOW_BITS,
									  GZIP_MEMORY_LEVEL, Z_DEFAULT_STRATEGY);

	if (result == Z_MEM_ERROR)
		out_of_memory();
	*encoded = 0;
	while (result == Z_OK)
	{
		Size		piece = Min(len - done, ENCODED_PIECE);

		CHECK_FOR_INTERRUPTS();
		stream.next_in = (Bytef *) bytes + done;
		stream.avail_in = (uInt) piece;
		stream.next_out = (Bytef *) room + *encoded;
		/* room is less than 1 GB */
		stream.avail_out = (uInt) (most - *encoded);
		result = deflate(&stream, done + piece == len ? Z_FINISH : Z_NO_FLUSH);
		done += piece - stream.avail_in;
		*encoded = most - stream.avail_out;
		if (stream.avail_out == 0 && result != Z_STREAM_END)
			break;
	}
	(void) deflateEnd(&stream);
	if (result != Z_STREAM_END && result != Z_OK && result != Z_BUF_ERROR)
		elog(ERROR, "zlib could not encode a document: error %d", result);
	return result == Z_STREAM_END;
}
#endif

#ifdef SC_HAVE_ZSTD
/* Returns false if it does not fit. */
static bool
encode_zstd(int level, const char *bytes, Size len, char *room, Size most, Size *encoded)
{
	ZSTD_CCtx  *context = ZSTD_createCCtx();
	ZSTD_inBuffer in = {bytes, 0, 0};
	ZSTD_outBuffer out = {room, most, 0};
	size_t		left = 1;
	volatile size_t result;

	if (context == NULL)
		out_of_memory();
	PG_TRY();
	{
		result = ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
		if (!ZSTD_isError(result))
			result = ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
		/* said in the frame, which lets who decodes it allocate once */
		if (!ZSTD_isError(result))
			result = ZSTD_CCtx_setPledgedSrcSize(context, len);
		while (!ZSTD_isError(result) && left > 0 && out.pos < most)
		{
			CHECK_FOR_INTERRUPTS();
			in.size = Min(in.pos + ENCODED_PIECE, len);
			result = ZSTD_compressStream2(context, &out, &in, in.size == len ? ZSTD_e_end : ZSTD_e_continue);
			left = in.size == len ? result : 1;
		}
	}
	PG_FINALLY();
	{
		(void) ZSTD_freeCCtx(context);
	}
	PG_END_TRY();
	if (ZSTD_isError(result))
		elog(ERROR, "libzstd could not encode a document: %s", ZSTD_getErrorName(result));
	*encoded = out.pos;
	return left == 0;
}
#endif

void *
sc_encode(ScEncoding encoding, int level, const void *bytes, Size len, Size most, Size *encoded)
{
	char	   *room;
	bool		fits = false;

	if (most == 0)
		return NULL;
	room = MemoryContextAllocHuge(CurrentMemoryContext, most);
#ifdef SC_HAVE_GZIP
	if (encoding == SC_GZIP)
		fits = encode_gzip(level, bytes, len, room, most, encoded);
#endif
#ifdef SC_HAVE_ZSTD
	if (encoding == SC_ZSTD)
		fits = encode_zstd(level, bytes, len, room, most, encoded);
#endif
	if (fits)
		return room;
	pfree(room);
	return NULL;
}
