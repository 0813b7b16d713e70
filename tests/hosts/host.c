/* SPDX-License-Identifier: MIT
 * Programs as a library meets them, one kind a run: `host KIND URL PLACEMENT STAGE`. Each opens a handle,
 * uses it, gets the signals that programs get, frees it, and compares what it has then with what it had
 * before. The exit status is 0 when nothing was wrong. */
#include "host.h"
#include <pthread.h>

typedef struct settings {
    const char *url, *placement, *stage;
} settings;

static volatile sig_atomic_t counted[65]; /* by signal */
static volatile sig_atomic_t reaped[16], reaped_status[16], reaped_count;

static void count(int number) { counted[number]++; }

static void install(int number, void (*handler)(int)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    sigaction(number, &action, NULL); /* without SA_RESTART: the library must bear EINTR */
}

/* The signals of a terminal go to the whole group of the program. */
static void get_signals(wsxdp *handle) {
    size_t i;
    for (i = 0; i < sizeof host_signals / sizeof *host_signals; i++) {
        const int number = host_signals[i], before = counted[number];
        install(number, count);
        kill(getpid(), number);
        kill(0, number);
        if (handle != NULL) host_use(handle, 10);
        if (counted[number] < before + 1) HOST_WRONG("signal %d did not arrive", number);
    }
}

/* A child that ends with that status after so long; it keeps all that it inherits, and outlives what its
 * group is sent. */
static pid_t child_of(int ms, int status) {
    size_t i;
    pid_t pid;
    for (i = 0; i < sizeof host_signals / sizeof *host_signals; i++) install(host_signals[i], count);
    pid = fork();
    if (pid != 0) return pid;
    {
        const int64_t end = host_now_ms() + ms;
        struct timespec pause = {0, 5000000};
        while (host_now_ms() < end) nanosleep(&pause, NULL);
    }
    if (ms == 0) exit(status); /* as a program does, with all that is registered for its end */
    _exit(status);
}

static void expect_child(pid_t pid, int status) {
    int how = 0;
    pid_t got;
    do got = waitpid(pid, &how, 0);
    while (got < 0 && errno == EINTR);
    if (got != pid)
        HOST_WRONG("a child of the program was reaped by another");
    else if (!WIFEXITED(how) || WEXITSTATUS(how) != status)
        HOST_WRONG("a child's status is %x, not %d", how, status);
}

/* ---- eight threads that allocate, lock and print all the time ---- */

static pthread_mutex_t contended = PTHREAD_MUTEX_INITIALIZER;
static volatile int crowd_stops;
static FILE *crowd_file;

static void *crowd_member(void *context) {
    unsigned seed = (unsigned)(size_t)context;
    while (!__atomic_load_n(&crowd_stops, __ATOMIC_RELAXED)) {
        void *memory[16];
        int i;
        struct timespec pause = {0, 200000};
        for (i = 0; i < 16; i++) {
            memory[i] = malloc((size_t)rand_r(&seed) % 20000 + 1);
            if (memory[i] != NULL) memset(memory[i], i, 1);
        }
        pthread_mutex_lock(&contended);
        fprintf(crowd_file, "%u\n", seed);
        for (i = 0; i < 16; i += 2) free(memory[i]);
        pthread_mutex_unlock(&contended);
        for (i = 1; i < 16; i += 2) free(memory[i]);
        nanosleep(&pause, NULL); /* two cores may be all there is */
    }
    return NULL;
}

static void crowd(const settings *s) {
    pthread_t members[8];
    host_view before, after;
    size_t i;
    crowd_file = fopen("/dev/null", "we");
    for (i = 0; i < 8; i++) pthread_create(&members[i], NULL, crowd_member, (void *)(i + 1));
    before = host_look();
    for (i = 0; i < 200 && host_problems == 0; i++)
        wsxdp_free(host_open_and_use(s->url, s->placement, s->stage, 3));
    after = host_look();
    host_compare(before, after);
    __atomic_store_n(&crowd_stops, 1, __ATOMIC_RELAXED);
    for (i = 0; i < 8; i++) pthread_join(members[i], NULL);
    fclose(crowd_file);
}

/* ---- one that forks while a handle is open ---- */

static wsxdp *fork_while_open(const settings *s) {
    wsxdp *handle = host_open_and_use(s->url, s->placement, s->stage, 20);
    if (handle == NULL) return NULL;
    expect_child(child_of(0, 3), 3);
    host_use(handle, 20);
    get_signals(handle);
    child_of(2000, 0); /* lives on when we are gone */
    host_use(handle, 20);
    return handle;
}

static void forks(const settings *s) {
    const host_view before = host_look();
    host_view after;
    wsxdp_free(fork_while_open(s));
    after = host_look();
    after.children--;
    host_compare(before, after);
}

static void forks_and_exits(const settings *s) { (void)fork_while_open(s); }

static void ready(wsxdp *handle) {
    wsxdp_event event;
    puts("ready");
    fflush(stdout);
    while (handle != NULL && wsxdp_poll(handle, &event, 1, -1) >= 0) {
    }
}

