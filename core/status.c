/* status.c -- filling a comet_error, and the names of statuses.
**
** Decides: the shape of a message, "<sentence>[: <the system's reason>]", cut at its buffer's end
** and never within a UTF-8 character.
*/
#include "status.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The system's text for an error number.  There are two functions of the name strerror_r: GNU's
** returns the text, POSIX's a number. */
static const char *status_errno_text(int system_errno, char *buffer, size_t size) {
    buffer[0] = '\0';
#if defined(__GLIBC__) && defined(_GNU_SOURCE)
    return strerror_r(system_errno, buffer, size);
#else
    if (strerror_r(system_errno, buffer, size) != 0 || buffer[0] == '\0') {
        (void)snprintf(buffer, size, "error %d", system_errno);
    }
    return buffer;
#endif
}

/* Where a text of `length` bytes was cut within a character, go back to that character's start. */
static size_t status_whole_characters(const char *text, size_t length) {
    size_t start = length;
    while (start > 0 && length - start < 3 && ((unsigned char)text[start - 1] & 0xC0) == 0x80) {
        start--;
    }
    if (start == 0 || (unsigned char)text[start - 1] < 0xC0) {
        return length;
    }
    unsigned char lead = (unsigned char)text[start - 1];
    size_t need = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    return length - (start - 1) < need ? start - 1 : length;
}

comet_status error_set(comet_error *error, comet_status status, int system_errno,
                       const char *format, ...) {
    char message[COMET_MESSAGE_BYTES];
    char reason[128];
    int errno_before = errno;
    int length;
    va_list arguments;

    assert(status != COMET_OK);
    assert(format != NULL);
    if (error == NULL) {
        return status;
    }
    va_start(arguments, format);
    length = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (length < 0) {
        message[0] = '\0';
        length = 0;
    }
    if (system_errno != 0 && (size_t)length < sizeof message) {
        size_t room = sizeof message - (size_t)length;
        int added = snprintf(message + length, room, ": %s",
                             status_errno_text(system_errno, reason, sizeof reason));
        length += added < 0 ? 0 : added;
    }
    if ((size_t)length >= sizeof message) {
        message[status_whole_characters(message, sizeof message - 1)] = '\0';
    }
    error->status = status;
    error->system_errno = system_errno;
    memcpy(error->message, message, strlen(message) + 1);
    errno = errno_before;
    return status;
}

const char *comet_status_name(comet_status status) {
    static const char *const names[] = {
        "COMET_OK",      "COMET_DONE",     "COMET_NOMEM",   "COMET_INVALID", "COMET_NOT_FOUND",
        "COMET_BUSY",    "COMET_FULL",     "COMET_IO",      "COMET_CORRUPT", "COMET_READONLY",
        "COMET_TOO_BIG", "COMET_CONFLICT", "COMET_ABORTED", "COMET_MISUSE",
    };
    static_assert(sizeof names / sizeof names[0] == COMET_MISUSE + 1, "a name for each status");

    return (size_t)status < sizeof names / sizeof names[0] ? names[status] : "unknown status";
}
