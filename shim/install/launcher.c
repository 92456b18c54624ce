/*
 * The program named `claude` that callers run. It finds the real claude and becomes it; where a
 * room or an agent is named, it becomes Python first, which works out the conversation.
 *
 * Where there is nothing to do, nothing is touched: arguments, environment, descriptors, signals,
 * limits and umask reach claude as they came. It is C because every shell changes the environment
 * it only passes on (help facts, "The launcher"), and because a Python can go.
 *
 * The file `.claude-shim` beside it, written by `claude-shim install`, says which Python to become:
 *
 *     claude-shim 1
 *     python 6831736 1711000000 /usr/bin/python3
 *     program 1234 1711000000 /home/me/.nsed/bin/.claude-shim-program.py
 *     file 5913424 1711000000 /usr/lib/libpython3.11.so.1.0
 *
 * in this order: the form of the file, the interpreter, what it runs, and any number of files it
 * cannot start without, each with its size, the second it was modified in, and its path. While all
 * are so, Python is trusted to start; else, and where memory is limited, it is tried out first.
 * One of the files may be PROGRAM compiled, with a `c` behind its name: it takes its place where all
 * are so. Another may be the library that Python is, as above: it is loaded then, and runs here,
 * which spares a call 8 % of its time, and tells whether it can start. Python is run as
 *
 *     python -IS -Xutf8 PROGRAM LAUNCHER SIGNALS LC_CTYPE CLAUDE ARGV...
 *
 * LAUNCHER is this file's own path, CLAUDE the real one's; ARGV is ours, our name in front. CPython
 * changes three things as it starts, and is told what they were: SIGNALS is `P` where SIGPIPE was
 * ignored and `X` where SIGXFSZ was, in this order; LC_CTYPE is the entry of the environment, or
 * empty. When tried out it has the one argument `ready?`, and ends with the exit code READY.
 *
 * By another name in argv[0], it does something else:
 *
 *     claude-shim-which      prints each real claude, the one to use first, a NUL behind each
 *     claude-shim-emergency PROBLEM SIGNALS LC_CTYPE CLAUDE ARGV...
 *                            Python could do nothing, because of PROBLEM: resets what CPython
 *                            changed, says so, and becomes CLAUDE
 *
 * Exits 127 where there is no claude, and 126 where it cannot be run.
 */

#ifdef __APPLE__
#define _DARWIN_C_SOURCE
#else
#define _GNU_SOURCE
#endif

#include <dlfcn.h>
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

/* How a launcher is told from any other program: this stands near its start, as it stood in the
 * launchers in Python that there were before. */
#define MARK "# claude-shim launcher"
#define MARK_WITHIN 65536

#define CANNOT_RUN 126
#define NO_CLAUDE 127

/* Another tool's wrapper that looks for `claude` along PATH can come back to us in the same
 * process, for ever. Nothing may be left in the environment of a call that should reach claude
 * untouched; but exec does not reset the processor time a process has used, and only a loop (or a
 * caller that worked hard before its exec) has used this much. From then on each round leaves a
 * mark that the next one sees: our process id, and all that was tried, with colons between. */
#define SUSPICIOUS_MILLISECONDS 500
#define CHAIN "NSED_SHIM_CHAIN"

/* A Python needs some 20 MB of addresses to start. Where no more than this is allowed, we look. */
#define PLENTY_OF_MEMORY ((rlim_t)1 << 30)
#define PATIENCE_SECONDS 5
#define READY 86

/* What the file beside the launcher says, in its own lines. */
struct installation {
    char text[16384];
    const char *python;
    const char *program;
    const char *compiled;
    const char *library;
    int (*run)(int, char **); /* Python's main function, where its library is loaded */
    bool as_it_was;
};

typedef bool chooser(const char *path);

