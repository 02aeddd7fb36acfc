/*
 * Keeps a journal of what a process writes into one directory, so that a test can rebuild the files as a power cut
 * would have left them.
 *
 * It is loaded before the C library and takes the place of the calls by which SQLite and Rust's standard library
 * change files. This is C because such a library exports C functions and handles raw pointers, which Rust has only
 * as unsafe code; the project has none.
 *
 *   POWERCUT_DIRECTORY  the directory, as an absolute path without links
 *   POWERCUT_JOURNAL    the journal, in another directory
 *   POWERCUT_FULL       if stated, a file: as long as it is there, the disk is full, and files get longer only by as
 *                       many bytes as others get shorter by; how many are left is kept in that file
 *
 * Processes that follow each other can keep one journal. An entry is a head of six numbers of 64 bits, in the machine's byte order, and then `length` bytes. Everything but
 * a sync is done and told under one lock, so the order of the entries is the order of the effects. A sync is told
 * twice, because others write while it goes on: it covers what was told before it began, once it is told to have
 * ended.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind {
    KIND_OPEN = 1,       /* file, offset: 1 if it was made by this, bytes: its path */
    KIND_WRITE = 2,      /* file, offset, bytes */
    KIND_TRUNCATE = 3,   /* file, offset: its new length */
    KIND_SYNC_BEGUN = 4, /* file */
    KIND_SYNC_ENDED = 5, /* file */
    KIND_UNLINK = 6,     /* bytes: the path */
    KIND_RENAME = 7,     /* bytes: the old path, a zero, the new path */
    KIND_UNKNOWN = 8,    /* bytes: the name of a call that is not understood */
};

struct head {
    uint64_t kind;
    uint64_t file;
    uint64_t offset;
    uint64_t length;
    uint64_t at; /* nanoseconds of CLOCK_MONOTONIC, before the effect (of an ended sync: after it) */
    uint64_t zero;
};

#define FILES_MAX 65536

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int journal = -1;
static char directory[PATH_MAX];
static size_t directory_length;
static const char *full;
/* The number of the opening by which a descriptor came to be, or 0. */
static uint64_t opening_of[FILES_MAX];
static uint64_t openings;

