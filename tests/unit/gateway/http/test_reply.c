#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* cmocka has a macro of that name. */
#undef fail

#include "base/mem.h"
#include "tests/support/http_daemon.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FILE_BYTES 300000

static unsigned descriptors(void)
{
    unsigned count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

/* A file whose bytes count up. */
static int make_file(void)
{
    int fd = memfd_create("reply", MFD_CLOEXEC);
    uint8_t *data = xmalloc(FILE_BYTES);
    for (size_t i = 0; i < FILE_BYTES; i++)
        data[i] = (uint8_t)(i % 251);
    assert_int_equal(write(fd, data, FILE_BYTES), FILE_BYTES);
    free(data);
    return fd;
}

struct letters;

struct selector {
    enum { JSON, BYTES, NOTHING, PART, SOURCE, FAILED } what;
    int status;
    uint64_t offset;
    uint64_t size;
    enum errc code;
    struct letters *letters;
};

/* A source of `left` letters, a piece of at most three at a time. */
struct letters {
    size_t left;
    unsigned released;
};

static ssize_t read_letters(void *self, char *out, size_t size)
{
    struct letters *letters = self;
    size_t n = letters->left < 3 ? letters->left : 3;
    n = n < size ? n : size;
    memset(out, 'x', n);
    letters->left -= n;
    return n > 0 ? (ssize_t)n : BODY_END;
}

static void release_letters(void *self)
{
    struct letters *letters = self;
    letters->released++;
}

static void answer_letters(struct reply *reply, struct letters *letters)
{
    const struct body_source source = {
        .read = read_letters, .release = release_letters, .self = letters};
    reply_source(reply, "text/x-letters", source);
}

static void answer(void *self, const struct request *request, struct reply *reply)
{
    (void)request;
    const struct selector *selector = self;
    struct error err = ERROR_INIT;
    reply->status = selector->status;
    if (selector->what == JSON)
        reply_json(reply, xstrdup("{\"a\":1}"));
    if (selector->what == BYTES) {
        reply_header(reply, "X-One", "%d", 1);
        reply_header(reply, "Location", "/v2/%s?a=%s: b", "app", "x");
        reply_bytes(reply, xstrdup("abc"), 2);
    }
    if (selector->what == PART)
        reply_file(reply, make_file(), selector->offset, selector->size);
    if (selector->what == SOURCE)
        answer_letters(reply, selector->letters);
    if (selector->what == FAILED) {
        /* What it had before goes. */
        reply_header(reply, "X-One", "1");
        reply_file(reply, make_file(), 0, 1);
        fail(&err, selector->code, 0, "it \"failed\"");
        reply_error(reply, &err);
    }
}

static const char *body_of(const struct buf *text)
{
    const char *end = strstr(buf_cstr(text), "\r\n\r\n");
    assert_non_null(end);
    return end + 4;
}

static void ask(struct selector *selector, const char *method, struct buf *out)
{
    struct http_daemon daemon = {.answer = answer, .self = selector};
    autofree char *request =
        xasprintf("%s / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", method);
    http_daemon_start(&daemon);
    http_daemon_ask(&daemon, request, out);
    http_daemon_stop(&daemon);
}

static void text_has_its_headers(void **state)
{
    (void)state;
    autobuf struct buf text = BUF_INIT(100000);
    struct selector json = {.what = JSON, .status = 201};
    ask(&json, "GET", &text);
    assert_non_null(strstr(text.data, "HTTP/1.1 201 Created\r\n"));
    assert_non_null(strstr(text.data, "Content-Type: application/json\r\n"));
    assert_non_null(strstr(text.data, "Content-Length: 7\r\n"));
    assert_string_equal(body_of(&text), "{\"a\":1}");

    struct selector bytes = {.what = BYTES, .status = 200};
    ask(&bytes, "GET", &text);
    assert_non_null(strstr(text.data, "X-One: 1\r\n"));
    assert_non_null(strstr(text.data, "Location: /v2/app?a=x: b\r\n"));
    assert_null(strstr(text.data, "Content-Type"));
    assert_string_equal(body_of(&text), "ab");
}

static void without_a_body_the_length_is_zero(void **state)
{
    (void)state;
    autobuf struct buf text = BUF_INIT(100000);
    struct selector selector = {.what = NOTHING, .status = 202};
    ask(&selector, "POST", &text);
    assert_non_null(strstr(text.data, "HTTP/1.1 202 Accepted\r\n"));
    assert_non_null(strstr(text.data, "Content-Length: 0\r\n"));
    assert_string_equal(body_of(&text), "");
}

static void a_part_of_a_file_is_sent(void **state)
{
    (void)state;
    static const struct {
        uint64_t offset, size;
    } rows[] = {
        {0, FILE_BYTES},     {0, 1},          {0, 0}, {1, FILE_BYTES - 1}, {FILE_BYTES - 1, 1},
        {FILE_BYTES / 2, 2}, {FILE_BYTES, 0},
    };
    autobuf struct buf text = BUF_INIT(2 * FILE_BYTES);
    unsigned before = descriptors();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct selector selector = {
            .what = PART, .status = 206, .offset = rows[i].offset, .size = rows[i].size};
        ask(&selector, "GET", &text);
        const char *body = body_of(&text);
        size_t size = (size_t)(text.data + text.size - body);
        assert_int_equal(size, rows[i].size);
        for (size_t k = 0; k < size; k++)
            assert_int_equal((uint8_t)body[k], (rows[i].offset + k) % 251);
    }
    assert_int_equal(descriptors(), before);
}