/* Which claude. */
static const char *find_claude(void);
static bool any_claude(chooser *is_wanted);
static bool any_along(const char *directories, const char *name, chooser *is_wanted);
static bool any_in_usual_places(chooser *is_wanted);
static bool any_at(const char *path, chooser *is_wanted);
static bool is_launcher(const char *path);
static void read_chain(void);
static bool is_untried(const char *path);
static bool prints(const char *path);

/* Which Python. */
static bool something_is_to_do(void);
static const char *find_self(void);
static const char *read_installation(struct installation *, const char *self);
static bool nobody_else_writes(const struct stat *, const char *self);
static bool understands(struct installation *, size_t length);
static bool is_compiled(const char *path, const char *program);
static const char *path_in(char *line, const char *key, bool *as_it_was);
static void load_python(struct installation *);
static const char *try_out(const struct installation *);
static _Noreturn void become_python_to_try(const struct installation *);

/* Becoming them. */
static void become_python(const struct installation *, const char *self, const char *claude,
                          int argc, char **argv);
static _Noreturn void become_claude(const char *path, int argc, char **argv);
static bool begins_like_script(const char *path);
static _Noreturn void become_claude_after_python(int argc, char **argv);

/* Signals and the environment. */
static bool is_ignored(int number);
static void set_ignored(int number, bool ignored);
static const char *variable(const char *name);
static bool is_on(const char *name);
static char **entry(const char *name);
static void forget(const char *name);

/* What is said. */
static void warn_that_claude_runs_as_asked(const char *problem, const char *self);
static const char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void explain(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *start, const char *format, va_list);
static void make_one_line(char *line);
static void leave_out_what_callers_search_for(char *line);

extern char **environ;

/* What came back to us, each with a colon in front; what is used; how many were looked at. */
static const char *tried = "";
static const char *chosen;
static int seen;

int main(int argc, char **argv) {
    static struct installation installation;
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *name = slash ? slash + 1 : argc > 0 ? argv[0] : "";

    if (strcmp(name, "claude-shim-emergency") == 0 && argc >= 6)
        become_claude_after_python(argc, argv);
    if (strcmp(name, "claude-shim-which") == 0) {
        any_claude(prints);
        return seen > 0 && fflush(stdout) == 0 ? EXIT_SUCCESS : NO_CLAUDE;
    }

    const char *claude = find_claude();
    if (!something_is_to_do())
        become_claude(claude, argc, argv);

    const char *self = find_self();
    const char *problem = read_installation(&installation, self);
    if (!problem && installation.as_it_was && installation.library)
        load_python(&installation);
    if (!problem && !installation.as_it_was)
        problem = try_out(&installation);
    if (!problem) {
        become_python(&installation, self, claude, argc, argv);
        problem = text("%.1000s cannot be run: %s", installation.python, strerror(errno));
        if (errno == E2BIG) {
            problem = "there is no space left for arguments of ours";
            self = NULL;
        }
    }
    warn_that_claude_runs_as_asked(problem, self);
    become_claude(claude, argc, argv);
}

/* The real claude to use. Does not return where there is none, or where all came back to us. */
static const char *find_claude(void) {
    static char names[2048];
    size_t length = 0;

    read_chain();
    if (any_claude(is_untried))
        return chosen;
    if (!*tried) {
        warn("there is no claude to run, neither on PATH nor in the usual places: install it with"
             " `npm install -g @anthropic-ai/claude-code`, or name it in NSED_CLAUDE_BIN");
        exit(NO_CLAUDE);
    }
    for (const char *at = tried + 1; *at && length < sizeof names - sizeof " and "; at++)
        if (*at == ':')
            length += strlen(strcpy(names + length, " and "));
        else
            names[length++] = *at;
    warn("%s only came back to this launcher, and there is no other claude: name the real one in"
         " NSED_CLAUDE_BIN", names);
    exit(CANNOT_RUN);
}

