/*
 * What is refused before a route sees it, because a web page may have made a browser send it.
 *
 * Browsers let pages of anybody send forms and simple requests to any address, that of the gateway
 * on loopback included, and a page's owner can make a name of theirs point to it (DNS rebinding).
 * Whoever reaches the gateway pushes with its credentials, so:
 * - a name in Host that is not the gateway's is refused, where clients know it by name (hosts) or
 * it listens on loopback; addresses pass elsewhere, since no name can be made to be one;
 * - what changes something is refused when its Origin, or Sec-Fetch-Site, says that another page
 * sent it;
 * - bodies of the media types that forms have are refused below /v1/.
 * Clients that are no browsers send none of these headers.
 *
 * Sources: Fetch, 3.1 (Origin) and 4.10 (what is sent without asking); Fetch Metadata, 2.2
 * (Sec-Fetch-Site); HTML, 4.10.21.8 (media types of forms). Any thread; nothing is kept.
 */
#ifndef SLIPWAY_GATEWAY_SERVER_GUARD_H
#define SLIPWAY_GATEWAY_SERVER_GUARD_H

#include "config/settings_types.h"
#include "gateway/http/request.h"

/* ERR_FORBIDDEN for a Host, Origin or Sec-Fetch-Site that is not the gateway's. */
enum errc guard_sender(const struct settings *settings, const struct request *request,
                       struct error *err);

/* ERR_MEDIA_TYPE for a body of a media type that forms have; the one that `curl --data-binary` and
 * `wget --post-file` give to whatever they send only when the route takes `documents`: a form
 * cannot make an archive of it. `wanted` is what to send instead. */
enum errc guard_body(const struct request *request, bool documents, const char *wanted,
                     struct error *err);

#endif
