#include "gateway/cli/cli.h"

#include "base/mem.h"
#include "gateway/access/policy.h"
#include "gateway/cli/policy_text.h"
#include "gateway/push/mirrors.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

/* What is asked, as the command line has it. */
struct question {
    const char *config;
    const char *as;
    enum operation operation;
    const char *repository; /* NULL: it is only about a target */
    const char *target;     /* NULL: none is named */
};

struct asked {
    const struct settings *settings;
    const struct policy *policy;
    struct identity who; /* owned */
    bool denied;         /* an answer was */
};

/* "ann,team-a,ops": who, then the groups that a mapping gives. */
static void identity_of(const char *text, struct identity *out)
{
    bool certificate = strncmp(text, "cert:", 5) == 0; /* commas are of its subject */
    size_t size = certificate ? strlen(text) : strcspn(text, ",");
    out->name = xstrndup(text, size);
    out->kind = strncmp(text, "robot:", 6) == 0 ? IDENTITY_ROBOT
                : certificate                   ? IDENTITY_CERTIFICATE
                : text[size] == ','             ? IDENTITY_CI
                                                : IDENTITY_USER;
    if (strcmp(out->name, "anonymous") == 0) {
        identity_deinit(out);
        return;
    }
    size_t capacity = 0;
    for (const char *at = text + size; *at == ','; at += size) {
        size = strcspn(++at, ",");
        out->groups = mem_grow(out->groups, out->group_count, &capacity, sizeof *out->groups);
        out->groups[out->group_count++] = xstrndup(at, size);
    }
}

static void answer(struct asked *asked, struct policy_verdict verdict, const char *what)
{
    asked->denied = asked->denied || !verdict.allowed;
    printf("%s: %s may %s%s", verdict.allowed ? "allowed" : "denied", identity_text(&asked->who),
           verdict.allowed ? "" : "not ", what);
    if (verdict.rule > 0) {
        autofree char *rule = policy_rule_text(&asked->settings->policy[verdict.rule - 1]);
        printf(" (rule %d: %s)\n", verdict.rule, rule);
    } else {
        puts(asked->policy ? " (no rule)" : " (there is no policy)");
    }
}

static void ask_target(struct asked *asked, const struct reference *target, const char *why)
{
    autofree char *name = policy_target_name(target);
    autofree char *what = xasprintf("push to %s%s", name, why);
    answer(asked, policy_may_push_to(asked->policy, &asked->who, target), what);
}

static void ask_repository(struct asked *asked, enum operation operation, const char *repository)
{
    bool somewhere = repository[0] != '\0';
    autofree char *what =
        xasprintf("%s%s%s", operation_name(operation), somewhere ? " in " : "", repository);
    answer(asked, policy_may(asked->policy, &asked->who, operation, repository), what);
}

static enum errc ask(struct asked *asked, const struct question *question, struct error *err)
{
    struct mirror_route route = {.count = 0};
    struct reference target;
    bool push = question->operation == OPERATION_PUSH;
    if (push && question->repository &&
        mirrors_route(asked->settings, question->repository, &route, err) != ERR_OK)
        return err->code;
    if (question->target && reference_parse(question->target, &target, err) != ERR_OK)
        return err->code;
    if (question->repository)
        ask_repository(asked, question->operation, question->repository);
    for (size_t i = 0; i < route.count; i++)
        ask_target(asked, &route.targets[i].repository, ", where mirrors lead");
    if (question->target)
        ask_target(asked, &target, "");
    return ERR_OK;
}

/* ---- the command line ---- */

static int read_words(struct question *question, int argc, char **argv)
{
    int words = argc - optind;
    char **word = argv + optind;
    if (words == 0 || strcmp(word[0], "test") != 0)
        return cli_usage(argv[0], "policy needs the word \"test\"");
    if (question->as == NULL || question->as[0] == '\0' || question->as[0] == ',')
        return cli_usage(argv[0], "policy test needs --as NAME: a user, robot:NAME or anonymous");
    if (words < 2 || !operation_by_name(word[1], &question->operation))
        return cli_usage(argv[0], "policy test needs an operation: pull, push, delete, tag:move, "
                                  "queue:read, queue:control or admin");
    bool to = words >= 4 && strcmp(word[words - 2], "to") == 0;
    int left = words - (to ? 4 : 2); /* words of the repository */
    bool needed = !to && question->operation < OPERATION_QUEUE_READ;
    if (left > 1 || (left == 0 && needed))
        return cli_usage(argv[0], "policy test needs an operation, a repository and, perhaps, to "
                                  "TARGET");
    if (to && question->operation != OPERATION_PUSH)
        return cli_usage(argv[0], "only push goes to a target");
    question->target = to ? word[words - 1] : NULL;
    question->repository = left == 1 ? word[2] : to ? NULL : "";
    return EXIT_PUSHED;
}

static int read_question(struct question *question, int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"as", required_argument, NULL, 'a'},
                                            {NULL, 0, NULL, 0}};
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'c')
            question->config = optarg;
        else if (option == 'a')
            question->as = optarg;
        else
            return cli_usage(argv[0], "policy: unknown option or missing value: %s",
                             argv[optind - 1]);
    }
    return read_words(question, argc, argv);
}

int cmd_policy(int argc, char **argv)
{
    struct question question = {0};
    struct settings *settings = NULL;
    struct error err = ERROR_INIT;
    int status = read_question(&question, argc, argv);
    if (status != EXIT_PUSHED)
        return status;
    if (cli_settings(question.config, NULL, NULL, &settings, &err) != ERR_OK) {
        cli_complain("%s", err.text);
        return EXIT_USAGE;
    }
    struct policy *policy = policy_new(settings);
    struct asked asked = {.settings = settings, .policy = policy};
    identity_of(question.as, &asked.who);
    if (ask(&asked, &question, &err) != ERR_OK) {
        cli_complain("%s", err.text);
        status = EXIT_USAGE;
    } else if (asked.denied) {
        status = EXIT_TARGET_FAILED;
    }
    identity_deinit(&asked.who);
    policy_free(policy);
    settings_free(settings);
    return status;
}
