/* SPDX-License-Identifier: Apache-2.0
 * Fuzz target: configuration text. What is accepted must name no environment variable, keep its
 * bounds and be equal to itself; what is refused must say why.
 */
#include "ma/conf.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ma_conf *c = NULL;
    char why[512];
    char names[256];
    int rc = ma_conf_parse("fuzz", ma_span_of(data, size), &c, why);
    if ((rc == MA_OK) != (c != NULL) || (rc == MA_OK) != (why[0] == '\0'))
        abort();
    if (rc != MA_OK)
        return 0;
    ma_conf_needs_restart(c, c, names);
    if (names[0] != '\0' || c->http_threads < 0 || c->http_threads > 256 || c->limits.write_batch < 1 ||
        c->rate_limit.user_reads < 0 || c->rate_limit.user_reads > 1000000000 || strncmp(c->base_url, "http", 4) != 0)
        abort();
    for (size_t i = 0; i < c->n_issuers; i++)
        if (c->issuers[i].algorithms == 0 || !c->issuers[i].audience || !c->issuers[i].jwks_uri)
            abort();
    ma_conf_free(c);
    return 0;
}
