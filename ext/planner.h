/* planner.h -- from the constraints of a query to a plan; pure, knows neither SQLite nor the core.
**
** Decides: which constraints the index takes, when the order and LIMIT/OFFSET may be taken too,
** what a plan costs, and its words in EXPLAIN QUERY PLAN.
**
** A plan is a set of bits, which travels through SQLite as idxNum.  Each of the first
** PLAN_SLOT_COUNT bits says that the plan takes one constraint; the arguments of xFilter are the
** right sides of those, in the order of the bits:
**
**     bit  0 log=        1 shard=
**          2 offset=     3 offset>     4 offset>=     5 offset<     6 offset<=
**          7 timestamp=  8 timestamp>  9 timestamp>= 10 timestamp< 11 timestamp<=
**         12 LIMIT      13 OFFSET
**         14 rows come in timestamp order (else in offset order)   15 descending
**         16 an ORDER BY was taken (for the words only)
*/
#ifndef COMET_EXT_PLANNER_H
#define COMET_EXT_PLANNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum plan_column {
    PLAN_LOG,
    PLAN_SHARD,
    PLAN_OFFSET,
    PLAN_TIMESTAMP,
    PLAN_NO_COLUMN, /* LIMIT and OFFSET have none */
    PLAN_OTHER_COLUMN
} plan_column;

typedef enum plan_operator {
    PLAN_EQ,
    PLAN_GT,
    PLAN_GE,
    PLAN_LT,
    PLAN_LE,
    PLAN_LIMIT,
    PLAN_SKIP, /* SQL's OFFSET, which is not our column of that name */
    PLAN_OTHER_OPERATOR
} plan_operator;

typedef struct plan_constraint {
    plan_column column;
    plan_operator comparison;
    bool usable;  /* the right side is known when the scan begins */
    bool literal; /* the right side is known now, and so is no row value */
} plan_constraint;

typedef struct plan_order {
    plan_column column;
    bool descending;
} plan_order;

typedef struct plan_request {
    const plan_constraint *constraints;
    int constraint_count;
    const plan_order *orders;
    int order_count;
    bool table_valued; /* log= and shard= are arguments: they must be taken */
    bool may_skip;     /* this SQLite can be trusted with OFFSET */
} plan_request;

#define PLAN_SLOT_COUNT 14
#define PLAN_LOG_EQ (1u << 0)
#define PLAN_SHARD_EQ (1u << 1)
#define PLAN_OFFSET_EQ (1u << 2)
#define PLAN_TIMESTAMP_EQ (1u << 7)
#define PLAN_HAS_LIMIT (1u << 12)
#define PLAN_HAS_SKIP (1u << 13)
#define PLAN_BY_TIME (1u << 14)
#define PLAN_DESCENDING (1u << 15)
#define PLAN_ORDERED (1u << 16)

typedef struct plan {
    unsigned flags;
    int source[PLAN_SLOT_COUNT]; /* the constraint that each set slot takes; else -1 */
} plan;

/* Column and operator of a slot. */
plan_column plan_slot_column(int slot);
plan_operator plan_slot_operator(int slot);

/* Make a plan.  False: no plan is possible before an unusable argument becomes usable. */
bool plan_make(const plan_request *request, plan *made);

/* What is known of the shard when planning. */
typedef struct plan_facts {
    uint64_t rows_within;   /* about, within the bounds that are literals */
    bool bounds_unknown[2]; /* of offset, of timestamp: some bound is no literal */
    bool in_order;
} plan_facts;

typedef struct plan_price {
    double cost; /* in rows walked */
    int64_t rows;
    bool unique; /* one row at most */
} plan_price;

void plan_estimate(const plan *made, const plan_facts *facts, plan_price *price);

/* The words of a plan; always NUL-terminated.  PLAN_WORDS_BYTES suffice. */
#define PLAN_WORDS_BYTES 256
void plan_words(unsigned flags, char *words, size_t size);

#endif
