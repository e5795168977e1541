/* visit.c -- see visit.h. */
#include "visit.h"

comet_status visit_shards(connection *used, const char *directory, shard_visitor *visit,
                          void *context, comet_error *error) {
    open_log *log;
    uint32_t *ids = NULL;
    size_t count = 0;
    comet_status status = connection_log(used, directory, false, &log, error);

    if (status == COMET_OK) {
        status = comet_log_shards(log->log, &ids, &count, error);
    }
    if (status != COMET_OK) {
        return status;
    }
    for (size_t i = 0; i < count; i++) {
        comet_shard *shard = NULL;
        comet_error failure;

        if (comet_shard_open(log->log, ids[i], false, &shard, &failure) != COMET_OK) {
            shard = NULL;
        }
        visit(shard, ids[i], &failure, context);
        comet_shard_close(shard);
    }
    comet_free(ids);
    return COMET_OK;
}
