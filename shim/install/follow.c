/*
 * The hook that Claude Code runs before and after each turn and at each end of a conversation, with
 * the event on stdin. Nearly always the head of the room and agent is this conversation already, and
 * then there is nothing to do: this program sees that in a tenth of the time that a Python takes to start.
 * Whatever it does not see at a glance, it leaves to the hook in Python beside it, which becomes it
 * and has the same event on stdin (shim/hooks/head_hook.py has the rules).
 *
 * CLAUDE_PLUGIN_ROOT is the path of the plugin as claude was given it,
 *
 *     STORE/plugins/DIGEST/TAG-VARIANT
 *
 * and DIGEST/key holds the room, a NUL and the agent (shim/store/plugin_links.py). The store is read
 * in its canonical layout (shim/store/layout.py). It prints nothing and exits with 0.
 *
 * Where that Python, or what it imports, is gone, this program notes for the next call where the
 * conversation moved to (shim/store/unrecorded.py): Python then becomes this program with an
 * argument.
 */

#ifdef __APPLE__
#define _DARWIN_C_SOURCE
#else
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A longer event is left to Python, as are longer names. */
#define LONGEST_EVENT (1 << 20)
#define LONGEST_NAME 2048
/* So much a pipe holds on every system before a reader comes. */
#define LEAST_PIPE 16384

#define SESSION_ID "\"session_id\""
#define SESSION_ID_LENGTH 36
#define STAMP "0000-00-00T00:00:00.000000000Z"

/* Some bytes; a NUL may be among them. */
struct text {
    const char *start;
    size_t length;
};

static bool is_settled(struct text event, const char *plugin);
static bool read_session_id(struct text event, char *session_id);
static bool may_leave_head(struct text event, const char *plugin);
static bool find_store(const char *plugin, char *of_key, char *store);
static bool ends_turn(struct text event);
static bool has_tasks(struct text event, const char *store, const char *session_id);
static bool read_key(const char *of_key, char *room, const char **agent);
static bool is_head(const char *store, const char *room, const char *agent, const char *session_id);
static size_t read_all(int file, char *content, size_t size);
static const char *find_stamp(struct text document, const char *room, const char *agent,
                              const char *session_id);
static bool has_ends(struct text document);
static bool follows_room(struct text document, const char *at);
static bool read_agents(struct text *rest, const char *agent, const char *session_id,
                        const char **stamp);
static bool skip(struct text *rest, const char *expected);
static bool read_string(struct text *rest, const char *before, struct text *string);
static bool is_plain(struct text);
static bool is_stamp(struct text);
static bool is_same(struct text, const char *wanted);
static bool ends_with(struct text, const char *end);
static const char *find(struct text, const char *wanted);
static struct text behind(struct text, const char *at);
static struct text whole(const char *string);
static void touch(int file, off_t at);
static void hand_over(struct text event);
static void write_all(int file, struct text);
static void note(struct text event, const char *plugin, int error);
static bool begins_turn_or_moves(struct text event);
static void link_anew(const char *target, const char *path);

int main(int argc, char **argv) {
    static char event[LONGEST_EVENT], script[PATH_MAX];
    const char *plugin = getenv("CLAUDE_PLUGIN_ROOT");
    size_t length = 0;
    ssize_t got;

    while (length < sizeof event &&
           (got = read(STDIN_FILENO, event + length, sizeof event - length)) > 0)
        length += (size_t)got;
    if (argc > 1) {
        note((struct text){event, length}, plugin, ENOENT);
        return EXIT_SUCCESS;
    }
    if (plugin && length < sizeof event && is_settled((struct text){event, length}, plugin))
        return EXIT_SUCCESS;
    if (argc > 0 && (size_t)snprintf(script, sizeof script, "%s.py", argv[0]) < sizeof script) {
        hand_over((struct text){event, length});
        execv(script, (char *[]){script, NULL});
        note((struct text){event, length}, plugin, errno);
    }
    return EXIT_SUCCESS;
}

