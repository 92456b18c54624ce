/*
 * The program named `claude` that callers run. It finds the real claude and becomes it; if a room or
 * an agent is named, it first becomes Python, which resolves the conversation.
 *
 * Without a room or agent nothing changes on the way: claude gets the caller's arguments,
 * environment, descriptors, signals, limits and umask. It is C because every shell changes the
 * environment that it passes on (help facts, "The launcher"), and because a Python can be removed.
 *
 * The manifest is a file `.claude-shim` beside it, written by `claude-shim install`:
 *
 *     claude-shim 1
 *     python 6831736 1711000000 /usr/bin/python3
 *     program 1234 1711000000 /home/me/.nsed/bin/.claude-shim-program.py
 *     file 5913424 1711000000 /usr/lib/libpython3.11.so.1.0
 *
 * In this order: the format, the interpreter, the program it runs, and any number of files that it
 * needs to start, each with its size, its modification time in seconds, and its path. While all of
 * them are unchanged, Python is trusted to start; otherwise, and where memory is limited, a trial
 * start comes first. Python is run as
 *
 *     python -IS -Xutf8 PROGRAM LAUNCHER SIGNALS LC_CTYPE CLAUDE ARGV...
 *
 * LAUNCHER is the path of this file, CLAUDE that of the real claude; ARGV is ours, argv[0] first.
 * CPython changes three things as it starts, and is told what they were: SIGNALS has a `P` if
 * SIGPIPE was ignored and an `X` if SIGXFSZ was, in this order; LC_CTYPE is the entry of the
 * environment, or empty. For a trial the only argument is `ready?`, and the exit code is READY.
 *
 * Three other names in argv[0] select another task:
 *
 *     claude-shim-which      prints each real claude, the one to use first, a NUL behind each
 *     claude-shim-run CLAUDE ARGV...
 *                            becomes CLAUDE
 *     claude-shim-emergency PROBLEM SIGNALS LC_CTYPE CLAUDE ARGV...
 *                            Python failed because of PROBLEM: restores what CPython changed,
 *                            prints a warning, and becomes CLAUDE
 *
 * The exit code is 127 if there is no claude, and 126 if it cannot be run.
 */

#ifdef __APPLE__
#define _DARWIN_C_SOURCE
#else
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef __APPLE__
#include <mach-o/dyld.h>
#else
#include <sys/auxv.h>
#endif

/* Marks a launcher, near its start. Earlier launchers, in Python, have it, too. */
#define MARK "# claude-shim launcher"
#define MARK_WITHIN 65536

#define CANNOT_RUN 126
#define NO_CLAUDE 127

/* Another tool's wrapper that searches PATH for `claude` can return to us in the same process, for
 * ever. A loop cannot be marked in the environment from the start, which has to reach claude
 * unchanged. But an exec does not reset the processor time of a process, and only a loop (or a
 * caller that worked hard before its exec) has used this much. From then on, each round passes
 * CHAIN to the next one: our process id and all paths tried, separated by colons. */
#define SUSPICIOUS_MILLISECONDS 500
#define CHAIN "NSED_SHIM_CHAIN"

/* Python needs some 20 MB of address space to start. Up to this limit a trial start comes first. */
#define PLENTY_OF_MEMORY ((rlim_t)1 << 30)
#define TRIAL_SECONDS 5
#define READY 86

struct manifest {
    char text[16384];
    const char *python;
    const char *program;
    bool is_unchanged;
};

typedef bool chooser(const char *path);

/* Finding claude. */
static const char *find_claude(void);
static bool any_claude(chooser *is_wanted);
static bool any_along(const char *directories, const char *name, chooser *is_wanted);
static bool any_in_usual_places(chooser *is_wanted);
static bool any_at(const char *path, chooser *is_wanted);
static bool is_launcher(const char *path);
static void read_chain(void);
static bool is_untried(const char *path);
static bool prints(const char *path);

/* Finding Python. */
static bool has_room_or_agent(void);
static bool has_other_nsed_variable(void);
static const char *find_self(void);
static const char *read_manifest(struct manifest *, const char *self);
static bool only_we_write(const struct stat *, const char *self);
static bool parse(struct manifest *, size_t length);
static const char *parse_line(char *line, const char *key, bool *is_unchanged);
static const char *try_python(const struct manifest *);
static _Noreturn void become_trial(const struct manifest *);

