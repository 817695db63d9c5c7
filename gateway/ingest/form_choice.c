#include "gateway/ingest/form_choice.h"

#include <stddef.h>

/* The lower, the better. */
static unsigned rank(const struct form_preference *preference, const struct layer_form *form)
{
    static const unsigned codecs[] = {[CODEC_GZIP] = 2, [CODEC_ZSTD] = 3, [CODEC_NONE] = 4};
    if (form->codec != preference->codec)
        return codecs[form->codec];
    return form->effort == preference->effort ? 0 : 1;
}

const struct layer_form *form_choose(const struct form_preference *preference,
                                     const struct layer_form *forms, size_t count)
{
    const struct layer_form *best = NULL;
    for (size_t i = 0; i < count; i++) {
        if ((preference->no_zstd && forms[i].codec == CODEC_ZSTD) ||
            (preference->seen && forms[i].raw_size == 0))
            continue;
        if (best == NULL || rank(preference, &forms[i]) < rank(preference, best))
            best = &forms[i];
    }
    return best;
}