/* Whether the head is the conversation of the event, and stays it; it counts as used now. */
static bool is_settled(struct text event, const char *plugin) {
    static char room[LONGEST_NAME], of_key[PATH_MAX], store[PATH_MAX];
    char session_id[SESSION_ID_LENGTH + 1];
    const char *agent;

    if (!read_session_id(event, session_id) || may_leave_head(event, plugin) ||
        !find_store(plugin, of_key, store) || !read_key(of_key, room, &agent))
        return false;
    if (ends_turn(event))
        return !has_tasks(event, store, session_id);
    return is_head(store, room, agent, session_id);
}

/* The directory of the key's links, and that of the store, which is two directories up. Both have
 * the size of the longest path. */
static bool find_store(const char *plugin, char *of_key, char *store) {
    char *end;

    if (strlen(plugin) >= PATH_MAX)
        return false;
    strcpy(of_key, plugin);
    if (!(end = strrchr(of_key, '/')))
        return false;
    *end = '\0';
    strcpy(store, of_key);
    if (!(end = strrchr(store, '/')))
        return false;
    *end = '\0';
    if (!(end = strrchr(store, '/')) || strcmp(end, "/plugins") != 0)
        return false;
    *end = '\0';
    return true;
}

/* The session id of an event that starts with it, as claude's do, and names no other. */
static bool read_session_id(struct text event, char *session_id) {
    static const char opening[] = "{" SESSION_ID ":\"";
    size_t start = strlen(opening), end = start + SESSION_ID_LENGTH;

    if (event.length <= end || memcmp(event.start, opening, start) != 0 ||
        event.start[end] != '"' || find(behind(event, event.start + end), SESSION_ID) ||
        find(event, "\\u")) /* a key can be spelled with escapes */
        return false;
    memcpy(session_id, event.start + start, SESSION_ID_LENGTH);
    session_id[SESSION_ID_LENGTH] = '\0';
    return strspn(session_id, "0123456789abcdef-") == SESSION_ID_LENGTH;
}

/* What begins or ends at a terminal may be a conversation that is left to the background. */
static bool may_leave_head(struct text event, const char *plugin) {
    static const char at_terminals[] = "interactive";
    size_t length = strlen(plugin), ending = strlen(at_terminals);

    return length >= ending && strcmp(plugin + length - ending, at_terminals) == 0 &&
           (find(event, "SessionStart") || find(event, "SessionEnd"));
}

static bool ends_turn(struct text event) {
    return find(event, "\"hook_event_name\":\"Stop\"") != NULL;
}

/* Whether background tasks run on after a turn, or did after the one before it. */
static bool has_tasks(struct text event, const char *store, const char *session_id) {
    static char noted[PATH_MAX];

    return find(event, "\"status\":\"running\"") ||
           (size_t)snprintf(noted, sizeof noted, "%s/tasks/%s", store, session_id) >=
               sizeof noted ||
           access(noted, F_OK) == 0;
}

/* The room and agent that a directory of links is of; false where they take more than a look. */
static bool read_key(const char *of_key, char *room, const char **agent) {
    static char path[PATH_MAX];

    if ((size_t)snprintf(path, sizeof path, "%s/key", of_key) >= sizeof path)
        return false;
    int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (file == -1)
        return false;
    ssize_t length = read(file, room, LONGEST_NAME - 1);
    close(file);
    if (length <= 0)
        return false;
    room[length] = '\0';
    *agent = room + strlen(room) + 1;
    return *agent <= room + length && *agent + strlen(*agent) == room + length &&
           is_plain(whole(room)) && is_plain(whole(*agent));
}

/* Whether the store has this session id; under its lock, if that is free. */
static bool is_head(const char *store, const char *room, const char *agent,
                    const char *session_id) {
    static char path[PATH_MAX];
    const char *stamp = NULL;
    struct stat status;

    if ((size_t)snprintf(path, sizeof path, "%s/sessions.json", store) >= sizeof path)
        return false;
    int file = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (file == -1)
        return false;
    /* To tighten its mode is Python's, too. */
    bool is_sound = fstat(file, &status) == 0 && S_ISREG(status.st_mode) &&
                    (status.st_mode & 077) == 0 && status.st_uid == geteuid() &&
                    flock(file, LOCK_EX | LOCK_NB) == 0;
    char *content = is_sound ? malloc((size_t)status.st_size + 1) : NULL;
    if (content) {
        struct text document = {content, read_all(file, content, (size_t)status.st_size)};
        if ((stamp = find_stamp(document, room, agent, session_id)) != NULL)
            touch(file, stamp - content);
        free(content);
    }
    close(file);
    return stamp != NULL;
}