/* Becoming another program. */
static void become_python(const struct manifest *, const char *self, const char *claude, int argc,
                          char **argv);
static _Noreturn void become_claude(const char *path, int argc, char **argv);
static bool begins_like_script(const char *path);
static ssize_t read_start(const char *path, char *start, size_t size);
static _Noreturn void become_claude_after_python(int argc, char **argv);

/* Signals and the environment. */
static bool is_ignored(int number);
static void set_ignored(int number, bool ignored);
static const char *variable(const char *name);
static bool is_on(const char *name);
static char **find_entry(const char *name);
static void unset(const char *name);

/* Messages. */
static void warn_of_unmanaged(const char *problem, const char *self);
static const char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void explain(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void print_line(const char *start, const char *format, va_list);
static void make_one_line(char *line);
static void remove_searched_words(char *line);

extern char **environ;

/* What returned to us, each with a colon in front; the claude to use; how many there are. */
static const char *tried = "";
static const char *chosen;
static int seen;

int main(int argc, char **argv) {
    static struct manifest manifest;
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *name = slash ? slash + 1 : argc > 0 ? argv[0] : "";

    if (strcmp(name, "claude-shim-emergency") == 0 && argc >= 6)
        become_claude_after_python(argc, argv);
    if (strcmp(name, "claude-shim-run") == 0 && argc >= 3)
        become_claude(argv[1], argc - 2, argv + 2);
    if (strcmp(name, "claude-shim-which") == 0) {
        any_claude(prints);
        return seen > 0 && fflush(stdout) == 0 ? EXIT_SUCCESS : NO_CLAUDE;
    }

    const char *claude = find_claude();
    if (!has_room_or_agent())
        become_claude(claude, argc, argv);

    const char *self = find_self();
    const char *problem = read_manifest(&manifest, self);
    if (!problem && !manifest.is_unchanged)
        problem = try_python(&manifest);
    if (!problem) {
        become_python(&manifest, self, claude, argc, argv);
        problem = text("%.1000s cannot be run: %s", manifest.python, strerror(errno));
        if (errno == E2BIG) {
            problem = "the arguments are too long to add ours";
            self = NULL;
        }
    }
    warn_of_unmanaged(problem, self);
    become_claude(claude, argc, argv);
}

/* The real claude to use. Exits if there is none, or if every one returned to us. */
static const char *find_claude(void) {
    static char names[2048];
    size_t length = 0;

    read_chain();
    if (any_claude(is_untried))
        return chosen;
    if (!*tried) {
        warn("no claude on PATH or in the usual places: install it with"
             " `npm install -g @anthropic-ai/claude-code`, or set NSED_CLAUDE_BIN");
        exit(NO_CLAUDE);
    }
    for (const char *at = tried + 1; *at && length < sizeof names - sizeof " and "; at++)
        if (*at == ':')
            length += strlen(strcpy(names + length, " and "));
        else
            names[length++] = *at;
    warn("every claude on PATH leads back to this launcher (%s);"
         " set NSED_CLAUDE_BIN to the real one", names);
    exit(CANNOT_RUN);
}

/* Whether any real claude is wanted: that of NSED_CLAUDE_BIN, those on PATH, then usual places. */
static bool any_claude(chooser *is_wanted) {
    const char *path = variable("PATH");
    const char *named = variable("NSED_CLAUDE_BIN");

    if (!path)
        path = "/bin:/usr/bin"; /* as execvp without PATH */
    if (named) {
        if (strchr(named, '/') ? any_at(named, is_wanted) : any_along(path, named, is_wanted))
            return true;
        if (seen == 0)
            warn("NSED_CLAUDE_BIN=%.1000s is not an executable file; searching PATH", named);
    }
    return any_along(path, "claude", is_wanted) || any_in_usual_places(is_wanted);
}

static bool any_along(const char *directories, const char *name, chooser *is_wanted) {
    static char path[PATH_MAX];

    for (const char *at = directories;; at++) {
        int length = (int)strcspn(at, ":");
        int needed = length > 0 ? snprintf(path, sizeof path, "%.*s/%s", length, at, name)
                                : snprintf(path, sizeof path, "./%s", name);
        if ((size_t)needed < sizeof path && any_at(path, is_wanted))
            return true;
        at += length;
        if (!*at)
            return false;
    }
}

static bool any_in_usual_places(chooser *is_wanted) {
    static const char *const places[] = {"~/.local/bin", "~/.claude/local", "~/.npm-global/bin",
                                         "/usr/local/bin", "~/node_modules/.bin", "~/.yarn/bin"};
    static char path[PATH_MAX];
    const char *home = variable("HOME");
    const struct passwd *user = home ? NULL : getpwuid(getuid());

    if (user)
        home = user->pw_dir;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        bool in_home = *places[i] == '~';
        if (in_home && (!home || *home != '/'))
            continue; /* a path in the working directory is not a usual place */
        int needed = snprintf(path, sizeof path, "%s%s/claude", in_home ? home : "",
                              places[i] + in_home);
        if ((size_t)needed < sizeof path && any_at(path, is_wanted))
            return true;
    }
    return false;
}

