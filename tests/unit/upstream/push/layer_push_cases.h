/*
 * What one attempt at a layer asks of a registry, in which order. The registry is a double that
 * writes down what it is asked: "HEAD", "MOUNT repository", "POST", "PUT n" and "DELETE n" of the
 * n-th session, "TOKEN" with "+repository" for each other one that was asked for.
 *
 * What is known of the layer is written as words, oldest first: "r/x/lib@1" is the layer seen in
 * that repository with the credentials "1"; without "@" it was seen by an anonymous push. "r/" is
 * the registry pushed to. The target is always r/x/app.
 */
#ifndef SLIPWAY_TESTS_LAYER_PUSH_CASES_H
#define SLIPWAY_TESTS_LAYER_PUSH_CASES_H

#include "base/error.h"

#include <stdint.h>

#define SMALL ((uint64_t)100 << 10)
#define MIDDLE ((uint64_t)10 << 20)
#define BIG (MIDDLE + 1)
#define UNKNOWN 0

struct script {
    const char *host;  /* NULL: the double's own address */
    const char *path;  /* of the target; NULL: x/app */
    const char *there; /* repositories that have the layer, each with a space before and after */
    int mount_status;  /* of a mount that is not done; 0: 202 with a session */
    bool mount_drops;  /* the connection instead of an answer */
    bool mount_leads_away; /* 202 without a Location */
    int head_status;       /* instead of 200 and 404 */
    int put_status;        /* instead of 201 */
    int puts_fail;         /* so many of them, by 503 and at their half */
    bool bearer;           /* tokens are wanted */
    const char *no_token;  /* none when this repository is asked for, too */
    bool token_is_narrow;  /* one without it, which the registry refuses for a mount */
};

#define TEN "r/1 r/2 r/3 r/4 r/5 r/6 r/7 r/8 r/9 r/10"
#define TWENTY                                                                                     \
    "r/a1 r/a2 r/a3 r/a4 r/a5 r/a6 r/a7 r/a8 r/a9 r/b0 r/b1 r/b2 r/b3 r/b4 r/b5 r/b6 r/b7 "        \
    "r/b8 r/b9 r/c0 "
#define THIRTY                                                                                     \
    "r/d0 r/d1 r/d2 r/d3 r/d4 r/d5 r/d6 r/d7 r/d8 r/d9 r/e0 r/e1 r/e2 r/e3 r/e4 r/e5 r/e6 "        \
    "r/e7 r/e8 r/e9 r/f0 r/f1 r/f2 r/f3 r/f4 r/f5 r/f6 r/f7 r/f8 r/f9 "
#define SIXTY TWENTY THIRTY TEN

struct row {
    const char *shows;
    uint64_t raw_size;
    const char *user;
    const char *known;
    struct script script;
    const char *log;
    const char *known_after; /* NULL: not looked at */
    const char *mounted;     /* where from; NULL: it is not */
    enum errc code;
};