static void forks_and_waits(const settings *s) { ready(fork_while_open(s)); }

static void waits(const settings *s) { ready(host_open_and_use(s->url, s->placement, s->stage, 20)); }

/* ---- hosts with children, and ways to deal with them ---- */

/* Part of the sentence about a helper's death where the program took its exit status. */
static const char *const taken = "took its exit status";

static void use_all(const settings *s, const char *part, const char *other) {
    wsxdp *handle = host_open_and_use(s->url, s->placement, s->stage, 20);
    if (handle == NULL) return;
    get_signals(handle);
    host_lose_helper(handle, SIGKILL, part, other);
    wsxdp_free(handle);
}

/* A program in the helper's place that ends at once is refused, with a sentence that names it. */
static void start_in_vain(const settings *s) {
    int i;
    for (i = 0; i < 20; i++) {
        wsxdp *handle = NULL;
        wsxdp_error error;
        wsxdp_config *config = wsxdp_config_new();
        memset(&error, 0, sizeof error);
        error.struct_size = sizeof error;
        wsxdp_config_set(config, "placement", "processes: transport+ws");
        wsxdp_config_set(config, "stage.path", "/bin/false");
        if (wsxdp_open(s->url, config, &handle, &error) != WSXDP_E_STAGE_START)
            HOST_WRONG("/bin/false as helper: %d %s", error.code, error.text);
        else if (strstr(error.text, "/bin/false") == NULL || strstr(error.text, "ESRCH") != NULL)
            HOST_WRONG("/bin/false as helper: '%s'", error.text);
        wsxdp_free(handle);
        wsxdp_config_free(config);
    }
}

static void parent(const settings *s) {
    const host_view before = host_look();
    pid_t early = child_of(1, 4), late = child_of(300, 5);
    use_all(s, "SIGKILL", "SIGKILL");
    start_in_vain(s);
    expect_child(early, 4);
    expect_child(late, 5);
    host_compare(before, host_look());
    if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD) HOST_WRONG("a child is left");
}

static void ignores(const settings *s) {
    const host_view before = host_look();
    signal(SIGCHLD, SIG_IGN);
    use_all(s, taken, taken);
    start_in_vain(s);
    if (signal(SIGCHLD, SIG_DFL) != SIG_IGN) HOST_WRONG("SIGCHLD is not ignored any more");
    host_compare(before, host_look());
}

static void reap_all(int number) {
    const int before = errno;
    int how = 0;
    pid_t pid;
    (void)number;
    while ((pid = waitpid(-1, &how, WNOHANG)) > 0) {
        const int at = reaped_count++ & 15;
        reaped[at] = pid;
        reaped_status[at] = how;
    }
    errno = before;
}

static void reaps(const settings *s) {
    const host_view before = host_look();
    struct timespec pause = {0, 5000000};
    int64_t end;
    int own = 0, i;
    pid_t child;
    install(SIGCHLD, reap_all);
    use_all(s, taken, "SIGKILL"); /* who is first is not said */
    reaped_count = 0;
    child = child_of(1, 6);
    for (end = host_now_ms() + 5000; !own && host_now_ms() < end; nanosleep(&pause, NULL))
        for (i = 0; i < 16; i++)
            own |= reaped[i] == child && WIFEXITED(reaped_status[i]) && WEXITSTATUS(reaped_status[i]) == 6;
    if (!own) HOST_WRONG("the program's own child was reaped by another");
    start_in_vain(s);
    host_compare(before, host_look());
}

/* PID 1 of a namespace: who loses its parent becomes ours. */
static void first(const settings *s) {
    host_view before;
    pid_t child, orphan;
    int tell[2];
    if (getpid() != 1) HOST_WRONG("this is process %d", (int)getpid());
    if (pipe(tell) != 0) return;
    child = fork();
    if (child == 0) {
        orphan = child_of(1500, 8);
        if (write(tell[1], &orphan, sizeof orphan) < 0) _exit(1);
        _exit(0);
    }
    if (read(tell[0], &orphan, sizeof orphan) < 0) return;
    close(tell[0]);
    close(tell[1]);
    expect_child(child, 0);
    before = host_look();
    if (before.children != 1) HOST_WRONG("%d children, not the orphan alone", before.children);
    use_all(s, "SIGKILL", "SIGKILL");
    host_compare(before, host_look());
    expect_child(orphan, 8);
    if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD) HOST_WRONG("a child is left");
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(const settings *);
    } kinds[] = {{"crowd", crowd},
                 {"forks", forks},
                 {"forks-and-exits", forks_and_exits},
                 {"forks-and-waits", forks_and_waits},
                 {"waits", waits},
                 {"parent", parent},
                 {"ignores", ignores},
                 {"reaps", reaps},
                 {"first", first}};
    settings s;
    size_t i;
    if (argc != 5) return 2;
    s.url = argv[2];
    s.placement = argv[3];
    s.stage = argv[4];
    setpgid(0, 0); /* the signals to our group are ours alone */
    for (i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(argv[1], kinds[i].name) != 0) continue;
        kinds[i].run(&s);
        return host_wrong_so_far() != 0;
    }
    return 2;
}
