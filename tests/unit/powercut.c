/* powercut.c -- see powercut.h. */
#include "powercut.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "platform.h"
#include "support.h"

#define NAME_ROOM 80
#define FILE_BYTES_MAX ((size_t)1 << 18)
#define SECTOR_BYTES 512u
#define PAGE_BYTES 4096u
#define WRITEBACK_ONE_IN 6
#define TICK_NS 1000

typedef struct node node;

typedef struct name {
    char text[NAME_ROOM];
    node *what;
} name;

/* `from` goes, then `to` stands for `what`; either may be empty. */
typedef struct change {
    char from[NAME_ROOM];
    char to[NAME_ROOM];
    node *what;
} change;

typedef struct name_list {
    name *names;
    size_t count;
} name_list;

/* A file or a directory. */
struct node {
    node *next;
    uint64_t inode;
    int fd; /* of our own: what is removed can still be read */
    unsigned char *durable;
    size_t durable_size;
    size_t durable_room; /* zeros from durable_size on, unless cut off since */
    bool is_directory;
    char path[PATH_ROOM];
    name_list names; /* durable */
    change *changes; /* not yet */
    size_t change_count;
};

static char root_path[PATH_ROOM];
static node *nodes; /* NULL: nothing is watched */
static void (*on_point)(void);
static uint64_t whims;
static int64_t clock_ns = INT64_C(1700000000000000000);
static uint64_t boots = 1;

/* ---- Nodes ---- */

static node *node_of_inode(uint64_t inode) {
    node *found = nodes;

    while (found != NULL && found->inode != inode) {
        found = found->next;
    }
    return found;
}

static node *node_make(const char *path) {
    struct stat info;
    node *made = calloc(1, sizeof *made);

    assert_non_null(made);
    made->fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(made->fd >= 0);
    assert_int_equal(fstat(made->fd, &info), 0);
    made->inode = (uint64_t)info.st_ino;
    made->is_directory = S_ISDIR(info.st_mode);
    (void)snprintf(made->path, sizeof made->path, "%s", path);
    made->next = nodes;
    nodes = made;
    return made;
}

/* The directory that holds `path`, if it is watched, and the name in it. */
static node *directory_of(const char *path, const char **last) {
    const char *slash = strrchr(path, '/');
    size_t length = slash != NULL ? (size_t)(slash - path) : 0;

    for (node *one = nodes; one != NULL; one = one->next) {
        if (one->is_directory && strlen(one->path) == length &&
            memcmp(one->path, path, length) == 0) {
            *last = slash + 1;
            return one;
        }
    }
    return NULL;
}

static void names_apply(name_list *list, const change *what) {
    size_t kept = 0;

    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->names[i].text, what->from) != 0 &&
            strcmp(list->names[i].text, what->to) != 0) {
            list->names[kept++] = list->names[i];
        }
    }
    list->count = kept;
    if (what->to[0] != '\0') {
        list->names = realloc(list->names, (kept + 1) * sizeof *list->names);
        assert_non_null(list->names);
        memcpy(list->names[kept].text, what->to, NAME_ROOM);
        list->names[kept].what = what->what;
        list->count++;
    }
}

static void change_add(node *directory, const char *from, const char *to, node *what) {
    change *made;

    directory->changes =
        realloc(directory->changes, (directory->change_count + 1) * sizeof *directory->changes);
    assert_non_null(directory->changes);
    made = &directory->changes[directory->change_count++];
    memset(made, 0, sizeof *made);
    (void)snprintf(made->from, sizeof made->from, "%s", from);
    (void)snprintf(made->to, sizeof made->to, "%s", to);
    made->what = what;
}

static void names_settle(node *directory) {
    for (size_t i = 0; i < directory->change_count; i++) {
        names_apply(&directory->names, &directory->changes[i]);
    }
    directory->change_count = 0;
}

/* ---- Content ---- */

static size_t present(const node *file, unsigned char bytes[FILE_BYTES_MAX]) {
    ssize_t size = pread(file->fd, bytes, FILE_BYTES_MAX, 0);

    assert_true(size >= 0 && (size_t)size < FILE_BYTES_MAX);
    return (size_t)size;
}

static void durable_grow(node *file, size_t room) {
    if (room > file->durable_room) {
        file->durable = realloc(file->durable, room);
        assert_non_null(file->durable);
        memset(file->durable + file->durable_room, 0, room - file->durable_room);
        file->durable_room = room;
    }
}