/* Whether there is an executable file that is not a launcher, and it is wanted. */
static bool any_at(const char *path, chooser *is_wanted) {
    struct stat status;

    if (stat(path, &status) != 0 || !S_ISREG(status.st_mode) || access(path, X_OK) != 0 ||
        is_launcher(path))
        return false;
    seen++;
    return is_wanted(path);
}

/* Whether a program is a launcher by its content: copies and links count, too. */
static bool is_launcher(const char *path) {
    static char start[MARK_WITHIN];
    ssize_t length = read_start(path, start, sizeof start);

    return length > 0 && memmem(start, (size_t)length, MARK, strlen(MARK));
}

/* Reads what this very process tried before, and hides it from claude. */
static void read_chain(void) {
    const char *chain = variable(CHAIN);
    char ours[32];
    int length = snprintf(ours, sizeof ours, "%ld:", (long)getpid());

    if (chain && strncmp(chain, ours, (size_t)length) == 0)
        tried = chain + length - 1;
    unset(CHAIN);
}

/* Chooses the first one that has not returned to us, and sets CHAIN if this may be a loop. */
static bool is_untried(const char *path) {
    static char mark[8 * PATH_MAX];
    size_t length = strlen(path);
    struct timespec used;

    for (const char *at = strchr(tried, ':'); at; at = strchr(at + 1, ':'))
        if (strncmp(at + 1, path, length) == 0 && (at[length + 1] == ':' || !at[length + 1]))
            return false;
    chosen = path;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) != 0 ||
        used.tv_sec * 1000 + used.tv_nsec / 1000000 <= SUSPICIOUS_MILLISECONDS)
        return true;
    /* A chain that does not fit would be an endless loop. */
    int needed = snprintf(mark, sizeof mark, CHAIN "=%ld%s:%s", (long)getpid(), tried, path);
    return (size_t)needed < sizeof mark && putenv(mark) == 0;
}

/* Prints each one, and chooses none. */
static bool prints(const char *path) {
    fwrite(path, strlen(path) + 1, 1, stdout);
    return false;
}

/* Whether there may be a room or an agent, and the shim is not disabled. */
static bool has_room_or_agent(void) {
    const char *opencode = variable("OPENCODE");

    if (is_on("NSED_SHIM_DISABLE")) {
        explain("NSED_SHIM_DISABLE is set: claude is left alone");
        return false;
    }
    if (variable("NSED_ROOM_ID") || variable("NSED_SESSION_ID") || variable("NSED_AGENT_NAME") ||
        (opencode && strcmp(opencode, "1") == 0))
        return true;
    /* Python names a variable that may be a misspelt one. */
    if (is_on("NSED_SHIM_DEBUG") && has_other_nsed_variable())
        return true;
    explain("neither a room nor an agent: claude is left alone");
    return false;
}

/* Whether a variable is named like ours, other than those that only the shim sets. */
static bool has_other_nsed_variable(void) {
    for (char **entry = environ; *entry; entry++)
        if (strncmp(*entry, "NSED", 4) == 0 && strncmp(*entry, "NSED_SHIM_", 10) != 0)
            return true;
    return false;
}

