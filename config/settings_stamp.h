/*
 * Has anything changed that the configuration is read from? A stamp is a hash of what the file
 * system says of each file (device, inode, size, times), not of its content; two that are equal are
 * of files that nobody has written to or replaced in between.
 *
 * Files that who uses them looks at by themselves are left out: clients.htpasswd, jwks_file.
 *
 * Any thread; reads nothing but file attributes.
 */
#ifndef SLIPWAY_CONFIG_SETTINGS_STAMP_H
#define SLIPWAY_CONFIG_SETTINGS_STAMP_H

#include "config/settings_types.h"

/* Of the configuration's file (NULL: there is none) and of the files that `settings` names:
 * password files, certificates, keys. */
uint64_t settings_stamp(const char *path, const struct settings *settings);

/* Of an entry's credentials and of the files that it names: another one is another way to reach the
 * registry, where all else is the same. Never 0. */
uint64_t settings_registry_stamp(const struct registry_setting *registry);

#endif