/* How much there is of a file of that size. */
static size_t read_all(int file, char *content, size_t size) {
    size_t length = 0;
    ssize_t got;

    while (length < size &&
           (got = pread(file, content + length, size - length, (off_t)length)) > 0)
        length += (size_t)got;
    return length;
}

/* Where the time of use stands in a document that has the entry; NULL where that takes a parse.
 * Damage in another room is not seen, as Python's own look does not see it (shim/store/layout.py);
 * this room, and that it is one, must be whole. */
static const char *find_stamp(struct text document, const char *room, const char *agent,
                              const char *session_id) {
    static char quoted[LONGEST_NAME + 2];
    const char *at, *stamp = NULL;

    snprintf(quoted, sizeof quoted, "\"%s\"", room);
    /* Of two rooms with one name the last one counts, and an agent can have a room's name. */
    if (!has_ends(document) || find(document, "\\") || !(at = find(document, quoted)) ||
        find(behind(document, at + 1), quoted) || !follows_room(document, at))
        return NULL;
    struct text rest = behind(document, at + strlen(quoted));
    if (!skip(&rest, ": {") || !read_agents(&rest, agent, session_id, &stamp) ||
        (!skip(&rest, ",\n  \"") && !skip(&rest, "\n}")))
        return NULL;
    return stamp;
}

/* Whether a document begins and ends as the writers of the store lay it out. */
static bool has_ends(struct text document) {
    while (ends_with(document, "\n")) /* space that is reserved for new rooms */
        document.length--;
    return skip(&document, "{\n  \"") &&
           (ends_with(document, "\n  }\n}") || ends_with(document, ": {}\n}"));
}

/* Whether the name of a room can stand at a position. */
static bool follows_room(struct text document, const char *at) {
    struct text before = {document.start, (size_t)(at - document.start)};

    return is_same(before, "{\n  ") || ends_with(before, "\n  },\n  ") ||
           ends_with(before, ": {},\n  ");
}

/* Reads what a room holds, and finds the time at which an agent with this session id was used. */
static bool read_agents(struct text *rest, const char *agent, const char *session_id,
                        const char **stamp) {
    if (skip(rest, "}"))
        return true;
    do {
        struct text name, id, used;
        if (!read_string(rest, "\n    ", &name) ||
            !read_string(rest, ": {\n      \"uuid\": ", &id) ||
            !read_string(rest, ",\n      \"last_used\": ", &used) || !skip(rest, "\n    }"))
            return false;
        if (is_same(name, agent))
            *stamp = is_same(id, session_id) && is_stamp(used) ? used.start : NULL;
    } while (skip(rest, ","));
    return skip(rest, "\n  }");
}

/* Skips a text, if it comes next. */
static bool skip(struct text *rest, const char *expected) {
    size_t length = strlen(expected);

    if (rest->length < length || memcmp(rest->start, expected, length) != 0)
        return false;
    *rest = behind(*rest, rest->start + length);
    return true;
}

/* Reads a string without escapes, if it comes next behind a text. */
static bool read_string(struct text *rest, const char *before, struct text *string) {
    const char *end;

    if (!skip(rest, before) || !skip(rest, "\"") ||
        !(end = memchr(rest->start, '"', rest->length)))
        return false;
    *string = (struct text){rest->start, (size_t)(end - rest->start)};
    *rest = behind(*rest, end + 1);
    return is_plain(*string);
}

/* Whether a text stands in JSON as it is: UTF-8 (each character has the bytes that its first one
 * asks for), with nothing in it that JSON escapes. */
static bool is_plain(struct text text) {
    int missing = 0;

    for (size_t i = 0; i < text.length; i++) {
        unsigned char byte = (unsigned char)text.start[i];
        if (byte < ' ' || byte == '"' || byte == '\\' || byte >= 0xf8 ||
            ((byte & 0xc0) == 0x80 ? missing-- == 0 : missing != 0))
            return false;
        if (byte >= 0xc0)
            missing = byte >= 0xf0 ? 3 : byte >= 0xe0 ? 2 : 1;
    }
    return missing == 0;
}

static bool is_same(struct text text, const char *wanted) {
    return text.length == strlen(wanted) && memcmp(text.start, wanted, text.length) == 0;
}