/* Whether any real claude is wanted: what NSED_CLAUDE_BIN names, then PATH, then usual places. */
static bool any_claude(chooser *is_wanted) {
    const char *path = variable("PATH");
    const char *named = variable("NSED_CLAUDE_BIN");

    if (!path)
        path = "/bin:/usr/bin"; /* where execvp looks without PATH */
    if (named) {
        if (strchr(named, '/') ? any_at(named, is_wanted) : any_along(path, named, is_wanted))
            return true;
        if (seen == 0)
            warn("NSED_CLAUDE_BIN=%.1000s is no program to run as claude; looking along PATH",
                 named);
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
            continue; /* a path in the working directory is no usual place */
        int needed = snprintf(path, sizeof path, "%s%s/claude", in_home ? home : "",
                              places[i] + in_home);
        if ((size_t)needed < sizeof path && any_at(path, is_wanted))
            return true;
    }
    return false;
}

/* Whether an executable file that is no launcher of ours is there, and is wanted. */
static bool any_at(const char *path, chooser *is_wanted) {
    struct stat status;

    if (stat(path, &status) != 0 || !S_ISREG(status.st_mode) || access(path, X_OK) != 0 ||
        is_launcher(path))
        return false;
    seen++;
    return is_wanted(path);
}

/* Whether it is one of ours by its content: copies and links count too. */
static bool is_launcher(const char *path) {
    static char start[MARK_WITHIN];
    int file = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    if (file == -1)
        return false; /* a program may be executable and yet not readable */
    ssize_t length = read(file, start, sizeof start);
    close(file);
    return length > 0 && memmem(start, (size_t)length, MARK, strlen(MARK));
}

/* What was tried before in this very process; no claude gets to see that. */
static void read_chain(void) {
    const char *chain = variable(CHAIN);
    char ours[32];
    int length = snprintf(ours, sizeof ours, "%ld:", (long)getpid());

    if (chain && strncmp(chain, ours, (size_t)length) == 0)
        tried = chain + length - 1;
    forget(CHAIN);
}

/* Chooses the first that has not come back to us, and leaves a mark where we seem to go round. */
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
    /* Where that has no place, going on would be for ever. */
    int needed = snprintf(mark, sizeof mark, CHAIN "=%ld%s:%s", (long)getpid(), tried, path);
    return (size_t)needed < sizeof mark && putenv(mark) == 0;
}

/* Chooses none, and prints all. */
static bool prints(const char *path) {
    fwrite(path, strlen(path) + 1, 1, stdout);
    return false;
}

/* Whether there may be a room or an agent, and the shim is not switched off. */
static bool something_is_to_do(void) {
    const char *opencode = variable("OPENCODE");

    if (is_on("NSED_SHIM_DISABLE")) {
        explain("NSED_SHIM_DISABLE is set: claude is left alone");
        return false;
    }
    if (variable("NSED_ROOM_ID") || variable("NSED_SESSION_ID") || variable("NSED_AGENT_NAME") ||
        (opencode && strcmp(opencode, "1") == 0))
        return true;
    explain("neither a room nor an agent: claude is left alone");
    return false;
}

/* Our own path without links, or NULL. */
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

/* Reads the file beside us; returns what is wrong with it, or NULL. */
static const char *read_installation(struct installation *installation, const char *self) {
    static char path[PATH_MAX + sizeof "/.claude-shim"];
    struct stat status;
    struct rlimit memory;

    if (!self)
        return "the launcher cannot tell where it is";
    sprintf(path, "%.*s/.claude-shim", (int)(strrchr(self, '/') - self), self);
    int file = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (file == -1)
        return text("%.1000s: %s", path, strerror(errno));
    bool is_safe = fstat(file, &status) == 0 && nobody_else_writes(&status, self);
    ssize_t length = is_safe ? read(file, installation->text, sizeof installation->text) : 0;
    close(file);
    if (!is_safe)
        return text("%.1000s is no file that only you can write", path);
    if (length <= 0 || !understands(installation, (size_t)length))
        return text("%.1000s is not as `claude-shim install` writes it", path);
    if (access(installation->program, R_OK) != 0 ||
        (getrlimit(RLIMIT_AS, &memory) == 0 && memory.rlim_cur <= PLENTY_OF_MEMORY))
        installation->as_it_was = false;
    return NULL;
}

