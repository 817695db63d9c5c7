#include "base/pattern.h"

#include "base/mem.h"

#include <string.h>

/* What a pattern consists of: characters that stand for themselves, and wildcards. */
enum piece_kind { PIECE_CHARACTER, PIECE_SINGLE, PIECE_DEEP };

struct piece {
    enum piece_kind kind;
    char character;
};

struct pattern {
    struct piece pieces[PATTERN_MAX];
    size_t count;
};

/* A pattern laid over a name. `rest` has a row for each piece and one more, a column for each
 * character and one more: true where the pieces from there on match the characters from there on.
 * Filling it looks at each pair once, so no pattern can make a name expensive. */
struct match {
    struct pattern pattern;
    const char *name;
    size_t size;
    bool *rest; /* owned */
};

static bool *rest_at(const struct match *match, size_t piece, size_t character)
{
    return &match->rest[piece * (match->size + 1) + character];
}

static bool pattern_parse(const char *text, struct pattern *out)
{
    *out = (struct pattern){0};
    if (strlen(text) > PATTERN_MAX)
        return false;
    while (*text) {
        struct piece *piece = &out->pieces[out->count++];
        piece->character = *text;
        if (*text == '*')
            piece->kind = text[1] == '*' ? PIECE_DEEP : PIECE_SINGLE;
        text += piece->kind == PIECE_DEEP ? 2 : 1;
    }
    return true;
}

/* The piece can take this character, and for a wildcard more after it. */
static bool takes(const struct piece *piece, char character)
{
    switch (piece->kind) {
    case PIECE_SINGLE:
        return character != '/';
    case PIECE_DEEP:
        return true;
    case PIECE_CHARACTER:
        break;
    }
    return character == piece->character;
}

static void fill(struct match *match)
{
    const struct pattern *pattern = &match->pattern;
    *rest_at(match, pattern->count, match->size) = true;
    for (size_t i = pattern->count; i-- > 0;) {
        const struct piece *piece = &pattern->pieces[i];
        for (size_t at = match->size + 1; at-- > 0;) {
            bool wild = piece->kind != PIECE_CHARACTER;
            bool further = at < match->size && takes(piece, match->name[at]) &&
                           *rest_at(match, wild ? i : i + 1, at + 1);
            *rest_at(match, i, at) = further || (wild && *rest_at(match, i + 1, at));
        }
    }
}

/* True when the pattern matches the whole name; then `out->rest` is owned. */
static bool match_make(const char *pattern, const char *name, struct match *out)
{
    struct match match = {.name = name, .size = strlen(name)};
    size_t fixed = strcspn(pattern, "*");
    if (strncmp(pattern, name, fixed) != 0 || match.size > PATTERN_NAME_MAX ||
        !pattern_parse(pattern, &match.pattern))
        return false;
    match.rest = xcalloc((match.pattern.count + 1) * (match.size + 1), sizeof *match.rest);
    fill(&match);
    if (!*rest_at(&match, 0, 0)) {
        free(match.rest);
        return false;
    }
    *out = match;
    return true;
}

bool pattern_matches(const char *pattern, const char *name)
{
    struct match match;
    if (!match_make(pattern, name, &match))
        return false;
    free(match.rest);
    return true;
}

/* What the wildcards of one kind matched, in their order. */
struct captures {
    struct {
        size_t from, size;
    } items[PATTERN_MAX];
    size_t count;
};

/* From the left, each wildcard takes as much as leaves the rest its match. */
static void capture(const struct match *match, struct captures *single, struct captures *deep)
{
    size_t at = 0;
    for (size_t i = 0; i < match->pattern.count; i++) {
        const struct piece *piece = &match->pattern.pieces[i];
        size_t from = at;
        if (piece->kind == PIECE_CHARACTER) {
            at++;
            continue;
        }
        while (at < match->size && takes(piece, match->name[at]) && *rest_at(match, i, at + 1))
            at++;
        struct captures *captures = piece->kind == PIECE_DEEP ? deep : single;
        captures->items[captures->count].from = from;
        captures->items[captures->count++].size = at - from;
    }
}

static enum errc substitute(const struct match *match, const char *target, struct buf *out,
                            struct error *err)
{
    struct captures single = {.count = 0};
    struct captures deep = {.count = 0};
    size_t next_single = 0;
    size_t next_deep = 0;
    struct pattern pieces;
    if (!pattern_parse(target, &pieces))
        return fail(err, ERR_REFERENCE_INVALID, 0, "the pattern to fill in is too long");
    capture(match, &single, &deep);
    for (size_t i = 0; i < pieces.count; i++) {
        bool is_deep = pieces.pieces[i].kind == PIECE_DEEP;
        const struct captures *captures = is_deep ? &deep : &single;
        size_t *next = is_deep ? &next_deep : &next_single;
        if (pieces.pieces[i].kind == PIECE_CHARACTER) {
            buf_append(out, &pieces.pieces[i].character, 1);
            continue;
        }
        if (*next == captures->count)
            return fail(err, ERR_REFERENCE_INVALID, 0,
                        "%s has more wildcards than the pattern that matched", target);
        buf_append(out, match->name + captures->items[*next].from, captures->items[*next].size);
        (*next)++;
    }
    return ERR_OK;
}

enum errc pattern_expand(const char *pattern, const char *name, const char *target, struct buf *out,
                         struct error *err)
{
    struct match match;
    if (!match_make(pattern, name, &match))
        return fail(err, ERR_REFERENCE_INVALID, 0, "%s does not match %s", pattern, name);
    enum errc rc = substitute(&match, target, out, err);
    free(match.rest);
    return rc;
}
