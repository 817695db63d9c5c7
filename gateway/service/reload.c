#include "gateway/service/reload.h"

#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/settings_change.h"
#include "config/settings_stamp.h"
#include "gateway/access/access.h"
#include "gateway/access/rules.h"
#include "gateway/http/server_certificate.h"
#include "gateway/reconcile/sweeps.h"

#include <string.h>

static const struct metric_family reloads = {.name = "slipway_config_reloads",
                                             .type = METRIC_COUNTER,
                                             .help = "Configurations that were read while the "
                                                     "gateway ran: success, or failure where the "
                                                     "one before stays.",
                                             .labels = {"outcome"}};

struct reload {
    struct gateway *gateway;
    const char *path;
    struct metric *good;
    struct metric *bad;
    pthread_mutex_t turn; /* one reload at a time: files are read and threads told with it */
    uint64_t used;        /* stamp of what was read last; with the turn */
    uint64_t seen;        /* stamp of the last look; of reload_look() alone */
};

struct reload *reload_new(struct gateway *gateway, const char *path)
{
    struct reload *reload = xcalloc(1, sizeof *reload);
    struct metrics *metrics = gateway->runtime->metrics;
    autosettings const struct settings *now = runtime_settings(gateway->runtime);
    reload->gateway = gateway;
    reload->path = path;
    reload->good = metrics_sample(metrics, &reloads, (const char *[]){"success"});
    reload->bad = metrics_sample(metrics, &reloads, (const char *[]){"failure"});
    reload->used = reload->seen = settings_stamp(path, now);
    pthread_mutex_init(&reload->turn, NULL);
    return reload;
}

void reload_free(struct reload *reload)
{
    if (reload == NULL)
        return;
    pthread_mutex_destroy(&reload->turn);
    free(reload);
}

/* ---- what is told ---- */

static void audit(const struct reload *reload, const struct reload_by *by, const struct error *err)
{
    const struct requester nobody = {.caller = NULL};
    const struct audit_event event = {.action = AUDIT_RELOAD};
    requester_tell(by->by ? by->by : &nobody, reload->gateway->runtime->audit, event, err);
}

static char *names_text(const json_t *names)
{
    autobuf struct buf text = BUF_INIT(4096);
    for (size_t i = 0; i < json_array_size(names); i++)
        buf_format(&text, "%s%s", i > 0 ? " " : "", json_string_value(json_array_get(names, i)));
    return xstrdup(buf_cstr(&text));
}

static void tell(const struct reload_by *by, const json_t *report, const struct error *err)
{
    if (err->code != ERR_OK) {
        log_event(LOG_ERROR, "config.refused",
                  LOG_FIELDS(log_text("cause", by->cause), log_text("error", err->text)),
                  "the configuration stays as it was: %s", err->text);
        return;
    }
    const json_t *restart = json_object_get(report, "restart");
    autofree char *changed = names_text(json_object_get(report, "changed"));
    autofree char *kept = names_text(restart);
    log_event(LOG_INFO, "config.reloaded",
              LOG_FIELDS(log_text("cause", by->cause), log_text("changed", changed)),
              "the configuration was read again");
    if (json_array_size(restart) > 0)
        log_event(LOG_WARN, "config.restart", LOG_FIELDS(log_text("keys", kept)),
                  "these keys have changed and keep their values until slipway is restarted: %s",
                  kept);
}

/* ---- doing it ---- */

/* *out NULL: no TLS. */
static enum errc read_certificate(const struct settings *settings, struct server_certificate **out,
                                  struct error *err)
{
    *out = NULL;
    if (settings->tls.certificate == NULL)
        return ERR_OK;
    return server_certificate_read(settings->tls.certificate, settings->tls.key, out, err);
}

static void add_name(json_t *names, const char *name)
{
    for (size_t i = 0; i < json_array_size(names); i++)
        if (strcmp(json_string_value(json_array_get(names, i)), name) == 0)
            return;
    json_array_append_new(names, json_string(name));
}

/* What can go wrong comes first. */
static enum errc use(struct gateway *gateway, const struct settings *next, json_t *changed,
                     struct error *err)
{
    struct rules *rules = NULL;
    struct server_certificate *certificate = NULL;
    if (read_certificate(next, &certificate, err) != ERR_OK)
        return err->code;
    if (access_prepare(gateway->access, next, &rules, err) != ERR_OK ||
        runtime_change(gateway->runtime, next, err) != ERR_OK) {
        rules_unref(rules);
        server_certificate_free(certificate);
        return err->code;
    }
    if (certificate && !server_certificate_is_shown(certificate))
        add_name(changed, "tls.certificate");
    server_certificate_use(certificate);
    access_use(gateway->access, rules);
    log_set_level(next->log.level);
    push_queue_changed(gateway->queue);
    sweeps_changed(gateway->sweeps);
    return ERR_OK;
}

static enum errc read_and_use(struct reload *reload, const struct settings *now, json_t **report,
                              struct error *err)
{
    struct settings *next = NULL;
    uint64_t before = settings_stamp(reload->path, now);
    reload->used = before;
    if (settings_load(reload->path, &next, err) != ERR_OK)
        return err->code;
    autosettings const struct settings *held = next;
    autojson json_t *restart = settings_keep_fixed(next, now);
    autojson json_t *changed = settings_changes(now, held);
    if (settings_check(next, err) != ERR_OK || use(reload->gateway, next, changed, err) != ERR_OK)
        return err->code;
    /* What was written while it was read is read at the next look. */
    reload->used =
        before == settings_stamp(reload->path, now) ? settings_stamp(reload->path, held) : 0;
    *report = json_object();
    json_object_set(*report, "changed", changed);
    json_object_set(*report, "restart", restart);
    return ERR_OK;
}

/* With the turn. */
static enum errc run(struct reload *reload, const struct reload_by *by, json_t **out,
                     struct error *err)
{
    autosettings const struct settings *now = runtime_settings(reload->gateway->runtime);
    autojson json_t *report = NULL;
    read_and_use(reload, now, &report, err);
    metric_add(err->code == ERR_OK ? reload->good : reload->bad, 1);
    tell(by, report, err);
    audit(reload, by, err);
    if (out)
        *out = json_incref(report);
    return err->code;
}

enum errc reload_run(struct reload *reload, const struct reload_by *by, json_t **report,
                     struct error *err)
{
    autolock pthread_mutex_t *held = lock_take(&reload->turn);
    return run(reload, by, report, err);
}

void reload_look(struct reload *reload)
{
    static const struct reload_by file = {.cause = "file"};
    struct error err = ERROR_INIT;
    autosettings const struct settings *now = runtime_settings(reload->gateway->runtime);
    uint64_t stamp = settings_stamp(reload->path, now);
    autolock pthread_mutex_t *held = lock_take(&reload->turn);
    bool settled = stamp == reload->seen;
    reload->seen = stamp;
    if (settled && stamp != reload->used)
        run(reload, &file, NULL, &err);
}