static void content_settle(node *file) {
    static unsigned char bytes[FILE_BYTES_MAX];
    size_t size = present(file, bytes);

    durable_grow(file, size);
    if (size > 0) {
        memcpy(file->durable, bytes, size);
    }
    if (file->durable_room > size) {
        memset(file->durable + size, 0, file->durable_room - size);
    }
    file->durable_size = size;
}

/* Some of what is not synced reaches the disk all the same. */
static void write_back(node *file) {
    static unsigned char bytes[FILE_BYTES_MAX];
    size_t size = present(file, bytes);

    durable_grow(file, size);
    for (size_t at = 0; at < size; at += SECTOR_BYTES) {
        size_t length = size - at < SECTOR_BYTES ? size - at : SECTOR_BYTES;
        if (random_below(&whims, 2) == 0) {
            memcpy(file->durable + at, bytes + at, length);
        }
    }
    if (random_below(&whims, 2) == 0) {
        file->durable_size = size;
    }
}

static void kernel_whim(void) {
    size_t count = 0;
    size_t chosen;

    for (const node *one = nodes; one != NULL; one = one->next) {
        count++;
    }
    chosen = (size_t)random_below(&whims, count);
    for (node *one = nodes; one != NULL; one = one->next) {
        if (chosen-- == 0 && !one->is_directory) {
            write_back(one);
            return;
        }
    }
}

void powercut_point(void) {
    if (nodes != NULL) {
        if (random_below(&whims, WRITEBACK_ONE_IN) == 0) {
            kernel_whim();
        }
        on_point();
    }
}

/* ---- The table ---- */

static int open_file(const char *path, unsigned mode) {
    const char *last;
    node *directory = directory_of(path, &last);
    bool makes = directory != NULL && (mode & PLATFORM_CREATE) != 0 && access(path, F_OK) != 0;
    int fd;

    powercut_point();
    fd = platform_system.open_file(path, mode);
    if (fd >= 0 && makes) {
        change_add(directory, "", last, node_make(path));
    }
    return fd;
}

static int write_at(int fd, const void *buffer, size_t size, uint64_t position) {
    powercut_point();
    return platform_system.write_at(fd, buffer, size, position);
}

static int truncate_file(int fd, uint64_t size) {
    powercut_point();
    return platform_system.truncate_file(fd, size);
}

static int allocate(int fd, uint64_t position, uint64_t length) {
    powercut_point();
    return platform_system.allocate(fd, position, length);
}

static int sync_file(int fd) {
    struct stat info;
    node *file;

    powercut_point();
    assert_int_equal(fstat(fd, &info), 0);
    file = node_of_inode((uint64_t)info.st_ino);
    if (file != NULL) {
        content_settle(file);
    }
    return 0;
}

static int sync_directory(const char *path) {
    struct stat info;
    node *directory;

    powercut_point();
    if (stat(path, &info) != 0) {
        return -errno;
    }
    directory = node_of_inode((uint64_t)info.st_ino);
    if (directory != NULL) {
        names_settle(directory);
    }
    return 0;
}

static int rename_file(const char *from, const char *to) {
    const char *last_from = NULL;
    const char *last_to = NULL;
    node *directory = directory_of(from, &last_from);
    struct stat info = {.st_ino = 0};
    int result;

    powercut_point();
    if (directory != NULL) {
        assert_ptr_equal(directory_of(to, &last_to), directory);
        (void)stat(from, &info);
    }
    result = platform_system.rename_file(from, to);
    if (result == 0 && directory != NULL) {
        change_add(directory, last_from, last_to, node_of_inode((uint64_t)info.st_ino));
    }
    return result;
}

static int remove_file(const char *path) {
    const char *last;
    node *directory = directory_of(path, &last);
    int result;

    powercut_point();
    result = platform_system.remove_file(path);
    if (result == 0 && directory != NULL) {
        change_add(directory, last, "", NULL);
    }
    return result;
}

static int make_directory(const char *path) {
    const char *last;
    node *directory = directory_of(path, &last);
    int result;

    powercut_point();
    result = platform_system.make_directory(path);
    if (result == 0 && directory != NULL) {
        change_add(directory, "", last, node_make(path));
    }
    return result;
}

static int64_t look_at_clock(void) {
    powercut_point();
    return clock_ns += TICK_NS;
}

static uint64_t boot(void) {
    return boots;
}

void powercut_wait(int64_t nanoseconds) {
    clock_ns += nanoseconds;
}

static void table_use(void) {
    static platform_calls table;

    table = platform_system;
    table.open_file = open_file;
    table.write_at = write_at;
    table.truncate_file = truncate_file;
    table.allocate = allocate;
    table.sync_file = sync_file;
    table.sync_directory = sync_directory;
    table.rename_file = rename_file;
    table.remove_file = remove_file;
    table.make_directory = make_directory;
    table.tick = table.clock = table.now = look_at_clock;
    table.boot = boot;
    platform_use(&table);
}

