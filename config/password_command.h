/*
 * `registries.HOST.password_command`: a program that prints the password of a registry, for
 * registries whose passwords last for hours only. The first line of its stdout is the password.
 *
 * Any thread; it waits, see config/program.h. What the program writes to stderr goes to the log
 * when it fails, its first line and without the password; nothing of it is part of an error, which
 * clients see.
 */
#ifndef SLIPWAY_CONFIG_PASSWORD_COMMAND_H
#define SLIPWAY_CONFIG_PASSWORD_COMMAND_H

#include "config/settings_types.h"

/* *password owned: to be wiped. ERR_CREDENTIALS names the setting and the program, never its
 * arguments: it cannot be run, fails, is too slow, prints nothing, more than 64 KiB or a control
 * character. */
enum errc password_command_run(const struct registry_setting *registry, char **password,
                               struct error *err);

#endif
