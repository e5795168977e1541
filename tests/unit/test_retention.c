/* test_retention.c -- without it a rule could delete what somebody asked to keep, or let a disk fill. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "retention.h"

/* ---- The policy, which is pure ---- */

#define SECOND INT64_C(1000000000)
#define NOW (100000 * SECOND)
#define SEGMENTS 6

/* Six segments of 100 bytes and 10 entries, written 60, 50, ... 10 seconds ago; the last is current. */
static retention_segment segments[SEGMENTS];
static retention_case what;
static retention_rules rules;
static retention_reason reasons[SEGMENTS];
static retention_group groups[2];

static int fresh(void **state) {
    (void)state;
    for (unsigned i = 0; i < SEGMENTS; i++) {
        segments[i] =
            (retention_segment){10 * i, 10 * i + 10, 100, NOW - (60 - 10 * (int64_t)i) * SECOND};
    }
    what = (retention_case){.segments = segments,
                            .segment_count = SEGMENTS,
                            .pinned_count = 1,
                            .groups = groups,
                            .shard_bytes = 100 * SEGMENTS,
                            .now = NOW};
    rules = (retention_rules){.protect_unconsumed = true};
    return 0;
}

/* How many go, and why the next one stays. */
static void decides(size_t go_count, retention_reason blocked) {
    retention_decision decision;

    retention_decide(&rules, &what, &decision, reasons);
    assert_int_equal(decision.go_count, go_count);
    assert_int_equal(decision.blocked, blocked);
    assert_int_equal(decision.bytes, 100 * go_count);
    for (size_t i = 0; i < SEGMENTS; i++) {
        assert_int_equal(reasons[i] >= RETENTION_AGE, i < go_count);
        assert_non_null(retention_reason_text(reasons[i]));
    }
}

static void no_limit_keeps_all(void **state) {
    (void)state;
    decides(0, RETENTION_YOUNG);
}

/* Go's defect W51: a clock that is set back or forth decides what is old. */
static void age_goes_by_the_last_write(void **state) {
    (void)state;
    rules.max_age = 35 * SECOND;
    decides(3, RETENTION_YOUNG);
    rules.max_age = 1;
    decides(5, RETENTION_CURRENT);
    segments[0].written_ns = NOW + 1000 * SECOND; /* the clock went back */
    decides(0, RETENTION_YOUNG);
}

/* Go's defect W54: more is deleted than the limit asks for. */
static void size_goes_from_the_oldest(void **state) {
    (void)state;
    rules.max_shard_size = 350;
    decides(3, RETENTION_YOUNG);
    rules.max_shard_size = 1;
    decides(5, RETENTION_CURRENT);
    rules.max_shard_size = 600;
    decides(0, RETENTION_YOUNG);
    what.shard_bytes = 601; /* files that are no segments count */
    decides(1, RETENTION_YOUNG);
}

static void the_log_limit_counts_as_well(void **state) {
    (void)state;
    what.excess = 150;
    decides(2, RETENTION_YOUNG);
    rules.max_shard_size = 250;
    decides(4, RETENTION_YOUNG);
}

static void minimum_holds_age_not_size(void **state) {
    (void)state;
    rules.max_age = 1;
    rules.min_files_to_keep = 4;
    decides(2, RETENTION_MINIMUM);
    rules.max_shard_size = 300;
    decides(3, RETENTION_MINIMUM);
}

static void grace_holds_age_not_size(void **state) {
    (void)state;
    rules.max_age = 1;
    rules.file_grace_period = 45 * SECOND;
    decides(2, RETENTION_GRACE);
    rules.max_shard_size = 300;
    decides(3, RETENTION_GRACE);
}

/* Go's defect W11: what a group has not acknowledged is deleted all the same. */
static void groups_hold_age(void **state) {
    (void)state;
    groups[0] = (retention_group){"fast", 60};
    groups[1] = (retention_group){"slow", 25};
    what.group_count = 2;
    rules.max_age = 1;
    decides(2, RETENTION_UNCONSUMED);
    rules.protect_unconsumed = false;
    decides(5, RETENTION_CURRENT);
    rules.protect_unconsumed = true;
    rules.force_delete_after = 40 * SECOND;
    decides(3, RETENTION_UNCONSUMED);
}

