/* slipway gc: a collection, by the gateway that has the store, or on the store itself. */
#include "base/log.h"
#include "base/mem.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/control_ask.h"
#include "gateway/service/collection.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct gc {
    bool dry_run;
    bool json;
};

/* ---- what is told ---- */

static uint64_t number(const json_t *object, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(object, key));
}

static void print_count(const json_t *report, const char *key, const char *text)
{
    const json_t *count = json_object_get(report, key);
    printf("%-8s %10" PRIu64 " blobs %15" PRIu64 " bytes\n", text, number(count, "blobs"),
           number(count, "bytes"));
}

static const char *text_of(const json_t *item, const char *key)
{
    const char *text = json_text(item, key);
    return text ? text : "";
}

static void print_item(const json_t *item, bool dry_run)
{
    const char *tag = text_of(item, "tag");
    bool goes = json_is_true(json_object_get(item, "goes"));
    printf("%-9s %s%s%s%s%s: %s\n", goes ? dry_run ? "would go" : "went" : "stays",
           text_of(item, "kind"), json_object_get(item, "name") ? " " : "", text_of(item, "name"),
           tag[0] ? ":" : " ", tag[0] ? tag : text_of(item, "digest"), text_of(item, "why"));
}

static void print(const struct gc *gc, const json_t *report)
{
    size_t i = 0;
    const json_t *item = NULL;
    if (gc->json) {
        json_dumpf(report, stdout, JSON_INDENT(2));
        putchar('\n');
        return;
    }
    json_array_foreach(json_object_get(report, "items"), i, item)
    {
        print_item(item, gc->dry_run);
    }
    if (json_is_true(json_object_get(report, "more")))
        puts("... and more, which the log of a collection has");
    print_count(report, "held", "held");
    print_count(report, "needed", "needed");
    print_count(report, "leased", "in grace");
    print_count(report, "gone", gc->dry_run ? "would go" : "went");
    if (json_object_get(report, "waits_until"))
        printf("all is in its grace until %" PRIu64
               " (seconds since 1970): a crash may have cost what clients were told\n",
               number(report, "waits_until"));
    if (number(report, "unreadable") > 0)
        printf("%" PRIu64 " repositories keep all: a manifest there cannot be read\n",
               number(report, "unreadable"));
}

/* ---- without a gateway ---- */

static int collect_here(const struct control *control, const struct gc *gc)
{
    struct error err = ERROR_INIT;
    struct collect_report report;
    struct store *store = NULL;
    if (cli_open_store(control->settings, &store, &err) != ERR_OK) {
        cli_complain("%s", err.text);
        return EXIT_TARGET_FAILED;
    }
    if (collection_run(control->settings, store, gc->dry_run, &control->cancel, &report, &err) ==
        ERR_OK) {
        autojson json_t *root = collection_json(&report, gc->dry_run);
        print(gc, root);
    } else {
        cli_complain("%s", err.text);
    }
    collect_report_deinit(&report);
    store_close(store);
    return err.code == ERR_OK ? 0 : EXIT_TARGET_FAILED;
}

/* ---- the command ---- */

static int work(struct control *control, void *self)
{
    const struct gc *gc = self;
    struct error err = ERROR_INIT;
    autoanswer struct control_answer answer = {.body = NULL};
    autojson json_t *body = json_object();
    const struct control_request request = {.method = "POST", .path = "/v1/gc", .body = body};
    json_object_set_new(body, "dry_run", json_boolean(gc->dry_run));
    if (control_ask(control, &request, &answer, &err) == ERR_OK) {
        print(gc, answer.body);
        return 0;
    }
    return answer.nobody ? collect_here(control, gc) : control_complain(&err);
}

int cmd_gc(int argc, char **argv)
{
    static const struct option options[] = {
        CONTROL_LONG_OPTIONS, {"dry-run", no_argument, NULL, 'n'}, {NULL, 0, NULL, 0}};
    struct control_options control = {.json = false};
    struct gc gc = {.dry_run = false};
    for (int option; (option = control_next_option(&control, argc, argv, options)) != -1;) {
        if (option != 'n')
            return EXIT_USAGE;
        gc.dry_run = true;
    }
    if (optind < argc)
        return cli_usage(argv[0], "gc takes no argument \"%s\"", argv[optind]);
    gc.json = control.json;
    int status = control_options_check(&control, argv[0]);
    return status ? status : control_run(&control, work, &gc);
}
