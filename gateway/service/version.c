#include "gateway/service/version.h"

#include "base/json.h"
#include "gateway/http/daemon.h"
#include "image/codec.h"

char *version_json(void)
{
    json_t *libraries = json_object();
    json_put_text(libraries, "libmicrohttpd", daemon_library_version());
    json_put_text(libraries, "deflate", gzip_library());
    json_put_text(libraries, "jansson", jansson_version_str());
    json_t *root = json_object();
    json_put_text(root, "version", SLIPWAY_VERSION);
    json_object_set_new(root, "libraries", libraries);
    return json_compact_take(root);
}
