/* arguments.h -- what stands in the parentheses of CREATE VIRTUAL TABLE.
**
** Decides: how `name=value` is written there and which names there are besides the settings:
**
**     log='directory'        else the connection's default log
**     shard=7                else 0
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

typedef struct table_arguments {
    char *log;   /* NULL for the default log */
    char *group; /* NULL where none was given */
    uint32_t shard;
    int64_t member; /* 0 of 1 where none was given */
    int64_t members;
    bool has_shard;
    entry_type type;
    comet_settings settings;
    bool has_settings;
    bool consumer; /* group, member and members are known */
} table_arguments;

/* Parse; COMET_INVALID or COMET_NOT_FOUND say what is wrong and what is allowed.  After either
** outcome release with arguments_clear(). */
comet_status arguments_parse(int count, const char *const *texts, bool consumer,
                             table_arguments *parsed, comet_error *error);
void arguments_clear(table_arguments *parsed);

#endif
