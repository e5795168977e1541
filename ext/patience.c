/* patience.c -- see patience.h. */
#include "patience.h"

#include <stddef.h>

/* Naps between two tries: short at first, as most transactions are. */
#define NAP_MS_MIN 1
#define NAP_MS_MAX 25

patience patience_for(sqlite3 *db) {
    return (patience){.db = db};
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

bool patience_nap(patience *waiting) {
    if (waiting->nap_ms == 0) {
        waiting->nap_ms = NAP_MS_MIN;
        waiting->left_ms = busy_timeout_ms(waiting->db);
    }
    if (waiting->left_ms <= 0) {
        return false;
    }
    if (waiting->nap_ms > waiting->left_ms) {
        waiting->nap_ms = waiting->left_ms;
    }
    sqlite3_sleep(waiting->nap_ms);
    waiting->left_ms -= waiting->nap_ms;
    waiting->nap_ms = waiting->nap_ms * 2 < NAP_MS_MAX ? waiting->nap_ms * 2 : NAP_MS_MAX;
    return true;
}