static void head_is_get_without_its_body(void **state)
{
    (void)state;
    autobuf struct buf text = BUF_INIT(2 * FILE_BYTES);
    unsigned before = descriptors();
    struct selector part = {.what = PART, .status = 200, .offset = 10, .size = 1000};
    ask(&part, "HEAD", &text);
    assert_non_null(strstr(text.data, "Content-Length: 1000\r\n"));
    assert_string_equal(body_of(&text), "");
    struct selector json = {.what = JSON, .status = 200};
    ask(&json, "HEAD", &text);
    assert_non_null(strstr(text.data, "Content-Length: 7\r\n"));
    assert_string_equal(body_of(&text), "");
    assert_int_equal(descriptors(), before);
}

static void a_source_is_read_to_its_end_and_released(void **state)
{
    (void)state;
    autobuf struct buf text = BUF_INIT(100000);
    struct letters letters = {.left = 10};
    struct selector selector = {.what = SOURCE, .status = 200, .letters = &letters};
    ask(&selector, "GET", &text);
    assert_non_null(strstr(text.data, "Content-Type: text/x-letters\r\n"));
    assert_null(strstr(text.data, "Content-Length"));
    size_t found = 0;
    for (const char *at = body_of(&text); *at; at++)
        found += *at == 'x';
    assert_int_equal(found, 10);
    assert_int_equal(letters.left, 0);
    assert_int_equal(letters.released, 1);
}

static void an_error_takes_the_place_of_what_was_there(void **state)
{
    (void)state;
    static const struct {
        enum errc code;
        const char *line;
        bool later;
    } rows[] = {
        {ERR_BUSY, "HTTP/1.1 503 ", true},
        {ERR_STOPPING, "HTTP/1.1 503 ", true},
        {ERR_BAD_REQUEST, "HTTP/1.1 400 ", false},
        {ERR_UPLOAD_RANGE, "HTTP/1.1 416 ", false},
    };
    unsigned before = descriptors();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        autobuf struct buf text = BUF_INIT(100000);
        struct selector selector = {.what = FAILED, .status = 200, .code = rows[i].code};
        ask(&selector, "GET", &text);
        assert_int_equal(strncmp(text.data, rows[i].line, strlen(rows[i].line)), 0);
        assert_int_equal(strstr(text.data, "Retry-After: ") != NULL, rows[i].later);
        assert_null(strstr(text.data, "X-One"));
        assert_non_null(strstr(text.data, "Content-Type: application/json\r\n"));
        assert_non_null(strstr(body_of(&text), error_name(rows[i].code)));
        assert_non_null(strstr(body_of(&text), "it \\\"failed\\\""));
    }
    assert_int_equal(descriptors(), before);
}

static void what_is_not_sent_is_released(void **state)
{
    (void)state;
    unsigned before = descriptors();
    struct reply reply = REPLY_INIT(200);
    for (int i = 0; i < REPLY_HEADERS_MAX; i++)
        reply_header(&reply, "X-Many", "%d", i);
    reply_file(&reply, make_file(), 0, 10);
    reply_bytes(&reply, xstrdup("instead"), 7);
    assert_int_equal(descriptors(), before);
    reply_deinit(&reply);
    assert_int_equal(reply.header_count, 0);
    struct letters letters = {.left = 1};
    answer_letters(&reply, &letters);
    reply_deinit(&reply);
    reply_deinit(&reply);
    assert_int_equal(letters.released, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_has_its_headers),
        cmocka_unit_test(without_a_body_the_length_is_zero),
        cmocka_unit_test(a_part_of_a_file_is_sent),
        cmocka_unit_test(head_is_get_without_its_body),
        cmocka_unit_test(a_source_is_read_to_its_end_and_released),
        cmocka_unit_test(an_error_takes_the_place_of_what_was_there),
        cmocka_unit_test(what_is_not_sent_is_released),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
