/* The password database of a test, preloaded: every user's home is TEST_HOME. */
#define _GNU_SOURCE
#include <pwd.h>
#include <stdlib.h>
#include <sys/types.h>

static void fill(struct passwd *entry, uid_t uid) {
    *entry = (struct passwd){.pw_name = "ada",
                             .pw_passwd = "x",
                             .pw_uid = uid,
                             .pw_gecos = "",
                             .pw_dir = getenv("TEST_HOME"),
                             .pw_shell = "/bin/sh"};
}

struct passwd *getpwuid(uid_t uid) {
    static struct passwd entry;

    fill(&entry, uid);
    return &entry;
}

int getpwuid_r(uid_t uid, struct passwd *entry, char *buffer, size_t size, struct passwd **found) {
    (void)buffer, (void)size;
    fill(entry, uid);
    *found = entry;
    return 0;
}
