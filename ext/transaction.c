/* transaction.c -- see transaction.h. */
#include "transaction.h"

#include <assert.h>
#include <stddef.h>

#include "acks.h"

/* Naps between two tries to become the writer: short at first, as most transactions are. */
#define NAP_MS_MIN 1
#define NAP_MS_MAX 25

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

/* Asked only when somebody must wait, as it takes a statement. */
static int busy_timeout_ms(sqlite3 *db) {
    sqlite3_stmt *statement = NULL;
    int timeout_ms = 0;

    if (sqlite3_prepare_v2(db, "PRAGMA busy_timeout", -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW) {
        timeout_ms = sqlite3_column_int(statement, 0);
    }
    sqlite3_finalize(statement);
    return timeout_ms;
}

static comet_status begin_patiently(sqlite3 *db, comet_shard *shard, comet_txn **txn,
                                    comet_error *error) {
    comet_status status = comet_txn_begin(shard, txn, error);
    int nap_ms = NAP_MS_MIN;
    int left_ms;

    if (status != COMET_BUSY) {
        return status;
    }
    left_ms = busy_timeout_ms(db);
    while (status == COMET_BUSY && left_ms > 0) {
        nap_ms = nap_ms < left_ms ? nap_ms : left_ms;
        sqlite3_sleep(nap_ms);
        left_ms -= nap_ms;
        nap_ms = nap_ms * 2 < NAP_MS_MAX ? nap_ms * 2 : NAP_MS_MAX;
        status = comet_txn_begin(shard, txn, error);
    }
    return status;
}

comet_status transaction_begin(connection *used, open_shard *shard, comet_error *error) {
    comet_txn *txn = NULL;
    comet_status status;

    if (shard->txn != NULL) {
        return COMET_OK;
    }
    status = begin_patiently(used->db, shard->shard, &txn, error);
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