/* Whether it is a file that only the launcher's owner, root or the caller can write. */
static bool nobody_else_writes(const struct stat *file, const char *self) {
    struct stat launcher;

    return S_ISREG(file->st_mode) && (file->st_mode & (S_IWGRP | S_IWOTH)) == 0 &&
           (file->st_uid == 0 || file->st_uid == geteuid() ||
            (stat(self, &launcher) == 0 && file->st_uid == launcher.st_uid));
}

/* Whether it has the lines that `claude-shim install` writes. */
static bool understands(struct installation *installation, size_t length) {
    static const char form[] = "claude-shim 1\n";
    char *line = installation->text + strlen(form), *end;

    if (length == sizeof installation->text || strlen(installation->text) != length ||
        strncmp(installation->text, form, strlen(form)) != 0)
        return false;
    installation->as_it_was = true;
    for (int number = 0; (end = strchr(line, '\n')) != NULL; line = end + 1, number++) {
        *end = '\0';
        const char *key = number == 0 ? "python" : number == 1 ? "program" : "file";
        const char *path = path_in(line, key, &installation->as_it_was);
        if (!path)
            return false;
        if (number == 0)
            installation->python = path;
        else if (number == 1)
            installation->program = path;
        else if (is_compiled(path, installation->program))
            installation->compiled = path;
        else if (strncmp(strrchr(path, '/'), "/libpython", strlen("/libpython")) == 0)
            installation->library = path;
    }
    return installation->program && !*line;
}

/* Whether it is the path of a program with a `c` behind it. */
static bool is_compiled(const char *path, const char *program) {
    size_t length = strlen(program);

    return strncmp(path, program, length) == 0 && strcmp(path + length, "c") == 0;
}

/* The path in `KEY SIZE SECONDS PATH`, and whether the file is still so; NULL for another line. */
static const char *path_in(char *line, const char *key, bool *as_it_was) {
    char *at = line + strlen(key);
    struct stat file;

    if (strncmp(line, key, strlen(key)) != 0 || *at != ' ')
        return NULL;
    long long size = strtoll(at, &at, 10);
    long long seconds = strtoll(at, &at, 10);
    if (at[0] != ' ' || at[1] != '/')
        return NULL;
    if (stat(at + 1, &file) != 0 || file.st_size != size || file.st_mtime != seconds)
        *as_it_was = false;
    return at + 1;
}

/* Loads Python where it is a library; one that cannot be loaded is not as it was. */
static void load_python(struct installation *installation) {
    void *python = dlopen(installation->library, RTLD_LAZY | RTLD_GLOBAL);

    if (python)
        *(void **)&installation->run = dlsym(python, "Py_BytesMain");
    if (!installation->run)
        installation->as_it_was = false;
}

/* Starts Python once, to no effect; returns what is wrong with it, or NULL. Where that cannot be
 * done, Python is believed to start. */
static const char *try_out(const struct installation *installation) {
    struct sigaction usual = {.sa_handler = SIG_DFL}, ignored = {.sa_handler = SIG_IGN}, before;
    int status = 0;

    explain("%s may not be as it was: trying it out", installation->python);
    sigaction(SIGCHLD, &usual, &before); /* where it is ignored, no status is left */
    pid_t child = fork();
    if (child == 0)
        become_python_to_try(installation);
    while (child != -1 && waitpid(child, &status, 0) == -1 && errno == EINTR)
        ;
    sigaction(SIGCHLD, &ignored, NULL); /* none is left pending for claude */
    sigaction(SIGCHLD, &before, NULL);
    if (child == -1 || (WIFEXITED(status) && WEXITSTATUS(status) == READY))
        return NULL;
    return text("%.1000s does not start", installation->python);
}

