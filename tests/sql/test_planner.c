/* A wrong plan returns wrong rows in silence: rows that SQLite believes to be filtered, ordered or
** counted already. */
#include <string.h>

#include "harness.h"
#include "planner.h"

static plan made;

static bool make(const plan_constraint *constraints, int count, const plan_order *orders,
                 int order_count, bool table_valued) {
    plan_request request = {constraints,  count, orders, order_count,
                            table_valued, true,  false,  false};

    return plan_make(&request, &made);
}

static void says(const char *expected) {
    char words[PLAN_WORDS_BYTES];

    plan_words(made.flags, words, sizeof words);
    assert_string_equal(words, expected);
}

static void test_nothing_asked_reads_all(void **state) {
    (void)state;
    assert_true(make(NULL, 0, NULL, 0, false));
    assert_int_equal(made.flags, 0);
    says("all entries");
}

static void test_each_bound_has_its_slot(void **state) {
    static const plan_operator operators[] = {PLAN_EQ, PLAN_GT, PLAN_GE, PLAN_LT, PLAN_LE};

    (void)state;
    for (int column = PLAN_OFFSET; column <= PLAN_TIMESTAMP; column++) {
        for (int i = 0; i < 5; i++) {
            plan_constraint one = {(plan_column)column, operators[i], true, false};
            int taken = 0;

            assert_true(make(&one, 1, NULL, 0, false));
            for (int slot = 0; slot < PLAN_SLOT_COUNT; slot++) {
                if (made.source[slot] == 0) {
                    taken++;
                    assert_int_equal(plan_slot_column(slot), column);
                    assert_int_equal(plan_slot_operator(slot), operators[i]);
                    assert_int_equal(made.flags, 1u << slot);
                }
            }
            assert_int_equal(taken, 1);
        }
    }
}

static void test_words_follow_the_slots(void **state) {
    plan_constraint constraints[] = {{PLAN_TIMESTAMP, PLAN_LT, true, true},
                                     {PLAN_OFFSET, PLAN_GE, true, true},
                                     {PLAN_NO_COLUMN, PLAN_LIMIT, true, true},
                                     {PLAN_NO_COLUMN, PLAN_SKIP, true, true}};
    plan_order order = {PLAN_TIMESTAMP, true};

    (void)state;
    assert_true(make(constraints, 4, &order, 1, false));
    says("offset>=? AND timestamp<? ORDER BY timestamp DESC LIMIT ? OFFSET ?");
}

static void test_a_second_bound_of_a_kind_is_left_and_stops_limit(void **state) {
    plan_constraint constraints[] = {{PLAN_OFFSET, PLAN_GT, true, true},
                                     {PLAN_OFFSET, PLAN_GT, true, true},
                                     {PLAN_NO_COLUMN, PLAN_LIMIT, true, true}};

    (void)state;
    assert_true(make(constraints, 3, NULL, 0, false));
    says("offset>?");
}

static void test_limit_needs_all_else_taken(void **state) {
    plan_constraint foreign[] = {{PLAN_OTHER_COLUMN, PLAN_EQ, true, true},
                                 {PLAN_NO_COLUMN, PLAN_LIMIT, true, true}};
    plan_constraint unusable[] = {{PLAN_OFFSET, PLAN_EQ, false, false},
                                  {PLAN_NO_COLUMN, PLAN_LIMIT, true, true}};
    plan_constraint like[] = {{PLAN_OFFSET, PLAN_OTHER_OPERATOR, true, true},
                              {PLAN_NO_COLUMN, PLAN_LIMIT, true, true}};
    plan_constraint alone[] = {{PLAN_NO_COLUMN, PLAN_LIMIT, true, true}};
    plan_order foreign_order = {PLAN_OTHER_COLUMN, false};

    (void)state;
    assert_true(make(foreign, 2, NULL, 0, false));
    says("all entries");
    assert_true(make(unusable, 2, NULL, 0, false));
    says("all entries");
    assert_true(make(like, 2, NULL, 0, false));
    says("all entries");
    assert_true(make(alone, 1, &foreign_order, 1, false));
    says("all entries");
    assert_true(make(alone, 1, NULL, 0, false));
    says("all entries LIMIT ?");
}

/* (offset, timestamp) > (5, 6) arrives as offset >= 5 with a right side that is no literal. */
static void test_limit_is_left_where_a_row_value_may_hide(void **state) {
    plan_constraint constraints[] = {{PLAN_OFFSET, PLAN_GE, true, false},
                                     {PLAN_NO_COLUMN, PLAN_LIMIT, true, true}};

    (void)state;
    assert_true(make(constraints, 2, NULL, 0, false));
    says("offset>=?");
    constraints[0].literal = true;
    assert_true(make(constraints, 2, NULL, 0, false));
    says("offset>=? LIMIT ?");
}

