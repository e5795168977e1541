/* transaction.c -- see transaction.h. */
#include "transaction.h"

#include <assert.h>
#include <stddef.h>

#include "acks.h"
#include "patience.h"

void transaction_join(connection *used, bool *joined) {
    if (!*joined) {
        *joined = true;
        used->transaction.participants++;
    }
}

void transaction_leave(connection *used, bool *joined) {
    if (*joined) {
        assert(used->transaction.participants > 0);
        *joined = false;
        used->transaction.participants--;
    }
}

bool transaction_depends_on(const connection *used, bool joined) {
    return joined && used->transaction.participants == 1 &&
           (used->transaction.writing != NULL || used->transaction.ack_count > 0);
}

comet_status transaction_begin(connection *used, open_shard *shard, comet_error *error) {
    patience waiting = patience_for(used->db);
    comet_txn *txn = NULL;
    comet_status status;

    if (shard->txn != NULL) {
        return COMET_OK;
    }
    do {
        status = comet_txn_begin(shard->shard, &txn, error);
    } while (status == COMET_BUSY && patience_nap(&waiting));
    for (int level = 0; status == COMET_OK && level < used->transaction.depth; level++) {
        status = comet_txn_savepoint(txn, level, error);
    }
    if (status != COMET_OK) {
        comet_txn_rollback(txn);
        return status;
    }
    shard->txn = txn;
    shard->next_writing = used->transaction.writing;
    used->transaction.writing = shard;
    return COMET_OK;
}

comet_status transaction_prepare(connection *used, comet_error *error) {
    for (open_shard *shard = used->transaction.writing; shard != NULL;
         shard = shard->next_writing) {
        comet_status status = comet_txn_prepare(shard->txn, error);

        if (status != COMET_OK) {
            return status;
        }
    }
    return acks_prepare(used, error);
}

/* End all core transactions in one way or the other. */
static void end_all(transaction *ended, void (*end)(comet_txn *txn)) {
    while (ended->writing != NULL) {
        open_shard *shard = ended->writing;
        comet_txn *txn = shard->txn;

        ended->writing = shard->next_writing;
        shard->next_writing = NULL;
        shard->txn = NULL;
        end(txn);
    }
    ended->depth = 0;
}

void transaction_publish(connection *used) {
    end_all(&used->transaction, comet_txn_publish);
    acks_publish(used);
}

void transaction_rollback(connection *used) {
    end_all(&used->transaction, comet_txn_rollback);
    acks_forget(used);
}

comet_status transaction_savepoint(connection *used, int level, comet_error *error) {
    for (open_shard *shard = used->transaction.writing; shard != NULL;
         shard = shard->next_writing) {
        comet_status status = comet_txn_savepoint(shard->txn, level, error);

        if (status != COMET_OK) {
            return status;
        }
    }
    if (used->transaction.depth <= level) {
        used->transaction.depth = level + 1;
    }
    return COMET_OK;
}

void transaction_release(connection *used, int level) {
    for (open_shard *shard = used->transaction.writing; shard != NULL;
         shard = shard->next_writing) {
        comet_txn_release(shard->txn, level);
    }
    acks_release(used, level);
    if (used->transaction.depth > level) {
        used->transaction.depth = level;
    }
}

void transaction_rollback_to(connection *used, int level) {
    for (open_shard *shard = used->transaction.writing; shard != NULL;
         shard = shard->next_writing) {
        comet_txn_rollback_to(shard->txn, level);
    }
    acks_rollback_to(used, level);
    used->transaction.depth = level + 1;
}
