/* powercut.h -- a disk that loses its power.
**
** A platform table over the system's own: all calls go on to real files, and beside them stands a model
** of what is surely on the disk.  powercut_freeze() makes of it one of the directories that a power cut
** at this moment might leave:
**
**   a file's bytes      those of its last sync_file; each sector that has changed since is kept, dropped
**                       or (of data files) torn; now and then the kernel writes some back by itself
**   a file's length     that of its last sync_file, or the present one
**   names               those of the directory's last sync_directory, and of what was made, renamed and
**                       removed since a beginning: file systems with a journal keep the order within a
**                       directory, and none between directories.  A synced file whose name was not is
**                       not there
**
** Every choice comes from a seed, and the clocks only go when they are looked at, so that a run can be
** repeated.  One thread only.
*/
#ifndef POWERCUT_H
#define POWERCUT_H

#include <stdint.h>

/* Put the table in force and watch everything below `root`, which is all durable. `at_point` is called
** before each call that may change the disk, and whenever a clock is read: the moments for a cut. */
void powercut_begin(const char *root, uint64_t seed, void (*at_point)(void));

/* Watch no longer; the table stays in force (but never syncs in earnest), as if the machine had just been
** started: boot() differs. */
void powercut_end(void);

/* A moment of the caller's own. */
void powercut_point(void);

/* Let time go by. */
void powercut_wait(int64_t nanoseconds);

/* Make the directory `into`, holding what a power cut now might leave of `root`. */
void powercut_freeze(const char *into, uint64_t seed);

#endif
