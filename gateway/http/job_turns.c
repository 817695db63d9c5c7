#include "gateway/http/jobs_internal.h"

#include "base/mem.h"

/* What one look at a class ends: found under the table's lock, ended without it. */
struct ending {
    struct job *job; /* a reference */
    bool waits;      /* it never runs */
    struct error why;
};

struct endings {
    struct ending *items; /* owned array */
    size_t count;
};

/* Why a body ends, and which: in the order of what they brought, the least first. */
struct wanted {
    int64_t now_ms;
    int64_t window_ms;
    size_t below_bytes; /* it brought less than this, where it is judged; SIZE_MAX: any */
    const struct net_address *address; /* of this address; NULL: of all */
    bool documents;                    /* those with a large document, of any class */
};

static bool fits(const struct wanted *wanted, struct job *job, struct job_pace *pace)
{
    if (wanted->address && !net_address_equal(&job->share, wanted->address))
        return false;
    return job_receives(job, wanted->now_ms, wanted->window_ms, pace) &&
           (wanted->below_bytes == SIZE_MAX || job_pace_below(pace, wanted->below_bytes));
}

/* Of those that brought as little the newest, which has least to lose: it is first in the list. */
static struct job *slowest_locked(struct jobs *jobs, enum job_class class,
                                  const struct wanted *wanted)
{
    struct job *found = NULL;
    struct job *job;
    size_t least = 0;
    TAILQ_FOREACH(job, &jobs->all, link)
    {
        struct job_pace pace;
        bool holds = wanted->documents ? job->document : job->work.class == class && job->placed;
        if (!holds || !fits(wanted, job, &pace))
            continue;
        size_t bytes = pace.judged ? pace.last_bytes : SIZE_MAX;
        if (found == NULL || bytes < least) {
            found = job;
            least = bytes;
        }
    }
    return found;
}

static void list(struct endings *endings, struct job *job, const struct error *why)
{
    job_ref(job);
    job_mark_ended(job, true);
    endings->items[endings->count++] = (struct ending){.job = job, .why = *why};
}

static void say_slow(bool closed, struct error *why)
{
    if (closed)
        fail(why, ERR_STOPPING, 0,
             "the gateway is stopping, and the body brings less than %zu bytes in %d seconds: send "
             "it again when the gateway is back",
             CLIENT_PACE_BYTES, STOPPING_PACE_MS / 1000);
    else
        fail(why, ERR_CLIENT_STALLED, 0,
             "the client sent less than %zu bytes in %d seconds, while others wait for its place: "
             "send it again, on a better line",
             CLIENT_PACE_BYTES, CLIENT_PACE_MS / 1000);
}

static int64_t window_ms(const struct jobs *jobs)
{
    return jobs->closed ? STOPPING_PACE_MS : CLIENT_PACE_MS;
}

/* JOB_CLASSES: those of large documents, which are one number over all classes. */
static struct places *places_of_class(struct jobs *jobs, enum job_class class)
{
    return class == JOB_CLASSES ? &jobs->documents : &jobs->classes[class].places;
}

/* As many as others want places, of those that are too slow for that; all when it stops. */
static void end_slow_locked(struct jobs *jobs, enum job_class class, int64_t now_ms,
                            struct endings *endings)
{
    const struct wanted wanted = {.now_ms = now_ms,
                                  .window_ms = window_ms(jobs),
                                  .below_bytes = CLIENT_PACE_BYTES,
                                  .documents = class == JOB_CLASSES};
    bool all = jobs->closed && class != JOB_CLASSES;
    unsigned places = places_wanted(places_of_class(jobs, class), now_ms);
    struct error why = ERROR_INIT;
    struct job *job;
    say_slow(jobs->closed, &why);
    while ((all || places-- > 0) && (job = slowest_locked(jobs, class, &wanted)) != NULL)
        list(endings, job, &why);
}

static void say_share(const struct places *places, const struct place_holder *from, bool known,
                      struct error *why)
{
    char text[NET_ADDRESS_TEXT_MAX];
    fail(why, ERR_BUSY, 0,
         "%s holds %u of the %u places, and another client waits for one: this body, its slowest, "
         "had to give its place up; send it again, fewer at a time",
         known ? "your login" : net_address_text(&from->address, text), from->held, places->limit);
}

/* One at a time, and only as long as an address waits in vain. */
static void end_share_locked(struct jobs *jobs, enum job_class class, int64_t now_ms,
                             struct endings *endings)
{
    struct places *places = places_of_class(jobs, class);
    const struct place_holder *from;
    struct place_holder *starved = places_starved(places, &from);
    if (starved == NULL || now_ms - starved->wants_ms < SHARE_WAIT_MS)
        return;
    bool any = now_ms - starved->wants_ms >= SHARE_WAIT_LONG_MS;
    const struct wanted wanted = {.now_ms = now_ms,
                                  .window_ms = window_ms(jobs),
                                  .below_bytes = any ? SIZE_MAX : SHARE_PACE_BYTES,
                                  .address = &from->address,
                                  .documents = class == JOB_CLASSES};
    struct job *job = slowest_locked(jobs, class, &wanted);
    if (job == NULL)
        return;
    struct error why = ERROR_INIT;
    say_share(places, from, job->peer.known, &why);
    list(endings, job, &why);
}

/* When it stops: of those that wait, whose bodies would only hold up the rest. */
static void end_waiting_locked(struct jobs *jobs, int64_t now_ms, struct endings *endings)
{
    struct error why = ERROR_INIT;
    struct job *job;
    say_slow(true, &why);
    TAILQ_FOREACH(job, &jobs->all, link)
    {
        if (!job->queued || now_ms - job->queued_ms < STOPPING_PACE_MS ||
            !job_lacks(job, CLIENT_PACE_BYTES))
            continue;
        list(endings, job, &why);
        endings->items[endings->count - 1].waits = job_take_back_locked(job);
    }
}

/* Also while nobody wants their places: who comes then does not wait for a whole window. */
static void judge_all_locked(struct jobs *jobs, int64_t now_ms)
{
    struct job_pace pace;
    struct job *job;
    TAILQ_FOREACH(job, &jobs->all, link)
    {
        job_receives(job, now_ms, window_ms(jobs), &pace);
    }
}

void jobs_sweep(struct jobs *jobs, int64_t now_ms)
{
    struct endings endings = {.count = 0};
    pthread_mutex_lock(&jobs->lock);
    judge_all_locked(jobs, now_ms);
    endings.items = xcalloc(jobs->unended + 1, sizeof *endings.items);
    for (enum job_class class = 0; class <= JOB_CLASSES; class ++) {
        end_slow_locked(jobs, class, now_ms, &endings);
        end_share_locked(jobs, class, now_ms, &endings);
    }
    if (jobs->closed)
        end_waiting_locked(jobs, now_ms, &endings);
    pthread_mutex_unlock(&jobs->lock);
    for (size_t i = 0; i < endings.count; i++) {
        struct ending *ending = &endings.items[i];
        job_end_early(ending->job, &ending->why);
        if (ending->waits)
            job_refuse(ending->job, &ending->why);
        job_unref(ending->job);
    }
    free(endings.items);
}