/* The path of this launcher with its symbolic links resolved, or NULL. */
static const char *find_self(void) {
    static char self[PATH_MAX];
#ifdef __APPLE__
    static char given[PATH_MAX];
    uint32_t size = sizeof given;
    return _NSGetExecutablePath(given, &size) == 0 ? realpath(given, self) : NULL;
#else
    const char *given = (const char *)getauxval(AT_EXECFN);
    return given ? realpath(given, self) : NULL;
#endif
}

/* Reads the manifest; returns what is wrong with it, or NULL. */
static const char *read_manifest(struct manifest *manifest, const char *self) {
    static char path[PATH_MAX + sizeof "/.claude-shim"];
    struct stat status;
    struct rlimit memory;

    if (!self)
        return "the launcher cannot find its own path";
    sprintf(path, "%.*s/.claude-shim", (int)(strrchr(self, '/') - self), self);
    int file = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (file == -1)
        return text("%.1000s: %s", path, strerror(errno));
    bool is_safe = fstat(file, &status) == 0 && only_we_write(&status, self);
    ssize_t length = is_safe ? read(file, manifest->text, sizeof manifest->text) : 0;
    close(file);
    if (!is_safe)
        return text("%.1000s must be a file that only you can write", path);
    if (length <= 0 || !parse(manifest, (size_t)length))
        return text("cannot parse %.1000s", path);
    if (access(manifest->program, R_OK) != 0 ||
        (getrlimit(RLIMIT_AS, &memory) == 0 && memory.rlim_cur <= PLENTY_OF_MEMORY))
        manifest->is_unchanged = false;
    return NULL;
}

/* Whether it is a file that only the launcher's owner, root or the caller can write. */
static bool only_we_write(const struct stat *file, const char *self) {
    struct stat launcher;

    return S_ISREG(file->st_mode) && (file->st_mode & (S_IWGRP | S_IWOTH)) == 0 &&
           (file->st_uid == 0 || file->st_uid == geteuid() ||
            (stat(self, &launcher) == 0 && file->st_uid == launcher.st_uid));
}

/* Parses the lines that `claude-shim install` writes; false for any other. */
static bool parse(struct manifest *manifest, size_t length) {
    static const char format[] = "claude-shim 1\n";
    char *line = manifest->text + strlen(format), *end;

    if (length == sizeof manifest->text || strlen(manifest->text) != length ||
        strncmp(manifest->text, format, strlen(format)) != 0)
        return false;
    manifest->is_unchanged = true;
    for (int number = 0; (end = strchr(line, '\n')) != NULL; line = end + 1, number++) {
        *end = '\0';
        const char *key = number == 0 ? "python" : number == 1 ? "program" : "file";
        const char *path = parse_line(line, key, &manifest->is_unchanged);
        if (!path)
            return false;
        if (number == 0)
            manifest->python = path;
        else if (number == 1)
            manifest->program = path;
    }
    return manifest->program && !*line;
}

/* The path in `KEY SIZE SECONDS PATH`, or NULL for another line. Clears `is_unchanged` if the file
 * has changed. */
static const char *parse_line(char *line, const char *key, bool *is_unchanged) {
    char *at = line + strlen(key);
    struct stat file;

    if (strncmp(line, key, strlen(key)) != 0 || *at != ' ')
        return NULL;
    long long size = strtoll(at, &at, 10);
    long long seconds = strtoll(at, &at, 10);
    if (at[0] != ' ' || at[1] != '/')
        return NULL;
    if (stat(at + 1, &file) != 0 || file.st_size != size || file.st_mtime != seconds)
        *is_unchanged = false;
    return at + 1;
}

/* Starts Python once, without effect; returns what is wrong with it, or NULL. If no process can be
 * started, Python is trusted. */
