/* arguments.h -- what stands in the parentheses of CREATE VIRTUAL TABLE.
**
** Decides: how `name=value` is written there and which names there are besides the settings:
**
**     log='directory'        else the connection's default log
**     shard=7                of comet_shard; else 0
**     stream='events:v1'     of comet_stream: what its shards are called after
**     shards=16              of comet_stream: shards 0 .. 15; else all shards there are
**     type=auto|text|blob    how data comes back; else auto
**     group='name'           for comet_consumer, which must have one
**     member=0, members=3    for comet_consumer: only shards s with s mod members = member
**     any setting=value      as comet_setting_describe() lists them
**
** Values may stand bare, or in single or double quotes with the quote doubled inside.
*/
#ifndef COMET_EXT_ARGUMENTS_H
#define COMET_EXT_ARGUMENTS_H

#include "comet.h"
#include "values.h"

typedef enum arguments_kind {
    ARGUMENTS_OF_SHARD,
    ARGUMENTS_OF_STREAM,
    ARGUMENTS_OF_CONSUMER
} arguments_kind;

typedef struct table_arguments {
    char *log;   /* NULL for the default log */
    char *group; /* NULL where none was given */
    uint32_t shard;
    char *stream;    /* NULL without a name */
    uint32_t shards; /* 0: not said */
    int64_t member;  /* 0 of 1 where none was given */
    int64_t members;
    bool has_shard;
    entry_type type;
    comet_settings settings;
    bool has_settings;
} table_arguments;

/* Parse; COMET_INVALID or COMET_NOT_FOUND say what is wrong and what is allowed.  After either
** outcome release with arguments_clear(). */
comet_status arguments_parse(arguments_kind kind, int count, const char *const *texts,
                             table_arguments *parsed, comet_error *error);
void arguments_clear(table_arguments *parsed);

#endif
