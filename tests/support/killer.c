/*
 * Kills a Python at the moment it is about to change something: preloaded, it stands in front of
 * the C library's calls that do. All Pythons of one environment count them together, in a file;
 * the launcher, which Python is loaded into, counts as one.
 *
 *     KILLER_COUNT  that file, of 8 bytes
 *     KILLER_AT     the call to die at, the first one is 1; with 0 all are only counted
 *
 * A write counts twice: before it, and when half of it is written.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long *count;
static long at;

static bool is_python(void) {
    return strncmp(program_invocation_short_name, "python", strlen("python")) == 0;
}

static bool is_launcher(void) {
    char path[PATH_MAX + sizeof "/.claude-shim"];
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX);

    if (length <= 0)
        return false;
    path[length] = '\0';
    strcpy(strrchr(path, '/'), "/.claude-shim");
    return access(path, F_OK) == 0;
}

__attribute__((constructor)) static void find_count(void) {
    const char *path = getenv("KILLER_COUNT"), *number = getenv("KILLER_AT");
    int file;

    if (!path || !number || !(is_python() || is_launcher()))
        return;
    at = atol(number);
    file = open(path, O_RDWR | O_CLOEXEC);
    if (file == -1)
        return;
    count = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (count == MAP_FAILED)
        count = NULL;
    close(file);
}

static bool is_last(void) {
    return count && atomic_fetch_add(count, 1) + 1 == at;
}

static void count_one(void) {
    if (is_last())
        kill(getpid(), SIGKILL);
}

/* The C library's own function of a name. */
#define REAL(type, name, parameters)                    \
    static type(*real) parameters;                      \
    if (!real)                                          \
        *(void **)&real = dlsym(RTLD_NEXT, #name)

#define COUNTED(name, parameters, arguments)            \
    int name parameters {                               \
        REAL(int, name, parameters);                    \
        count_one();                                    \
        return real arguments;                          \
    }

COUNTED(rename, (const char *from, const char *to), (from, to))
COUNTED(renameat, (int a, const char *from, int b, const char *to), (a, from, b, to))
COUNTED(link, (const char *from, const char *to), (from, to))
COUNTED(linkat, (int a, const char *from, int b, const char *to, int how), (a, from, b, to, how))
COUNTED(symlink, (const char *target, const char *path), (target, path))
COUNTED(unlink, (const char *path), (path))
COUNTED(unlinkat, (int directory, const char *path, int how), (directory, path, how))
COUNTED(rmdir, (const char *path), (path))
COUNTED(mkdir, (const char *path, mode_t mode), (path, mode))
COUNTED(chmod, (const char *path, mode_t mode), (path, mode))
COUNTED(fchmod, (int file, mode_t mode), (file, mode))
COUNTED(fchmodat, (int a, const char *path, mode_t mode, int how), (a, path, mode, how))
COUNTED(futimens, (int file, const struct timespec times[2]), (file, times))
COUNTED(utimensat, (int a, const char *path, const struct timespec times[2], int how),
        (a, path, times, how))
COUNTED(ftruncate64, (int file, off64_t length), (file, length))
COUNTED(fsync, (int file), (file))
COUNTED(execv, (const char *path, char *const words[]), (path, words))

ssize_t sendfile64(int to, int from, off64_t *offset, size_t length) {
    REAL(ssize_t, sendfile64, (int, int, off64_t *, size_t));
    count_one();
    if (is_last()) {
        real(to, from, offset, length / 2);
        kill(getpid(), SIGKILL);
    }
    return real(to, from, offset, length);
}

ssize_t write(int file, const void *data, size_t length) {
    REAL(ssize_t, write, (int, const void *, size_t));
    count_one();
    if (is_last()) {
        real(file, data, length / 2);
        kill(getpid(), SIGKILL);
    }
    return real(file, data, length);
}

ssize_t pwrite64(int file, const void *data, size_t length, off64_t offset) {
    REAL(ssize_t, pwrite64, (int, const void *, size_t, off64_t));
    count_one();
    if (is_last()) {
        real(file, data, length / 2, offset);
        kill(getpid(), SIGKILL);
    }
    return real(file, data, length, offset);
}

static mode_t mode_behind(int flags, va_list values) {
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(values, mode_t) : 0;
}

int open64(const char *path, int flags, ...) {
    REAL(int, open64, (const char *, int, ...));
    va_list values;
    mode_t mode;

    va_start(values, flags);
    mode = mode_behind(flags, values);
    va_end(values);
    if (flags & (O_CREAT | O_TRUNC))
        count_one();
    return real(path, flags, mode);
}
