/* Plays claude, and records all that reached it: what /proc says of it, byte for byte, into
 * `calls/PID` beside it, and exits 42. Linux only. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char links[1 << 20];
static char content[1 << 23];

static size_t read_all(const char *path) {
    size_t length = 0;
    ssize_t piece;
    int file = open(path, O_RDONLY);
    while ((piece = read(file, content + length, sizeof content - length)) > 0)
        length += (size_t)piece;
    close(file);
    return length;
}

static void write_all(const char *directory, const char *name, const char *from, size_t length) {
    char path[PATH_MAX + 64];
    sprintf(path, "%s/%s", directory, name);
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (file == -1 || write(file, from, length) != (ssize_t)length)
        exit(99);
    close(file);
}

/* What the caller allows is recorded; what is recorded may be longer. */
static void limit_files_to(rlim_t soft, rlim_t hard) {
    struct rlimit limit = {soft, hard};
    setrlimit(RLIMIT_FSIZE, &limit);
}

int main(int argc, char **argv) {
    static const char *const facts[] = {"cmdline", "environ", "limits", "status"};
    char directory[PATH_MAX], path[PATH_MAX];
    size_t length = 0;
    struct rlimit size;

    /* The shim learning its options: not a call of anybody's. */
    if (argc > 1 && strcmp(argv[1], "--help") == 0 && getenv("NSED_SHIM_DISABLE"))
        return 1;
    /* Before anything is opened: the descriptors, and then the working directory. */
    for (int number = 0; number < 4096; number++) {
        char target[PATH_MAX];
        sprintf(path, "/proc/self/fd/%d", number);
        ssize_t end = readlink(path, target, sizeof target - 1);
        if (end > 0)
            length += (size_t)sprintf(links + length, "%d %.*s", number, (int)end, target) + 1;
    }
    ssize_t end = readlink("/proc/self/cwd", path, sizeof path - 1);
    length += (size_t)sprintf(links + length, "cwd %.*s", (int)end, path) + 1;

    end = readlink("/proc/self/exe", directory, sizeof directory - 64);
    directory[end] = '\0';
    sprintf(strrchr(directory, '/'), "/calls/%ld", (long)getpid());
    mkdir(directory, 0700);
    getrlimit(RLIMIT_FSIZE, &size);
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        sprintf(path, "/proc/self/%s", facts[i]);
        size_t known = read_all(path);
        limit_files_to(size.rlim_max, size.rlim_max);
        write_all(directory, facts[i], content, known);
        limit_files_to(size.rlim_cur, size.rlim_max);
    }
    limit_files_to(size.rlim_max, size.rlim_max);
    write_all(directory, "links", links, length);
    return 42;
}