static _Noreturn void become_python_to_try(const struct installation *installation) {
    char *words[] = {(char *)installation->python, "-IS", "-Xutf8",
                     (char *)installation->program, "ready?", NULL};
    struct sigaction usual = {.sa_handler = SIG_DFL};
    sigset_t none;
    int nowhere = open("/dev/null", O_RDWR);

    for (int number = STDIN_FILENO; number <= STDERR_FILENO; number++)
        dup2(nowhere, number);
    /* The alarm ends it, whatever the caller ignores or blocks. */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    sigaction(SIGALRM, &usual, NULL);
    alarm(PATIENCE_SECONDS);
    execv(installation->python, words);
    _exit(CANNOT_RUN);
}

/* Becomes Python with the claude that was found; returns with errno where it cannot. */
static void become_python(const struct installation *installation, const char *self,
                          const char *claude, int argc, char **argv) {
    char signals[3], *end = signals;
    char **lc_ctype = entry("LC_CTYPE");
    bool is_trusted = installation->as_it_was && installation->compiled;
    const char *program = is_trusted ? installation->compiled : installation->program;
    const char *handed[] = {installation->python, "-IS", "-Xutf8", program, self, signals,
                            lc_ctype ? *lc_ctype : "", claude};
    size_t count = sizeof handed / sizeof *handed;
    const char **words = malloc((count + (size_t)argc + 1) * sizeof *words);

    if (!words)
        return;
    if (is_ignored(SIGPIPE))
        *end++ = 'P';
    if (is_ignored(SIGXFSZ))
        *end++ = 'X';
    *end = '\0';
    memcpy(words, handed, sizeof handed);
    memcpy(words + count, argv, ((size_t)argc + 1) * sizeof *words);
    explain("running %s", installation->python);
    if (installation->run)
        exit(installation->run((int)count + argc, (char **)words));
    execv(installation->python, (char *const *)words);
    int problem = errno;
    free(words);
    errno = problem;
}

static _Noreturn void become_claude(const char *path, int argc, char **argv) {
    explain("running %s as asked", path);
    execv(path, argv);
    if (errno == ENOEXEC && begins_like_script(path)) {
        /* A script without a first line: run as shells and execvp would. */
        const char **words = calloc((size_t)argc + 3, sizeof *words);
        if (words) {
            words[0] = "sh";
            words[1] = path;
            for (int i = 1; i < argc; i++)
                words[i + 1] = argv[i];
            execv("/bin/sh", (char *const *)words);
        }
    }
    warn("%.1000s cannot be run: %s", path, strerror(errno));
    exit(CANNOT_RUN);
}

/* Whether a file that the system refuses to execute is text that begins as shell scripts do. An
 * interrupted update leaves an empty file or half a program, a proxy a page of HTML: a shell would
 * run each of them, and succeed with the first. The same rule is in shim/call/becoming.py. */
static bool begins_like_script(const char *path) {
    char start[256] = "";
    int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ssize_t length = file < 0 ? 0 : read(file, start, sizeof start - 1);
    bool is_script = false;

    close(file);
    if (length > 0 && strlen(start) == (size_t)length) {
        const char *word = start + strspn(start, " \t\r\n");
        const char *end = word + strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
        is_script = *word && (strchr("#:./\"$", *word) || (*word >= 'a' && *word <= 'z') ||
                              (*word > '9' && end > word && *end == '='));
    }
    errno = ENOEXEC;
    return is_script;
}