__attribute__((constructor)) static void begin(void) {
    const char *named = getenv("POWERCUT_DIRECTORY");
    const char *path = getenv("POWERCUT_JOURNAL");
    if (named == NULL || path == NULL || strlen(named) >= sizeof directory) {
        return;
    }
    full = getenv("POWERCUT_FULL");
    strcpy(directory, named);
    directory_length = strlen(directory);
    /* One journal can be kept by several processes, one after the other. */
    openings = (uint64_t)getpid() << 32;
    journal = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* A journal that cannot be written is worse than none. */
static void put(const void *bytes, size_t length) {
    const char *left = bytes;
    while (length > 0) {
        long written = syscall(SYS_write, journal, left, length);
        if (written <= 0) {
            abort();
        }
        left += written;
        length -= (size_t)written;
    }
}

static void tell(enum kind kind, uint64_t file, uint64_t offset, uint64_t at, const void *bytes, size_t length) {
    int kept = errno;
    struct head head = {kind, file, offset, length, at, 0};
    put(&head, sizeof head);
    put(bytes, length);
    errno = kept;
}

/* The opening of a descriptor below the directory, or 0. */
static uint64_t watched(int fd) {
    return journal >= 0 && fd >= 0 && fd < FILES_MAX ? opening_of[fd] : 0;
}

static int is_below(const char *path) {
    return journal >= 0 && strncmp(path, directory, directory_length) == 0 &&
           (path[directory_length] == '/' || path[directory_length] == 0);
}

/* Makes a path absolute. Links in it are not followed; the tests have none. */
static const char *whole(int at, const char *path, char *room) {
    if (path[0] == '/') {
        return path;
    }
    char from[64];
    snprintf(from, sizeof from, at == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", at);
    ssize_t length = readlink(from, room, PATH_MAX - 1);
    if (length < 0 || (size_t)length + strlen(path) + 2 > PATH_MAX) {
        return path;
    }
    room[length] = '/';
    strcpy(room + length + 1, path);
    return room;
}

static int open_file(int at, const char *path, int flags, mode_t mode) {
    char room[PATH_MAX];
    const char *name = whole(at, path, room);
    size_t length = strlen(name);
    /* SQLite's shared memory is a file that no start after a power cut looks at. */
    int is_memory = length > 4 && strcmp(name + length - 4, "-shm") == 0;
    if (!is_below(name) || is_memory) {
        return (int)syscall(SYS_openat, at, path, flags, mode);
    }
    pthread_mutex_lock(&lock);
    uint64_t begun = now();
    int made = (flags & O_CREAT) != 0 && syscall(SYS_faccessat, at, path, F_OK) != 0;
    int fd = (int)syscall(SYS_openat, at, path, flags, mode);
    if (fd >= 0 && fd < FILES_MAX) {
        opening_of[fd] = ++openings;
        tell(KIND_OPEN, openings, (uint64_t)made, begun, name, length);
        if ((flags & O_TRUNC) != 0 && !made) {
            tell(KIND_TRUNCATE, openings, 0, begun, NULL, 0);
        }
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

/* Whether the disk is full, and how many bytes of it became free since. */
static int is_full(int64_t *left) {
    int fd = full == NULL ? -1 : (int)syscall(SYS_openat, AT_FDCWD, full, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    if (syscall(SYS_pread64, fd, left, sizeof *left, 0) != (long)sizeof *left) {
        *left = 0;
    }
    syscall(SYS_close, fd);
    return 1;
}

static void leave(int64_t left) {
    int fd = (int)syscall(SYS_openat, AT_FDCWD, full, O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        syscall(SYS_pwrite64, fd, &left, sizeof left, 0);
        syscall(SYS_close, fd);
    }
}

/* Whether there is no room for a file to end there. If there is, it is taken. */
static int is_too_long(int fd, off64_t end) {
    int64_t left;
    struct stat status;
    pthread_mutex_lock(&lock);
    int too_long = 0;
    if (is_full(&left) && fstat(fd, &status) == 0 && end > status.st_size) {
        too_long = end - status.st_size > left;
        if (!too_long) {
            leave(left - (end - status.st_size));
        }
    }
    pthread_mutex_unlock(&lock);
    return too_long;
}

/* A file gets shorter by so many bytes. Under the lock. */
static void give_back(int64_t bytes) {
    int64_t left;
    if (bytes > 0 && is_full(&left)) {
        leave(left + bytes);
    }
}

#define MODE(flags)                                                                                                    \
    mode_t mode = 0;                                                                                                   \
    if (((flags) & (O_CREAT | __O_TMPFILE)) != 0) {                                                                    \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode = va_arg(rest, mode_t);                                                                                   \
        va_end(rest);                                                                                                  \
    }

int open(const char *path, int flags, ...) {
    MODE(flags)
    return open_file(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE(flags)
    return open_file(AT_FDCWD, path, flags, mode);
}

int openat(int at, const char *path, int flags, ...) {
    MODE(flags)
    return open_file(at, path, flags, mode);
}

int openat64(int at, const char *path, int flags, ...) {
    MODE(flags)
    return open_file(at, path, flags, mode);
}

int creat(const char *path, mode_t mode) {
    return open_file(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

int creat64(const char *path, mode_t mode) {
    return creat(path, mode);
}

int close(int fd) {
    if (watched(fd) != 0) {
        /* Before the descriptor can be given to somebody else. */
        opening_of[fd] = 0;
    }
    return (int)syscall(SYS_close, fd);
}

ssize_t write(int fd, const void *bytes, size_t length) {
    uint64_t file = watched(fd);
    if (file == 0) {
        return syscall(SYS_write, fd, bytes, length);
    }
    if (is_too_long(fd, (off64_t)syscall(SYS_lseek, fd, 0, SEEK_CUR) + (off64_t)length)) {
        errno = ENOSPC;
        return -1;
    }
    pthread_mutex_lock(&lock);
    uint64_t begun = now();
    ssize_t written = syscall(SYS_write, fd, bytes, length);
    if (written > 0) {
        off_t end = (off_t)syscall(SYS_lseek, fd, 0, SEEK_CUR);
        tell(KIND_WRITE, file, (uint64_t)(end - written), begun, bytes, (size_t)written);
    }
    pthread_mutex_unlock(&lock);
    return written;
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    uint64_t file = watched(fd);
    if (file == 0) {
        return syscall(SYS_pwrite64, fd, bytes, length, offset);
    }
    if (is_too_long(fd, offset + (off64_t)length)) {
        errno = ENOSPC;
        return -1;
    }
    pthread_mutex_lock(&lock);
    uint64_t begun = now();
    ssize_t written = syscall(SYS_pwrite64, fd, bytes, length, offset);
    if (written > 0) {
        tell(KIND_WRITE, file, (uint64_t)offset, begun, bytes, (size_t)written);
    }
    pthread_mutex_unlock(&lock);
    return written;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    return pwrite64(fd, bytes, length, offset);
}

int ftruncate64(int fd, off64_t length) {
    uint64_t file = watched(fd);
    if (file == 0) {
        return (int)syscall(SYS_ftruncate, fd, length);
    }
    if (is_too_long(fd, length)) {
        errno = ENOSPC;
        return -1;
    }
    pthread_mutex_lock(&lock);
    uint64_t begun = now();
    struct stat status;
    int64_t before = fstat(fd, &status) == 0 ? status.st_size : 0;
    int done = (int)syscall(SYS_ftruncate, fd, length);
    if (done == 0) {
        give_back(before - length);
        tell(KIND_TRUNCATE, file, (uint64_t)length, begun, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate(int fd, off_t length) {
    return ftruncate64(fd, length);
}

static int sync_file(int fd, long call) {
    uint64_t file = watched(fd);
    if (file == 0) {
        return (int)syscall(call, fd);
    }
    pthread_mutex_lock(&lock);
    tell(KIND_SYNC_BEGUN, file, 0, now(), NULL, 0);
    pthread_mutex_unlock(&lock);
    int done = (int)syscall(call, fd);
    if (done == 0) {
        pthread_mutex_lock(&lock);
        tell(KIND_SYNC_ENDED, file, 0, now(), NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    return done;
}

int fsync(int fd) {
    return sync_file(fd, SYS_fsync);
}

int fdatasync(int fd) {
    return sync_file(fd, SYS_fdatasync);
}

int unlinkat(int at, const char *path, int flags) {
    char room[PATH_MAX];
    const char *name = whole(at, path, room);
    if (!is_below(name)) {
        return (int)syscall(SYS_unlinkat, at, path, flags);
    }
    pthread_mutex_lock(&lock);
    uint64_t begun = now();
    struct stat status;
    int64_t before = stat(name, &status) == 0 && status.st_nlink == 1 ? status.st_size : 0;
    int done = (int)syscall(SYS_unlinkat, at, path, flags);
    if (done == 0) {
        give_back(before);
        tell(KIND_UNLINK, 0, 0, begun, name, strlen(name));
    }
    pthread_mutex_unlock(&lock);
    return done;
}

int unlink(const char *path) {
    return unlinkat(AT_FDCWD, path, 0);
}

int renameat(int from_at, const char *from, int to_at, const char *to) {
    char from_room[PATH_MAX], to_room[PATH_MAX], both[2 * PATH_MAX];
    const char *from_name = whole(from_at, from, from_room), *to_name = whole(to_at, to, to_room);
    if (!is_below(from_name) && !is_below(to_name)) {
        return (int)syscall(SYS_renameat, from_at, from, to_at, to);
    }
    pthread_mutex_lock(&lock);
    uint64_t begun = now();
    int done = (int)syscall(SYS_renameat, from_at, from, to_at, to);
    if (done == 0) {
        size_t length = (size_t)snprintf(both, sizeof both, "%s%c%s", from_name, 0, to_name);
        tell(KIND_RENAME, 0, 0, begun, both, length);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

int rename(const char *from, const char *to) {
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

/*
 * What nobody calls on these files today. A test fails that meets one of them, rather than to rebuild files without
 * it.
 */
static void unknown(int fd, const char *name) {
    uint64_t file = watched(fd);
    if (file != 0) {
        pthread_mutex_lock(&lock);
        tell(KIND_UNKNOWN, file, 0, now(), name, strlen(name));
        pthread_mutex_unlock(&lock);
    }
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    unknown(fd, "writev");
    return syscall(SYS_writev, fd, parts, count);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    unknown(fd, "pwritev");
    return syscall(SYS_pwritev, fd, parts, count, (long)offset, 0l);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return pwritev64(fd, parts, count, offset);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
    unknown(fd, "fallocate");
    return (int)syscall(SYS_fallocate, fd, mode, offset, length);
}

int fallocate(int fd, int mode, off_t offset, off_t length) {
    return fallocate64(fd, mode, offset, length);
}

int posix_fallocate64(int fd, off64_t offset, off64_t length) {
    return fallocate64(fd, 0, offset, length) == 0 ? 0 : errno;
}

int posix_fallocate(int fd, off_t offset, off_t length) {
    return posix_fallocate64(fd, offset, length);
}

void *mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset) {
    if ((flags & MAP_SHARED) != 0 && (protection & PROT_WRITE) != 0) {
        unknown(fd, "mmap");
    }
    return (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
}

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    return mmap64(address, length, protection, flags, fd, offset);
}

ssize_t copy_file_range(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t length, unsigned flags) {
    unknown(out, "copy_file_range");
    return syscall(SYS_copy_file_range, in, in_offset, out, out_offset, length, flags);
}
