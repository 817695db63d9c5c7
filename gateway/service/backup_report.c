#include "gateway/service/backup_report.h"

#include "base/log.h"
#include "base/mem.h"

enum errc backup_run(const struct settings *settings, struct store *store,
                     const struct cancel *cancel, json_t **out, struct error *err)
{
    struct backup_report report;
    if (store_backup(store, cancel, &report, err) != ERR_OK)
        return err->code;
    autofree char *path = xasprintf("%s/" BACKUP_FOLDER, settings->data);
    log_event(LOG_INFO, "backup.made",
              LOG_FIELDS(log_text("path", path), log_number("blobs", report.blobs),
                         log_number("bytes", report.bytes), log_number("missing", report.missing)),
              "the data folder was backed up");
    *out = json_object();
    json_object_set_new(*out, "path", json_string(path));
    json_put_number(*out, "blobs", report.blobs);
    json_put_number(*out, "bytes", report.bytes);
    json_put_number(*out, "missing", report.missing);
    return ERR_OK;
}
