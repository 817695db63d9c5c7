/*
 * The small notations inside setting values: addresses and URLs. Sizes, durations and the listening
 * address are in config/settings.h; settings_text.c holds all of them.
 *
 * The errors of these functions (ERR_SETTINGS) say what is wrong with the value but neither repeat
 * it (a URL may hold a password) nor name its key: that is the caller's.
 */
#ifndef SLIPWAY_CONFIG_SETTINGS_TEXT_H
#define SLIPWAY_CONFIG_SETTINGS_TEXT_H

#include "base/error.h"

#include <stdint.h>

#define SETTING_HOST_MAX 255

/* RFC 3986 section 3.2 without userinfo: "host", "host:port", "[v6]" or "[v6]:port". The host is
 * lower-cased and without brackets. */
struct setting_authority {
    char host[SETTING_HOST_MAX + 1];
    bool has_port;
    uint16_t port;
};
enum errc setting_authority(const char *text, size_t size, struct setting_authority *out,
                            struct error *err);

/* A base URL: http:// or https://, an authority, perhaps a path; no user name, query or fragment.
 */
struct setting_url {
    bool https;
    struct setting_authority authority;
};
enum errc setting_url(const char *text, struct setting_url *out, struct error *err);

/* localhost, *.localhost, 127.0.0.0/8, ::1 and the latter two mapped. */
bool setting_host_is_loopback(const char *host);

/* The shortest text that settings_size() reads back as `bytes`: "95MiB", "1000B". */
#define SETTING_SIZE_TEXT_MAX 32
const char *setting_size_text(uint64_t bytes, char out[SETTING_SIZE_TEXT_MAX]);

/* The same for settings_duration(): "5s", "1500ms". */
const char *setting_duration_text(uint64_t ms, char out[SETTING_SIZE_TEXT_MAX]);

#endif
