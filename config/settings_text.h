/*
 * The small notations inside setting values: sizes, durations, addresses and URLs.
 *
 * The errors of these functions (ERR_SETTINGS) say what is wrong with the value but neither repeat
 * it (a URL may hold a password) nor name its key: that is the caller's.
 */
#ifndef SLIPWAY_CONFIG_SETTINGS_TEXT_H
#define SLIPWAY_CONFIG_SETTINGS_TEXT_H

#include "base/error.h"
#include "base/net.h"

#include <stdint.h>

/* net_authority_parse() with an error. */
enum errc setting_authority(const char *text, size_t size, struct net_authority *out,
                            struct error *err);

/* A base URL: http:// or https://, an authority, perhaps a path; no user name, query or fragment.
 */
struct setting_url {
    bool https;
    struct net_authority authority;
};
enum errc setting_url(const char *text, struct setting_url *out, struct error *err);

/* "64MiB", "1GB", "512" to bytes. "30s", "5m", "1h", "250ms" to milliseconds. Whole numbers, no
 * spaces, less than 2^63. ERR_SETTINGS. */
enum errc settings_size(const char *text, uint64_t *bytes, struct error *err);
enum errc settings_duration(const char *text, int64_t *ms, struct error *err);

/* `listen` as the sockets want it: an IPv4 address or an IPv6 address in brackets, and a port.
 * ERR_SETTINGS; never when the text is the `listen` of settings that were parsed. */
enum errc settings_address(const char *text, struct sockaddr_storage *address, socklen_t *size,
                           struct error *err);

/* The shortest text that settings_size() reads back as `bytes`: "95MiB", "1000B". */
#define SETTING_SIZE_TEXT_MAX 32
const char *setting_size_text(uint64_t bytes, char out[SETTING_SIZE_TEXT_MAX]);

/* The same for settings_duration(): "5s", "1500ms". */
const char *setting_duration_text(uint64_t ms, char out[SETTING_SIZE_TEXT_MAX]);

#endif