static const char *try_python(const struct manifest *manifest) {
    struct sigaction usual = {.sa_handler = SIG_DFL}, ignored = {.sa_handler = SIG_IGN}, before;
    int status = 0;

    explain("%s may have changed: trying to start it", manifest->python);
    sigaction(SIGCHLD, &usual, &before); /* while it is ignored, no exit status is kept */
    pid_t child = fork();
    if (child == 0)
        become_trial(manifest);
    while (child != -1 && waitpid(child, &status, 0) == -1 && errno == EINTR)
        ;
    sigaction(SIGCHLD, &ignored, NULL); /* leave none pending for claude */
    sigaction(SIGCHLD, &before, NULL);
    if (child == -1 || (WIFEXITED(status) && WEXITSTATUS(status) == READY))
        return NULL;
    return text("%.1000s does not start", manifest->python);
}

static _Noreturn void become_trial(const struct manifest *manifest) {
    char *words[] = {(char *)manifest->python, "-IS", "-Xutf8", (char *)manifest->program, "ready?",
                     NULL};
    struct sigaction usual = {.sa_handler = SIG_DFL};
    sigset_t none;
    int nowhere = open("/dev/null", O_RDWR);

    for (int number = STDIN_FILENO; number <= STDERR_FILENO; number++)
        dup2(nowhere, number);
    /* The alarm must end it even if the caller ignores or blocks signals. */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    sigaction(SIGALRM, &usual, NULL);
    alarm(TRIAL_SECONDS);
    execv(manifest->python, words);
    _exit(CANNOT_RUN);
}

/* Becomes Python, which becomes claude; returns with errno if that fails. */
static void become_python(const struct manifest *manifest, const char *self, const char *claude,
                          int argc, char **argv) {
    char signals[3], *end = signals;
    char **lc_ctype = find_entry("LC_CTYPE");
    const char *own[] = {manifest->python, "-IS", "-Xutf8", manifest->program, self, signals,
                         lc_ctype ? *lc_ctype : "", claude};
    size_t count = sizeof own / sizeof *own;
    const char **words = malloc((count + (size_t)argc + 1) * sizeof *words);

    if (!words)
        return;
    if (is_ignored(SIGPIPE))
        *end++ = 'P';
    if (is_ignored(SIGXFSZ))
        *end++ = 'X';
    *end = '\0';
    memcpy(words, own, sizeof own);
    memcpy(words + count, argv, ((size_t)argc + 1) * sizeof *words);
    explain("running %s", manifest->python);
    execv(manifest->python, (char *const *)words);
    int problem = errno;
    free(words);
    errno = problem;
}

static _Noreturn void become_claude(const char *path, int argc, char **argv) {
    explain("running %s as asked", path);
    execv(path, argv);
    int problem = errno;
    if (problem == ENOEXEC && begins_like_script(path)) {
        const char **words = calloc((size_t)argc + 3, sizeof *words);
        if (words) {
            words[0] = "sh";
            words[1] = path;
            for (int i = 1; i < argc; i++)
                words[i + 1] = argv[i];
            execv("/bin/sh", (char *const *)words);
        }
    }
    warn("%.1000s cannot be run: %s", path, strerror(problem));
    exit(CANNOT_RUN);
}

/* Whether a file that the system cannot execute begins like a shell script. Shells and execvp would
 * run any file: an empty one, as an interrupted update leaves, would succeed without an answer. */
static bool begins_like_script(const char *path) {
    char start[256];
    ssize_t length = read_start(path, start, sizeof start - 1);

    if (length <= 0 || memchr(start, '\0', (size_t)length))
        return false;
    start[length] = '\0';
    const char *word = start + strspn(start, " \t\r\n");
    const char *end = word + strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
    return *word && (strchr("#:./\"$", *word) || (*word >= 'a' && *word <= 'z') ||
                     (*word > '9' && end > word && *end == '='));
}

/* Reads the start of a file; -1 if that fails, as an executable may be unreadable. */
static ssize_t read_start(const char *path, char *start, size_t size) {
    int file = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    if (file == -1)
        return -1;
    ssize_t length = read(file, start, size);
    close(file);
    return length;
}

/* Restores what CPython changed, and becomes the claude that Python was given. */
static _Noreturn void become_claude_after_python(int argc, char **argv) {
    const char *problem = argv[1], *signals = argv[2];
    char *lc_ctype = argv[3], **changed = find_entry("LC_CTYPE");

    set_ignored(SIGPIPE, strchr(signals, 'P') != NULL);
    set_ignored(SIGXFSZ, strchr(signals, 'X') != NULL);
    if (!*lc_ctype)
        unset("LC_CTYPE");
    else if (changed)
        *changed = lc_ctype;
    warn_of_unmanaged(problem, find_self());
    become_claude(argv[4], argc - 5, argv + 5);
}

