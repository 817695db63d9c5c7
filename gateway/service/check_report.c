#include "gateway/service/check_report.h"

void check_report_init(struct check_report *report, bool repair)
{
    *report = (struct check_report){.state = "running", .repair = repair, .problems = json_array()};
}

void check_report_deinit(struct check_report *report)
{
    json_decref(report->problems);
    report->problems = NULL;
}

void check_report_found(void *self, const struct check_problem *problem)
{
    struct check_report *report = self;
    if (json_array_size(report->problems) >= CHECK_LISTED_MAX)
        return;
    json_t *object = json_object();
    json_put_text(object, "kind", check_kind_name(problem->kind));
    if (problem->table[0] != '\0')
        json_put_text(object, "table", problem->table);
    json_put_text(object, "name", problem->name);
    json_put_text(object, "text", problem->text);
    json_put_text(object, "action", check_action_name(problem->action));
    json_array_append_new(report->problems, object);
}

json_t *check_report_json(const struct check_report *report)
{
    const struct check_counts *counts = &report->counts;
    json_t *root = json_object();
    json_put_text(root, "state", report->state);
    json_object_set_new(root, "repair", json_boolean(report->repair));
    json_put_number(root, "blobs", counts->blobs);
    json_put_number(root, "bytes", counts->bytes);
    json_put_number(root, "files", counts->files);
    json_put_number(root, "records", counts->records);
    json_put_number(root, "leftovers", counts->leftovers);
    json_put_number(root, "found", counts->problems);
    json_put_number(root, "repaired", counts->repaired);
    if (report->error.code != ERR_OK)
        json_put_text(root, "error", report->error.text);
    json_object_set(root, "problems", report->problems);
    return root;
}
