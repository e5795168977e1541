/* status.h -- how the core reports a failure.
**
** Decides: how a comet_error is filled.  A message is one sentence that names the thing, the reason
** and, where there is one, the cure; the system's own reason is added behind a colon.
*/
#ifndef COMET_CORE_STATUS_H
#define COMET_CORE_STATUS_H

#include <errno.h>

#include "comet.h"

/* Return from the current function with the status of `call` unless it is COMET_OK. */
#define FORWARD(call)                                                                              \
    do {                                                                                           \
        comet_status forward_status_ = (call);                                                     \
        if (forward_status_ != COMET_OK) {                                                         \
            return forward_status_;                                                                \
        }                                                                                          \
    } while (0)

/* What a failed system call on a file means; `result` is its negative errno. */
static inline comet_status status_of_failure(int result) {
    return result == -ENOSPC || result == -EDQUOT ? COMET_FULL : COMET_IO;
}

/* What it means that a file could not be made or opened for writing. */
static inline comet_status status_of_refusal(int result) {
    return result == -EACCES || result == -EROFS || result == -EPERM ? COMET_READONLY
                                                                     : status_of_failure(result);
}

/* Fill *error (may be NULL) and return `status`, so that one can write `return error_set(...)`.
** With `system_errno` not 0, ": " and the system's text for it are appended.  A message that is too
** long is cut.  Arguments may point into error->message.  errno is left as it was. */
comet_status error_set(comet_error *error, comet_status status, int system_errno,
                       const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