static bool ends_with(struct text text, const char *end) {
    size_t length = strlen(end);

    return text.length >= length &&
           memcmp(text.start + text.length - length, end, length) == 0;
}

/* Whether it is a time in the form, and so of the width, that we write. */
static bool is_stamp(struct text text) {
    static const char form[] = STAMP;

    if (text.length != strlen(form))
        return false;
    for (size_t i = 0; i < text.length; i++)
        if (form[i] == '0' ? text.start[i] < '0' || text.start[i] > '9' : text.start[i] != form[i])
            return false;
    return true;
}

static const char *find(struct text text, const char *wanted) {
    return memmem(text.start, text.length, wanted, strlen(wanted));
}

static struct text behind(struct text text, const char *at) {
    return (struct text){at, text.length - (size_t)(at - text.start)};
}

static struct text whole(const char *string) {
    return (struct text){string, strlen(string)};
}

/* Writes the time of use in place, as wide as it was. */
static void touch(int file, off_t at) {
    char stamp[64];
    struct timespec now;
    struct tm utc;

    if (clock_gettime(CLOCK_REALTIME, &now) != 0 || !gmtime_r(&now.tv_sec, &utc))
        return;
    size_t length = strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(stamp + length, sizeof stamp - length, ".%09ldZ", now.tv_nsec);
    if (strlen(stamp) == strlen(STAMP)) {
        ssize_t written = pwrite(file, stamp, strlen(stamp), at);
        (void)written;
    }
}

/* Has Python read the event on its stdin, from the start: through a pipe, which needs no space on
 * any disk. A child writes, as the event may be longer than a pipe holds. It keeps nothing open
 * that claude waits for, and ends with Python at the latest. */
static void hand_over(struct text event) {
    static char more[1 << 16];
    int ends[2];
    ssize_t got;

    if (pipe(ends) == -1)
        return;
    pid_t child = fork();
    if (child == 0) {
        signal(SIGPIPE, SIG_DFL);
        close(STDOUT_FILENO);
        close(STDERR_FILENO);
        close(ends[0]);
        write_all(ends[1], event);
        while ((got = read(STDIN_FILENO, more, sizeof more)) > 0)
            write_all(ends[1], (struct text){more, (size_t)got});
        _exit(EXIT_SUCCESS);
    }
    if (child == -1 && event.length <= LEAST_PIPE)
        write_all(ends[1], event);
    close(ends[1]);
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
}

static void write_all(int file, struct text text) {
    ssize_t written;

    while (text.length > 0 && (written = write(file, text.start, text.length)) > 0)
        text = (struct text){text.start + written, text.length - (size_t)written};
}

/* Notes the conversation that a room and agent moved to, for the next call. A symbolic link needs
 * no space on a full disk; the directory of the key is named by the digest that notes have, too. */
static void note(struct text event, const char *plugin, int error) {
    static char of_key[PATH_MAX], store[PATH_MAX], path[2 * PATH_MAX];
    char session_id[SESSION_ID_LENGTH + 1], target[2 * SESSION_ID_LENGTH];

    if (!plugin || !read_session_id(event, session_id) || !begins_turn_or_moves(event) ||
        !find_store(plugin, of_key, store))
        return;
    /* A fork is not where the room went. */
    snprintf(path, sizeof path, "%s/forks/%s", store, session_id);
    if (access(path, F_OK) == 0)
        return;
    snprintf(target, sizeof target, "%s %d", session_id, error);
    snprintf(path, sizeof path, "%s/unrecorded-%s", store, strrchr(of_key, '/') + 1);
    link_anew(target, path);
    snprintf(path, sizeof path, "%s/unrecorded", store);
    link_anew("unrecorded", path);
}

/* Whether the conversation of an event is the one that claude is on from now on. */
static bool begins_turn_or_moves(struct text event) {
    return find(event, "\"hook_event_name\":\"UserPromptSubmit\"") ||
           (find(event, "\"hook_event_name\":\"SessionStart\"") &&
            (find(event, "\"source\":\"clear\"") || find(event, "\"source\":\"resume\"")));
}

static void link_anew(const char *target, const char *path) {
    unlink(path);
    int failed = symlink(target, path);
    (void)failed;
}