static void when_full_decides_on_what_is_needed(void **state) {
    retention_decision decision;
    (void)state;

    groups[0] = (retention_group){"slow", 15};
    what.group_count = 1;
    rules.max_shard_size = 300;
    decides(3, RETENTION_YOUNG);
    assert_int_equal(reasons[0], RETENTION_SIZE);
    assert_int_equal(reasons[1], RETENTION_DROPPED);
    rules.reject_when_full = true;
    decides(1, RETENTION_UNCONSUMED);
    retention_decide(&rules, &what, &decision, reasons);
    assert_string_equal(decision.group, "slow");
    assert_int_equal(decision.over, 200);
    rules.force_delete_after = 35 * SECOND;
    decides(3, RETENTION_YOUNG);
}

/* ---- Every rule with every other ---- */

enum {
    AGE = 1,      /* everything is older than max_age */
    SIZE = 2,     /* the shard is 250 bytes over its limit */
    TOTAL = 4,    /* the log is 150 bytes over its own */
    MINIMUM = 8,  /* four stay */
    GRACE = 16,   /* all but the oldest were written lately */
    GROUP = 32,   /* a group needs all of them */
    FORCE = 64,   /* ... but the three oldest are too old for that */
    REJECT = 128, /* when_full */
    PINNED = 256, /* the newest four are in use by the writer */
    RULES_END = 512
};

static void switch_on(unsigned on) {
    (void)fresh(NULL);
    rules.max_age = (on & AGE) != 0 ? SECOND : 0;
    rules.max_shard_size = (on & SIZE) != 0 ? 350 : 0;
    what.excess = (on & TOTAL) != 0 ? 150 : 0;
    rules.min_files_to_keep = (on & MINIMUM) != 0 ? 4 : 0;
    rules.file_grace_period = (on & GRACE) != 0 ? 55 * SECOND : 0;
    groups[0] = (retention_group){"slow", 5};
    what.group_count = (on & GROUP) != 0 ? 1 : 0;
    rules.force_delete_after = (on & FORCE) != 0 ? 40 * SECOND : 0;
    rules.reject_when_full = (on & REJECT) != 0;
    what.pinned_count = (on & PINNED) != 0 ? 4 : 1;
}