static bool is_ignored(int number) {
    struct sigaction action;

    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

static void set_ignored(int number, bool ignored) {
    struct sigaction action = {.sa_handler = ignored ? SIG_IGN : SIG_DFL};

    sigaction(number, &action, NULL);
}

/* The value of a variable, or NULL if it is unset or empty. */
static const char *variable(const char *name) {
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

/* Whether a variable is set to anything but `0`. */
static bool is_on(const char *name) {
    const char *value = variable(name);

    return value && strcmp(value, "0") != 0;
}

/* The first entry of a variable in the environment, or NULL. */
static char **find_entry(const char *name) {
    size_t length = strlen(name);

    for (char **at = environ; at && *at; at++)
        if (strncmp(*at, name, length) == 0 && (*at)[length] == '=')
            return at;
    return NULL;
}

/* Removes every entry of a variable from the environment. */
static void unset(const char *name) {
    for (char **at; (at = find_entry(name)) != NULL;)
        do
            at[0] = at[1];
        while (*at++);
}

/* `self` is NULL if a new installation would not help. */
static void warn_of_unmanaged(const char *problem, const char *self) {
    warn("running claude without session management: %.1500s%s%.1000s", problem,
         self ? "; to fix it, install claude-shim again and run `claude-shim install`, or delete "
              : "", self ? self : "");
}

/* Formats a text, which is valid until the next call. */
static const char *text(const char *format, ...) {
    static char written[1500];
    va_list values;

    va_start(values, format);
    vsnprintf(written, sizeof written, format, values);
    va_end(values);
    return written;
}

/* Prints one line on stderr. Never fails. */
static void warn(const char *format, ...) {
    va_list values;

    va_start(values, format);
    print_line("claude-shim: ", format, values);
    va_end(values);
}

/* Prints a decision on stderr if NSED_SHIM_DEBUG is set. */
static void explain(const char *format, ...) {
    va_list values;

    if (!is_on("NSED_SHIM_DEBUG"))
        return;
    va_start(values, format);
    print_line("claude-shim: debug: ", format, values);
    va_end(values);
}

static void print_line(const char *start, const char *format, va_list values) {
    char line[4000];
    size_t length = strlen(strcpy(line, start));
    struct sigaction ignored = {.sa_handler = SIG_IGN}, pipe_action, size_action;

    vsnprintf(line + length, sizeof line - length - 1, format, values);
    make_one_line(line);
    remove_searched_words(line + length);
    length = strlen(line);
    line[length++] = '\n';
    /* The pipe may be closed, and the file at its size limit. */
    sigaction(SIGPIPE, &ignored, &pipe_action);
    sigaction(SIGXFSZ, &ignored, &size_action);
    ssize_t written = write(STDERR_FILENO, line, length);
    (void)written;
    sigaction(SIGPIPE, &pipe_action, NULL);
    sigaction(SIGXFSZ, &size_action, NULL);
}

/* Replaces control characters and Unicode's line ends (U+0085, U+2028, U+2029 in UTF-8). */
static void make_one_line(char *line) {
    static const char *const ends[] = {"\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"};

    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        for (char *at; (at = strstr(line, ends[i])) != NULL;)
            memset(at, ' ', strlen(ends[i]));
    for (; *line; line++)
        if ((unsigned char)*line < ' ' || *line == 0x7f)
            *line = ' ';
}

/* Callers search stderr for these words of claude and its servers, and react to them (help facts,
 * "NSED's worker"); names, paths and the system's messages can contain them. */
static void remove_searched_words(char *line) {
    static const char *const searched[] = {
        "session id", "already in use", "not found",     "invalid",     "no conversation",
        "rate limit", "overloaded",     "limit reached", "usage limit", "quota",
        "429",        "wait ",          "retry in ",
    };

    for (size_t i = 0; i < sizeof searched / sizeof *searched; i++)
        for (char *at; (at = strcasestr(line, searched[i])) != NULL;)
            memset(at, '.', strlen(searched[i]));
}
