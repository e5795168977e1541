/* offer.h -- between SQLite's question in xBestIndex and the planner.
**
** Decides: how SQLite's constraints and orders read for the planner, and how a plan is handed back.
** What a table must add is which column is which, and what it knows of its size.
*/
#ifndef COMET_EXT_OFFER_H
#define COMET_EXT_OFFER_H

#include "planner.h"
#include "sqlite.h"
#include "values.h"

typedef struct offer {
    sqlite3_index_info *info;
    plan_column (*column_of)(int column);
    bool table_valued;
    bool many_shards;
    plan made;

    /* As far as the constraints that were taken have right sides that are known already. */
    interval offsets;
    interval times;
    interval shards;
    bool bounds_unknown[2]; /* as in plan_facts */
} offer;

/* Make the plan.  SQLITE_CONSTRAINT: none is possible this way. */
int offer_plan(offer *offered);

/* Hand it back. */
int offer_answer(offer *offered, const plan_facts *facts);

#endif