static const struct row rows[] = {
    /* nothing is known of the layer */
    {"small: sent without a question", SMALL, "", "", .log = "POST, PUT 1",
     .known_after = "r/x/app"},
    {"middle: asked once before it is sent", SMALL + 1, "", "", .log = "HEAD, POST, PUT 1",
     .known_after = "r/x/app"},
    {"big: the same", BIG, "", "", .log = "HEAD, POST, PUT 1"},
    {"of unknown size: the same", UNKNOWN, "", "", .log = "HEAD, POST, PUT 1"},
    {"middle and there: found and remembered",
     MIDDLE,
     "1",
     "",
     {.there = " x/app "},
     .log = "HEAD",
     .known_after = "r/x/app@"},

    /* pushed here before */
    {"small and still there",
     SMALL,
     "",
     "r/x/app",
     {.there = " x/app "},
     .log = "HEAD",
     .known_after = "r/x/app"},
    {"small and gone: sent, and known once", SMALL, "", "r/x/app", .log = "HEAD, POST, PUT 1",
     .known_after = "r/x/app"},
    {"big and gone: not asked a second time", BIG, "", "r/x/app r/x/app@1 s.io/x/app",
     .log = "HEAD, POST, PUT 1", .known_after = "r/x/app@ s.io/x/app r/x/app"},
    {"with other credentials: known with these, too",
     SMALL,
     "2",
     "r/x/app@1",
     {.there = " x/app "},
     .log = "HEAD",
     .known_after = "r/x/app@ r/x/app@"},
    {"it would be there, but one's own entry is asked first, then nothing is mounted",
     BIG,
     "",
     "r/x/lib r/x/app",
     {.there = " x/app x/lib "},
     .log = "HEAD"},

    /* seen in one other repository */
    {"small: mounted",
     SMALL,
     "",
     "r/x/lib",
     {.there = " x/lib "},
     .log = "MOUNT x/lib",
     .known_after = "r/x/lib r/x/app",
     .mounted = "x/lib"},
    {"small: the session of a failed mount is used, the source forgotten", SMALL, "", "r/x/lib",
     .log = "MOUNT x/lib, PUT 1", .known_after = "r/x/app"},
    {"middle: asked before it is sent", MIDDLE, "", "r/x/lib", .log = "MOUNT x/lib, HEAD, PUT 1"},
    {"middle: there after all, the session is taken back",
     MIDDLE,
     "",
     "r/x/lib",
     {.there = " x/app "},
     .log = "MOUNT x/lib, HEAD, DELETE 1",
     .known_after = "r/x/app"},
    {"gone from here, mounted from there",
     SMALL,
     "",
     "r/x/lib r/x/app",
     {.there = " x/lib "},
     .log = "HEAD, MOUNT x/lib",
     .known_after = "r/x/lib r/x/app",
     .mounted = "x/lib"},

    /* seen in ten */
    {"small: one is tried, the youngest", SMALL, "", TEN, .log = "MOUNT 10, PUT 1",
     .known_after = "r/1 r/2 r/3 r/4 r/5 r/6 r/7 r/8 r/9 r/x/app"},
    {"middle: three, each session taken back for the next", MIDDLE, "", TEN,
     .log = "MOUNT 10, MOUNT 9, DELETE 1, MOUNT 8, DELETE 2, HEAD, PUT 3"},
    {"of unknown size: three", UNKNOWN, "", TEN,
     .log = "MOUNT 10, MOUNT 9, DELETE 1, MOUNT 8, DELETE 2, HEAD, PUT 3"},
    {"big: four", BIG, "", TEN,
     .log = "MOUNT 10, MOUNT 9, DELETE 1, MOUNT 8, DELETE 2, MOUNT 7, DELETE 3, HEAD, PUT 4"},
    {"big: the second mount works, the first session is taken back",
     BIG,
     "",
     TEN,
     {.there = " 9 "},
     .log = "MOUNT 10, MOUNT 9, DELETE 1",
     .known_after = "r/1 r/2 r/3 r/4 r/5 r/6 r/7 r/8 r/9 r/x/app",
     .mounted = "9"},

    /* seen in sixty, of which fifty are remembered */
    {"small: one", SMALL, "", SIXTY, .log = "MOUNT 10, PUT 1"},
    {"middle: three",
     MIDDLE,
     "",
     SIXTY,
     {.mount_status = 404},
     .log = "MOUNT 10, MOUNT 9, MOUNT 8, HEAD, POST, PUT 1"},
    {"big: four",
     BIG,
     "",
     SIXTY,
     {.mount_status = 404},
     .log = "MOUNT 10, MOUNT 9, MOUNT 8, MOUNT 7, HEAD, POST, PUT 1"},

    /* where and by whom */
    {"other hosts are not mounted from; a big layer is asked for all the same", BIG, "",
     "s.io/x/lib docker.io/x/lib", .log = "HEAD, POST, PUT 1",
     .known_after = "s.io/x/lib docker.io/x/lib r/x/app"},
    {"the likest first",
     MIDDLE,
     "",
     "r/x/lib r/y/app r/z",
     {.mount_status = 404},
     .log = "MOUNT x/lib, MOUNT z, MOUNT y/app, HEAD, POST, PUT 1",
     .known_after = "r/x/app"},
    {"those of these credentials first; others' are not forgotten",
     MIDDLE,
     "1",
     "r/y@1 r/x/lib@2 r/z@1 r/x/other",
     {.mount_status = 404},
     .log = "MOUNT z, MOUNT y, MOUNT x/other, HEAD, POST, PUT 1",
     .known_after = "r/x/lib@ r/x/app@"},
    {"anonymously, what has no HMAC first; others' are not forgotten",
     MIDDLE,
     "",
     "r/y r/x/lib@2",
     {.mount_status = 404},
     .log = "MOUNT y, MOUNT x/lib, HEAD, POST, PUT 1",
     .known_after = "r/x/lib@ r/x/app"},
    {"docker.io in its spellings",
     MIDDLE,
     "",
     "busybox x/lib docker.io/library/alpine index.docker.io/y/lib",
     {.host = "docker.io", .path = "library/app", .mount_status = 404},
     .log = "MOUNT library/alpine, MOUNT library/busybox, MOUNT y/lib, HEAD, POST, PUT 1"},
    {"docker.io: the target in another spelling was pushed before",
     SMALL,
     "",
     "app",
     {.host = "docker.io", .path = "library/app", .there = " library/app "},
     .log = "HEAD"},

    /* mounts that fail */
    {"401", SMALL, "", "r/x/lib", {.mount_status = 401}, .log = "MOUNT x/lib, POST, PUT 1"},
    {"403", SMALL, "", "r/x/lib", {.mount_status = 403}, .log = "MOUNT x/lib, POST, PUT 1"},
    {"404",
     SMALL,
     "",
     "r/x/lib",
     {.mount_status = 404},
     .log = "MOUNT x/lib, POST, PUT 1",
     .known_after = "r/x/app"},
    {"405", SMALL, "", "r/x/lib", {.mount_status = 405}, .log = "MOUNT x/lib, POST, PUT 1"},
    {"500", SMALL, "", "r/x/lib", {.mount_status = 500}, .log = "MOUNT x/lib, POST, PUT 1"},
    {"202 that leads nowhere",
     SMALL,
     "",
     "r/x/lib",
     {.mount_leads_away = true},
     .log = "MOUNT x/lib, POST, PUT 1"},

    /* tokens */
    {"a mount asks for its source, too",
     SMALL,
     "",
     "r/x/lib",
     {.bearer = true, .there = " x/lib "},
     .log = "TOKEN +x/lib, MOUNT x/lib",
     .mounted = "x/lib"},
    {"what follows does not",
     MIDDLE,
     "",
     "r/x/lib",
     {.bearer = true},
     .log = "TOKEN +x/lib, MOUNT x/lib, TOKEN, HEAD, PUT 1"},
    {"no token for both: mounted without",
     SMALL,
     "",
     "r/x/lib",
     {.bearer = true, .no_token = "x/lib", .there = " x/lib "},
     .log = "TOKEN +x/lib, TOKEN, MOUNT x/lib",
     .mounted = "x/lib"},
    {"a token that the registry finds too narrow: sent",
     SMALL,
     "",
     "r/x/lib",
     {.bearer = true, .token_is_narrow = true},
     .log = "TOKEN +x/lib, TOKEN, POST, PUT 1"},

    /* checks that fail */
    {"a registry that does not say: sent",
     MIDDLE,
     "",
     "",
     {.head_status = 403},
     .log = "HEAD, POST, PUT 1"},
    {"one that does not know the question",
     SMALL,
     "",
     "r/x/app",
     {.head_status = 500},
     .log = "HEAD, POST, PUT 1",
     .known_after = "r/x/app"},
    {"one that asks for patience ends the attempt and forgets nothing",
     SMALL,
     "",
     "r/x/app",
     {.head_status = 429},
     .log = "HEAD",
     .known_after = "r/x/app",
     .code = ERR_TOO_MANY_REQUESTS},
    {"and takes the session of a mount back",
     MIDDLE,
     "",
     "r/x/lib",
     {.head_status = 429},
     .log = "MOUNT x/lib, HEAD, DELETE 1",
     .code = ERR_TOO_MANY_REQUESTS},
};

#endif
