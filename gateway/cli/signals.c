#include "gateway/cli/cli.h"

#include "base/clock.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

/* Sent by this process to itself: no signal that anybody else sends. */
#define WAKE_SIGNAL SIGUSR2

static struct {
    pthread_t thread;
    struct cancel *cancel;
    atomic_int received;
    bool running;
} watch;

static bool hangup; /* SIGHUP is one that signals_next() tells */

static void fill(sigset_t *set, bool wake)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    if (wake)
        sigaddset(set, WAKE_SIGNAL);
    if (hangup)
        sigaddset(set, SIGHUP);
}

void signals_block(void)
{
    sigset_t set;
    fill(&set, true);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    /* Both are errors of a write, which is looked at. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

void signals_take_hangup(void)
{
    sigset_t set;
    hangup = true;
    fill(&set, true);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void *watch_thread(void *arg)
{
    (void)arg;
    sigset_t set;
    fill(&set, true);
    for (int signal = 0; sigwait(&set, &signal) == 0 && signal != WAKE_SIGNAL;) {
        if (atomic_exchange(&watch.received, signal) != 0)
            _exit(128 + signal);
        cancel_request(watch.cancel);
    }
    return NULL;
}

void signals_watch(struct cancel *cancel)
{
    watch.cancel = cancel;
    watch.running = pthread_create(&watch.thread, NULL, watch_thread, NULL) == 0;
}

int signals_unwatch(void)
{
    if (watch.running) {
        pthread_kill(watch.thread, WAKE_SIGNAL);
        pthread_join(watch.thread, NULL);
        watch.running = false;
    }
    return atomic_load(&watch.received);
}

int signals_next(int64_t ms)
{
    sigset_t set;
    fill(&set, true);
    struct timespec wait = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    int signal = sigtimedwait(&set, NULL, &wait);
    return signal > 0 && signal != WAKE_SIGNAL ? signal : 0;
}

void signals_wake(void)
{
    kill(getpid(), WAKE_SIGNAL);
}
