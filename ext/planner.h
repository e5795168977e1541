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
**
** and of tables over many shards
**
**         14 shard>     15 shard>=     16 shard<      17 shard<=
**         18 stream=    19 id=         20 rowid=
**
**         21 rows come in timestamp order (else in offset order)   22 descending
**         23 an ORDER BY was taken (for the words only)
**         24 the table has many shards; without 25 or 21 they come one after another
**         25 shard after shard was asked for, each in the order of 21 and 22
**         26 the shards come in descending order
**         27 shard= has a list of values on its right
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
    PLAN_STREAM,
    PLAN_ID,        /* shard and offset */
    PLAN_ROWID,     /* where that is not the offset */
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
    bool many_shards;  /* shard is a column like others, no argument */
    bool shard_list;   /* the first shard= is an IN whose values can be had all at once */
} plan_request;

#define PLAN_SLOT_COUNT 21
#define PLAN_LOG_EQ (1u << 0)
#define PLAN_SHARD_EQ (1u << 1)
#define PLAN_OFFSET_EQ (1u << 2)
#define PLAN_TIMESTAMP_EQ (1u << 7)
#define PLAN_HAS_LIMIT (1u << 12)
#define PLAN_HAS_SKIP (1u << 13)
#define PLAN_ID_EQ (1u << 19)
#define PLAN_ROWID_EQ (1u << 20)
#define PLAN_BY_TIME (1u << 21)
#define PLAN_DESCENDING (1u << 22)
#define PLAN_ORDERED (1u << 23)
#define PLAN_MANY_SHARDS (1u << 24)
#define PLAN_BY_SHARD (1u << 25)
#define PLAN_SHARDS_DESCENDING (1u << 26)
#define PLAN_SHARD_LIST (1u << 27)

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