/* ---- Watching ---- */

static void watch_directory(node *directory) {
    DIR *listing = opendir(directory->path);
    struct dirent *found;

    assert_non_null(listing);
    while ((found = readdir(listing)) != NULL) {
        char path[PATH_ROOM];
        node *made;
        if (strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0) {
            continue;
        }
        file_path(path, directory->path, found->d_name);
        made = node_make(path);
        change_add(directory, "", found->d_name, made);
        if (made->is_directory) {
            watch_directory(made);
        } else {
            content_settle(made);
        }
    }
    (void)closedir(listing);
    names_settle(directory);
}

void powercut_begin(const char *root, uint64_t seed, void (*at_point)(void)) {
    assert_null(nodes);
    assert_non_null(realpath(root, root_path));
    whims = seed;
    on_point = at_point;
    boots++;
    watch_directory(node_make(root_path));
    table_use();
}

void powercut_end(void) {
    while (nodes != NULL) {
        node *next = nodes->next;
        (void)close(nodes->fd);
        free(nodes->durable);
        free(nodes->names.names);
        free(nodes->changes);
        free(nodes);
        nodes = next;
    }
    boots++;
    table_use();
}

/* ---- Cutting ---- */

/* What this cut does to what it meets. */
typedef struct cut {
    uint64_t random;
    size_t sector_bytes;
    bool tears;
} cut;

/* All of it, nothing, or by chance: 2 of 2, 0 of 2, 1 of 2. */
static uint64_t mood(cut *how) {
    static const uint64_t moods[] = {0, 1, 1, 2};

    return moods[random_below(&how->random, 4)];
}

static bool is_kept(cut *how, uint64_t of_two) {
    return random_below(&how->random, 2) < of_two;
}

static void freeze_file(const node *file, const char *path, cut *how) {
    static unsigned char bytes[FILE_BYTES_MAX];
    static unsigned char image[FILE_BYTES_MAX];
    const char *suffix = strrchr(path, '.');
    bool may_tear = how->tears && suffix != NULL && strcmp(suffix, ".comet") == 0;
    size_t new_size = present(file, bytes);
    size_t room = new_size > file->durable_room ? new_size : file->durable_room;
    uint64_t share = mood(how);
    size_t size;

    memset(bytes + new_size, 0, room - new_size);
    memset(image, 0, room);
    if (file->durable_room > 0) {
        memcpy(image, file->durable, file->durable_room);
    }
    for (size_t at = 0; at < new_size; at += how->sector_bytes) {
        size_t length = room - at < how->sector_bytes ? room - at : how->sector_bytes;
        if (memcmp(image + at, bytes + at, length) == 0 || !is_kept(how, share)) {
            continue;
        }
        if (may_tear && random_below(&how->random, 4) == 0) {
            length = (size_t)random_below(&how->random, length);
        }
        memcpy(image + at, bytes + at, length);
    }
    size = is_kept(how, share) ? new_size : file->durable_size;
    file_write(path, 0, image, size);
}

static void freeze_directory(const node *directory, const char *into, cut *how) {
    name_list names = {NULL, 0};
    uint64_t share = mood(how);
    size_t kept = (size_t)random_below(&how->random, directory->change_count + 1);

    kept = share == 0 ? 0 : share == 2 ? directory->change_count : kept;
    for (size_t i = 0; i < directory->names.count; i++) {
        change made = {.what = directory->names.names[i].what};
        memcpy(made.to, directory->names.names[i].text, NAME_ROOM);
        names_apply(&names, &made);
    }
    for (size_t i = 0; i < kept; i++) {
        names_apply(&names, &directory->changes[i]);
    }
    assert_int_equal(mkdir(into, 0700), 0);
    for (size_t i = 0; i < names.count; i++) {
        char path[PATH_ROOM];
        file_path(path, into, names.names[i].text);
        if (names.names[i].what->is_directory) {
            freeze_directory(names.names[i].what, path, how);
        } else {
            freeze_file(names.names[i].what, path, how);
        }
    }
    free(names.names);
}

void powercut_freeze(const char *into, uint64_t seed) {
    cut how = {.random = seed};
    const node *root = nodes;

    while (strcmp(root->path, root_path) != 0) {
        root = root->next;
    }
    how.sector_bytes = random_below(&how.random, 2) == 0 ? SECTOR_BYTES : PAGE_BYTES;
    how.tears = random_below(&how.random, 2) == 0;
    freeze_directory(root, into, &how);
}
