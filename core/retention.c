/* retention.c -- the rules, in their order. */
#include "retention.h"

/* Time since the last write; a clock that went back has aged nothing. */
static int64_t age_of(const retention_segment *segment, int64_t now) {
    return now > segment->written_ns ? now - segment->written_ns : 0;
}

/* The group that needs entries of the segment and lies furthest back; NULL: none. */
static const char *find_needer(const retention_case *what, const retention_segment *segment) {
    const retention_group *last = NULL;

    for (size_t i = 0; i < what->group_count; i++) {
        const retention_group *group = &what->groups[i];
        if (group->position < segment->end_offset &&
            (last == NULL || group->position < last->position)) {
            last = group;
        }
    }
    return last != NULL ? last->name : NULL;
}

static const char *find_protector(const retention_rules *rules, const retention_case *what,
                                  const retention_segment *segment) {
    if (!rules->protect_unconsumed || (rules->force_delete_after > 0 &&
                                       age_of(segment, what->now) >= rules->force_delete_after)) {
        return NULL;
    }
    return find_needer(what, segment);
}

/* How many bytes over its limits the shard is once `gone` bytes are gone. */
static uint64_t bytes_over(const retention_rules *rules, const retention_case *what,
                           uint64_t gone) {
    uint64_t left = what->shard_bytes > gone ? what->shard_bytes - gone : 0;
    uint64_t over = what->excess > gone ? what->excess - gone : 0;

    if (rules->max_shard_size > 0 && left > rules->max_shard_size &&
        left - rules->max_shard_size > over) {
        over = left - rules->max_shard_size;
    }
    return over;
}

static retention_reason judge_age(const retention_rules *rules, const retention_case *what,
                                  size_t at, const char *protector) {
    const retention_segment *segment = &what->segments[at];
    int64_t age = age_of(segment, what->now);

    if (rules->max_age == 0 || age <= rules->max_age) {
        return RETENTION_YOUNG;
    }
    if (age <= rules->file_grace_period) {
        return RETENTION_GRACE;
    }
    if (what->segment_count - at <= rules->min_files_to_keep) {
        return RETENTION_MINIMUM;
    }
    return protector != NULL ? RETENTION_UNCONSUMED : RETENTION_AGE;
}

static retention_reason judge(const retention_rules *rules, const retention_case *what, size_t at,
                              uint64_t gone, const char **protector) {
    *protector = NULL;
    if (at + what->pinned_count >= what->segment_count) {
        return RETENTION_CURRENT;
    }
    *protector = find_protector(rules, what, &what->segments[at]);
    if (bytes_over(rules, what, gone) == 0) {
        return judge_age(rules, what, at, *protector);
    }
    if (*protector == NULL) {
        return RETENTION_SIZE;
    }
    return rules->reject_when_full ? RETENTION_UNCONSUMED : RETENTION_DROPPED;
}

void retention_decide(const retention_rules *rules, const retention_case *what,
                      retention_decision *decision, retention_reason *reasons) {
    const char *protector = NULL;
    size_t at = 0;

    decision->go_count = 0;
    decision->bytes = 0;
    decision->blocked = RETENTION_CURRENT;
    decision->group = NULL;
    for (; at < what->segment_count; at++) {
        reasons[at] = judge(rules, what, at, decision->bytes, &protector);
        if (reasons[at] < RETENTION_AGE) {
            decision->blocked = reasons[at];
            decision->group = reasons[at] == RETENTION_UNCONSUMED ? protector : NULL;
            break;
        }
        decision->bytes += what->segments[at].bytes;
        decision->go_count++;
    }
    for (size_t i = at + 1; i < what->segment_count; i++) {
        reasons[i] =
            i + what->pinned_count >= what->segment_count ? RETENTION_CURRENT : RETENTION_FOLLOWS;
    }
    decision->over = bytes_over(rules, what, decision->bytes);
}

const char *retention_reason_text(retention_reason reason) {
    static const char *const texts[RETENTION_REASON_COUNT] = {
        "current segment",   "younger than max_age", "file_grace_period",
        "min_files_to_keep", "unconsumed",           "an older one stays",
        "max_age",           "size limit",           "size limit, unconsumed",
    };

    return texts[reason];
}
