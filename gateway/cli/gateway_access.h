/*
 * How a command with `--gateway` reaches its gateway: the URL, the authorities that may sign its
 * certificate, and who asks.
 *
 * A gateway with a policy, or a proxy in front of it, asks by Basic authentication. What is known
 * of it is looked for in this order:
 * - user and password: `--user` and `--password-file`, the userinfo of the URL, SLIPWAY_USER, the
 *   entry for its host in `registries` of the configuration, Docker's config.json. A `--user` or
 *   SLIPWAY_USER is "USER" or "USER:PASSWORD"; a password file goes before any other password.
 * - authorities: `--ca`, SLIPWAY_CA, that entry; else those of every transport.
 */
#ifndef SLIPWAY_GATEWAY_CLI_GATEWAY_ACCESS_H
#define SLIPWAY_GATEWAY_CLI_GATEWAY_ACCESS_H

#include "config/settings.h"

/* Options of the command line; NULL where one was not given. Borrowed. */
struct gateway_options {
    const char *url; /* of --gateway or SLIPWAY_GATEWAY; without a scheme it is https, on loopback
                        http */
    const char *ca;
    const char *user;
    const char *password_file;
};

/* All texts are owned. */
struct gateway_access {
    char *socket;        /* the path of a socket to connect to in place of its host; NULL: none */
    char *url;           /* without userinfo and without a slash at its end */
    char *host;          /* as in references: "gw.example.com:5443" */
    char *ca;            /* NULL: none was named */
    char *ca_setting;    /* where one can be named, for messages */
    char *authorization; /* the field value, a secret; NULL: there are no credentials */
    char *advice;        /* what to do when it is refused, or when there is none */
};

/* ERR_BAD_REQUEST: the URL, or a user or password without the other. ERR_SETTINGS: a file. Docker's
 * config.json is not read over plain HTTP beyond loopback, unless the entry allows plain_http; that
 * it cannot be read is part of the advice only. */
enum errc gateway_access_find(const struct gateway_options *options,
                              const struct settings *settings, struct gateway_access *out,
                              struct error *err);
void gateway_access_deinit(struct gateway_access *access);

#endif