/* Becomes the claude that Python was handed, once CPython's changes are undone. */
static _Noreturn void become_claude_after_python(int argc, char **argv) {
    const char *problem = argv[1], *signals = argv[2];
    char *lc_ctype = argv[3], **changed = entry("LC_CTYPE");

    set_ignored(SIGPIPE, strchr(signals, 'P') != NULL);
    set_ignored(SIGXFSZ, strchr(signals, 'X') != NULL);
    if (!*lc_ctype)
        forget("LC_CTYPE");
    else if (changed)
        *changed = lc_ctype;
    warn_that_claude_runs_as_asked(problem, find_self());
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

/* A variable's value; empty means unset. */
static const char *variable(const char *name) {
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

/* Whether a variable switches something on: anything but empty and `0` does. */
static bool is_on(const char *name) {
    const char *value = variable(name);

    return value && strcmp(value, "0") != 0;
}

/* Where the first entry of a variable is in the environment, or NULL. */
static char **entry(const char *name) {
    size_t length = strlen(name);

    for (char **at = environ; at && *at; at++)
        if (strncmp(*at, name, length) == 0 && (*at)[length] == '=')
            return at;
    return NULL;
}

/* Takes every entry of a variable out of the environment. */
static void forget(const char *name) {
    for (char **at; (at = entry(name)) != NULL;)
        do
            at[0] = at[1];
        while (*at++);
}

/* `self` is NULL where another installation would change nothing. */
static void warn_that_claude_runs_as_asked(const char *problem, const char *self) {
    warn("running claude without session management: %.1500s%s%.1000s", problem,
         self ? "; to fix it, install claude-shim again and run `claude-shim install`,"
                " or delete " : "", self ? self : "");
}

/* A text, until the next one. */
static const char *text(const char *format, ...) {
    static char written[1500];
    va_list values;

    va_start(values, format);
    vsnprintf(written, sizeof written, format, values);
    va_end(values);
    return written;
}

/* Writes one line to stderr, if there is one, and never fails. */
static void warn(const char *format, ...) {
    va_list values;

    va_start(values, format);
    say("claude-shim: ", format, values);
    va_end(values);
}

/* Writes one line on a decision where NSED_SHIM_DEBUG asks for it. */
static void explain(const char *format, ...) {
    va_list values;

    if (!is_on("NSED_SHIM_DEBUG"))
        return;
    va_start(values, format);
    say("claude-shim: debug: ", format, values);
    va_end(values);
}

static void say(const char *start, const char *format, va_list values) {
    char line[4000];
    size_t length = strlen(strcpy(line, start));
    struct sigaction ignored = {.sa_handler = SIG_IGN}, pipe_action, size_action;

    vsnprintf(line + length, sizeof line - length - 1, format, values);
    make_one_line(line);
    leave_out_what_callers_search_for(line + length);
    length = strlen(line);
    line[length++] = '\n';
    /* Nobody may listen any more, and the file may be as long as it may get. */
    sigaction(SIGPIPE, &ignored, &pipe_action);
    sigaction(SIGXFSZ, &ignored, &size_action);
    ssize_t written = write(STDERR_FILENO, line, length);
    (void)written;
    sigaction(SIGPIPE, &pipe_action, NULL);
    sigaction(SIGXFSZ, &size_action, NULL);
}

/* Names can hold line ends, of Unicode's too (U+0085, U+2028, U+2029 in UTF-8). */
static void make_one_line(char *line) {
    static const char *const ends[] = {"\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"};

    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        for (char *at; (at = strstr(line, ends[i])) != NULL;)
            memset(at, ' ', strlen(ends[i]));
    for (; *line; line++)
        if ((unsigned char)*line < ' ' || *line == 0x7f)
            *line = ' ';
}

/* Callers search stderr for what claude and its servers say, and act on it (help developing,
 * "Warnings"); names, paths and the system's own words may hold it. */
static void leave_out_what_callers_search_for(char *line) {
    static const char *const searched[] = {
        "session id", "already in use", "not found",     "invalid",     "no conversation",
        "rate limit", "overloaded",     "limit reached", "usage limit", "quota",
        "429",        "wait ",          "retry in ",
    };

    for (size_t i = 0; i < sizeof searched / sizeof *searched; i++)
        for (char *at; (at = strcasestr(line, searched[i])) != NULL;)
            memset(at, '.', strlen(searched[i]));
}