static void test_limit_without_offset_only_where_skipping_is_trusted(void **state) {
    plan_constraint constraints[] = {{PLAN_NO_COLUMN, PLAN_LIMIT, true, true},
                                     {PLAN_NO_COLUMN, PLAN_SKIP, true, true}};
    plan_request request = {constraints, 2, NULL, 0, false, false, false, false};

    (void)state;
    assert_true(plan_make(&request, &made));
    says("all entries");
    constraints[1].usable = false;
    request.may_skip = true;
    assert_true(plan_make(&request, &made));
    says("all entries");
}

static void test_orders(void **state) {
    static const struct {
        plan_order orders[2];
        int count;
        const char *words;
    } cases[] = {
        {{{PLAN_OFFSET, false}}, 1, "all entries ORDER BY offset"},
        {{{PLAN_OFFSET, true}}, 1, "all entries ORDER BY offset DESC"},
        {{{PLAN_OFFSET, true}, {PLAN_OTHER_COLUMN, false}}, 2, "all entries ORDER BY offset DESC"},
        {{{PLAN_TIMESTAMP, false}}, 1, "all entries ORDER BY timestamp"},
        {{{PLAN_TIMESTAMP, true}, {PLAN_OFFSET, true}}, 2, "all entries ORDER BY timestamp DESC"},
        {{{PLAN_TIMESTAMP, true}, {PLAN_OFFSET, false}}, 2, "all entries"},
        {{{PLAN_TIMESTAMP, false}, {PLAN_OTHER_COLUMN, false}}, 2, "all entries"},
        {{{PLAN_OTHER_COLUMN, false}}, 1, "all entries"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(make(NULL, 0, cases[i].orders, cases[i].count, false));
        says(cases[i].words);
    }
}

static void test_arguments_of_the_table_valued_form(void **state) {
    plan_constraint constraints[] = {{PLAN_SHARD, PLAN_EQ, true, true},
                                     {PLAN_LOG, PLAN_EQ, true, true}};

    (void)state;
    assert_true(make(constraints, 2, NULL, 0, true));
    says("log=? AND shard=?");
    constraints[1].usable = false;
    assert_false(make(constraints, 2, NULL, 0, true));
    /* A created table compares columns instead. */
    assert_true(make(constraints, 2, NULL, 0, false));
    says("all entries");
}

static void test_words_fit_whatever_is_taken(void **state) {
    char words[PLAN_WORDS_BYTES];
    char little[8];

    (void)state;
    plan_words(0x1ffff, words, sizeof words);
    assert_true(strlen(words) < PLAN_WORDS_BYTES - 1);
    assert_non_null(strstr(words, "LIMIT ? OFFSET ?"));
    plan_words(0x1ffff, little, sizeof little);
    assert_string_equal(little, "log=? A");
}

static void test_prices(void **state) {
    plan_constraint one = {PLAN_OFFSET, PLAN_EQ, true, true};
    plan_constraint range = {PLAN_TIMESTAMP, PLAN_GT, true, false};
    plan_order by_time = {PLAN_TIMESTAMP, false};
    plan_facts facts = {1000, {false, false}, true};
    plan_price price;
    double in_order;

    (void)state;
    assert_true(make(&one, 1, NULL, 0, false));
    plan_estimate(&made, &facts, &price);
    assert_true(price.unique);
    assert_int_equal(price.rows, 1);

    assert_true(make(NULL, 0, &by_time, 1, false));
    plan_estimate(&made, &facts, &price);
    assert_int_equal(price.rows, 1000);
    assert_false(price.unique);
    in_order = price.cost;
    facts.in_order = false;
    plan_estimate(&made, &facts, &price);
    assert_true(price.cost > in_order);

    facts.bounds_unknown[1] = true;
    assert_true(make(&range, 1, NULL, 0, false));
    plan_estimate(&made, &facts, &price);
    assert_int_equal(price.rows, 250);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_asked_reads_all),
        cmocka_unit_test(test_each_bound_has_its_slot),
        cmocka_unit_test(test_words_follow_the_slots),
        cmocka_unit_test(test_a_second_bound_of_a_kind_is_left_and_stops_limit),
        cmocka_unit_test(test_limit_needs_all_else_taken),
        cmocka_unit_test(test_limit_is_left_where_a_row_value_may_hide),
        cmocka_unit_test(test_limit_without_offset_only_where_skipping_is_trusted),
        cmocka_unit_test(test_orders),
        cmocka_unit_test(test_arguments_of_the_table_valued_form),
        cmocka_unit_test(test_words_fit_whatever_is_taken),
        cmocka_unit_test(test_prices),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