static const struct {
    unsigned on;
    size_t go_count;
    retention_reason blocked;
} combinations[] = {
    {AGE, 5, RETENTION_CURRENT},
    {AGE | SIZE, 5, RETENTION_CURRENT},
    {AGE | TOTAL, 5, RETENTION_CURRENT},
    {AGE | MINIMUM, 2, RETENTION_MINIMUM},
    {AGE | GRACE, 1, RETENTION_GRACE},
    {AGE | GROUP, 0, RETENTION_UNCONSUMED},
    {AGE | FORCE, 5, RETENTION_CURRENT},
    {AGE | REJECT, 5, RETENTION_CURRENT},
    {AGE | PINNED, 2, RETENTION_CURRENT},
    {SIZE, 3, RETENTION_YOUNG},
    {SIZE | TOTAL, 3, RETENTION_YOUNG},
    {SIZE | MINIMUM, 3, RETENTION_YOUNG},
    {SIZE | GRACE, 3, RETENTION_YOUNG},
    {SIZE | GROUP, 3, RETENTION_YOUNG},
    {SIZE | FORCE, 3, RETENTION_YOUNG},
    {SIZE | REJECT, 3, RETENTION_YOUNG},
    {SIZE | PINNED, 2, RETENTION_CURRENT},
    {TOTAL, 2, RETENTION_YOUNG},
    {TOTAL | MINIMUM, 2, RETENTION_YOUNG},
    {TOTAL | GRACE, 2, RETENTION_YOUNG},
    {TOTAL | GROUP, 2, RETENTION_YOUNG},
    {TOTAL | FORCE, 2, RETENTION_YOUNG},
    {TOTAL | REJECT, 2, RETENTION_YOUNG},
    {TOTAL | PINNED, 2, RETENTION_CURRENT},
    /* What holds back, in pairs, under each reason to delete. */
    {AGE | MINIMUM | GRACE, 1, RETENTION_GRACE},
    {AGE | MINIMUM | GROUP, 0, RETENTION_UNCONSUMED},
    {AGE | MINIMUM | FORCE, 2, RETENTION_MINIMUM},
    {AGE | MINIMUM | REJECT, 2, RETENTION_MINIMUM},
    {AGE | MINIMUM | PINNED, 2, RETENTION_CURRENT},
    {AGE | GRACE | GROUP, 0, RETENTION_UNCONSUMED},
    {AGE | GRACE | FORCE, 1, RETENTION_GRACE},
    {AGE | GRACE | REJECT, 1, RETENTION_GRACE},
    {AGE | GRACE | PINNED, 1, RETENTION_GRACE},
    {AGE | GROUP | FORCE, 3, RETENTION_UNCONSUMED},
    {AGE | GROUP | REJECT, 0, RETENTION_UNCONSUMED},
    {AGE | GROUP | PINNED, 0, RETENTION_UNCONSUMED},
    {AGE | FORCE | PINNED, 2, RETENTION_CURRENT},
    {SIZE | MINIMUM | GRACE, 3, RETENTION_YOUNG},
    {SIZE | MINIMUM | GROUP, 3, RETENTION_YOUNG},
    {SIZE | GRACE | GROUP, 3, RETENTION_YOUNG},
    {SIZE | GROUP | FORCE, 3, RETENTION_YOUNG},
    {SIZE | GROUP | REJECT, 0, RETENTION_UNCONSUMED},
    {SIZE | GROUP | REJECT | FORCE, 3, RETENTION_YOUNG},
    {SIZE | GROUP | PINNED, 2, RETENTION_CURRENT},
    {TOTAL | GROUP | REJECT, 0, RETENTION_UNCONSUMED},
    {TOTAL | GROUP | FORCE, 2, RETENTION_YOUNG},
    /* Size goes first, age takes what it may of the rest. */
    {AGE | SIZE | MINIMUM, 3, RETENTION_MINIMUM},
    {AGE | SIZE | GRACE, 3, RETENTION_GRACE},
    {AGE | SIZE | GROUP, 3, RETENTION_UNCONSUMED},
    {AGE | SIZE | GROUP | REJECT, 0, RETENTION_UNCONSUMED},
    {AGE | TOTAL | MINIMUM, 2, RETENTION_MINIMUM},
    {AGE | TOTAL | GRACE, 2, RETENTION_GRACE},
    {AGE | TOTAL | GROUP, 2, RETENTION_UNCONSUMED},
};

static void rules_in_pairs(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof combinations / sizeof combinations[0]; i++) {
        switch_on(combinations[i].on);
        decides(combinations[i].go_count, combinations[i].blocked);
    }
    /* Nothing that holds back deletes anything by itself, however many there are. */
    for (unsigned on = 0; on < RULES_END; on++) {
        if ((on & (AGE | SIZE | TOTAL)) == 0) {
            switch_on(on);
            decides(0, RETENTION_YOUNG);
        }
    }
}

static void the_pinned_ones_stay(void **state) {
    retention_decision decision;
    (void)state;

    what.pinned_count = 3;
    rules.max_shard_size = 1;
    decides(3, RETENTION_CURRENT);
    retention_decide(&rules, &what, &decision, reasons);
    assert_int_equal(decision.over, 299);
    what.pinned_count = 6;
    decides(0, RETENTION_CURRENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(no_limit_keeps_all, fresh),
        cmocka_unit_test_setup(age_goes_by_the_last_write, fresh),
        cmocka_unit_test_setup(size_goes_from_the_oldest, fresh),
        cmocka_unit_test_setup(the_log_limit_counts_as_well, fresh),
        cmocka_unit_test_setup(minimum_holds_age_not_size, fresh),
        cmocka_unit_test_setup(grace_holds_age_not_size, fresh),
        cmocka_unit_test_setup(groups_hold_age, fresh),
        cmocka_unit_test_setup(when_full_decides_on_what_is_needed, fresh),
        cmocka_unit_test_setup(rules_in_pairs, fresh),
        cmocka_unit_test_setup(the_pinned_ones_stay, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
