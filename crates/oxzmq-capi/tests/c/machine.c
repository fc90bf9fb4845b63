/* Signals in every blocking call, and forked processes. */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

static volatile sig_atomic_t signals;
static void count (int number)
{
    (void) number;
    signals++;
}

/* A signal each so many microseconds; none with 0. */
static void storm (int interval)
{
    struct itimerval timer = {{0, interval}, {0, interval}};
    assert (setitimer (ITIMER_REAL, &timer, NULL) == 0);
}

#define INTERRUPTED(call) \
    do { \
        int before = signals; \
        storm (20000); \
        int result = (call); \
        storm (0); \
        if (result != -1 || zmq_errno () != EINTR || signals == before) { \
            fprintf (stderr, "%s: %d, %s, %d signals\n", #call, result, zmq_strerror (zmq_errno ()), \
                     (int) signals - before); \
            abort (); \
        } \
    } while (0)

static void bind_any (void *socket, const char *where, char *endpoint)
{
    size_t size = 256;
    assert (zmq_bind (socket, where) == 0);
    assert (zmq_getsockopt (socket, ZMQ_LAST_ENDPOINT, endpoint, &size) == 0);
}

static void each_blocking_call_is_interrupted (void)
{
    void *context = zmq_ctx_new ();
    void *pull = zmq_socket (context, ZMQ_PULL), *push = zmq_socket (context, ZMQ_PUSH);
    void *one = zmq_socket (context, ZMQ_DEALER), *other = zmq_socket (context, ZMQ_ROUTER);
    char room[8], endpoint[256];
    zmq_msg_t message;
    zmq_msg_init (&message);
    zmq_pollitem_t item = {pull, 0, ZMQ_POLLIN, 0};
    void *poller = zmq_poller_new ();
    zmq_poller_event_t event;
    assert (zmq_poller_add (poller, pull, NULL, ZMQ_POLLIN) == 0);
    for (int network = 0; network < 2; network++) {
        INTERRUPTED (zmq_recv (pull, room, sizeof room, 0));
        INTERRUPTED (zmq_msg_recv (&message, pull, 0));
        INTERRUPTED (zmq_send (push, "x", 1, 0));
        INTERRUPTED (zmq_poll (&item, 1, -1));
        INTERRUPTED (zmq_poller_wait (poller, &event, -1));
        INTERRUPTED (zmq_proxy (one, other, NULL));
        bind_any (pull, "tcp://127.0.0.1:*", endpoint);
    }
    zmq_poller_destroy (&poller);
    /* What is still to be delivered holds up the end, which takes its time once more. */
    void *late = zmq_socket (context, ZMQ_PUSH);
    assert (zmq_connect (late, endpoint) == 0);
    zmq_close (pull);
    for (int n = 0; n < 3; n++)
        assert (zmq_send (late, "unsent", 6, 0) == 6);
    zmq_close (push);
    zmq_close (one);
    zmq_close (other);
    INTERRUPTED (zmq_ctx_term (context));
    INTERRUPTED (zmq_ctx_term (context));
    int linger = 0;
    assert (zmq_setsockopt (late, ZMQ_LINGER, &linger, sizeof linger) == -1 && zmq_errno () == ETERM);
    zmq_close (late);
    INTERRUPTED (zmq_ctx_term (context));
    /* Somebody who takes it lets it end. */
    void *taker_context = zmq_ctx_new (), *taker = zmq_socket (taker_context, ZMQ_PULL);
    assert (zmq_bind (taker, endpoint) == 0);
    for (int n = 0; n < 3; n++)
        assert (zmq_recv (taker, room, sizeof room, 0) == 6);
    assert (zmq_ctx_term (context) == 0);
    zmq_close (taker);
    assert (zmq_ctx_term (taker_context) == 0);
}

enum { MANY = 20000 };

static void *send_many (void *push)
{
    for (int n = 0; n < MANY; n++)
        while (zmq_send (push, &n, sizeof n, 0) == -1)
            assert (zmq_errno () == EINTR);
    return NULL;
}

static void a_storm_of_signals_loses_nothing (void)
{
    void *context = zmq_ctx_new ();
    void *pull = zmq_socket (context, ZMQ_PULL), *push = zmq_socket (context, ZMQ_PUSH);
    char endpoint[256];
    bind_any (pull, "tcp://127.0.0.1:*", endpoint);
    assert (zmq_connect (push, endpoint) == 0);
    pthread_t thread;
    storm (200);
    assert (pthread_create (&thread, NULL, send_many, push) == 0);
    for (int n = 0; n < MANY; n++) {
        int got, result;
        while ((result = zmq_recv (pull, &got, sizeof got, 0)) == -1)
            assert (zmq_errno () == EINTR);
        assert (result == sizeof got && got == n);
    }
    pthread_join (thread, NULL);
    storm (0);
    zmq_close (pull);
    zmq_close (push);
    assert (zmq_ctx_term (context) == 0);
}

static int child_status (pid_t child)
{
    int status = -1;
    assert (waitpid (child, &status, 0) == child);
    return status;
}

/* What the child does with what it has inherited, and on its own. */
static void be_the_child (void *context, void **sockets, int count, void *timers, void *poller)
{
    alarm (20); /* hanging is failing */
    signal (SIGALRM, SIG_DFL);
    char room[8];
    for (int i = 0; i < count; i++) {
        zmq_pollitem_t item = {sockets[i], 0, ZMQ_POLLIN, 0};
        assert (zmq_send (sockets[i], "child", 5, 0) == -1 && zmq_errno () == ENOTSOCK);
        assert (zmq_recv (sockets[i], room, sizeof room, 0) == -1 && zmq_errno () == ENOTSOCK);
        assert (zmq_bind (sockets[i], "tcp://127.0.0.1:*") == -1 && zmq_errno () == ENOTSOCK);
        assert (zmq_connect (sockets[i], "tcp://127.0.0.1:1") == -1 && zmq_errno () == ENOTSOCK);
        assert (zmq_poll (&item, 1, 0) == -1 && zmq_errno () == ENOTSOCK);
        assert (zmq_close (sockets[i]) == 0);
        assert (zmq_close (sockets[i]) == -1 && zmq_errno () == ENOTSOCK);
    }
    assert (zmq_socket (context, ZMQ_PULL) == NULL && zmq_errno () == EFAULT);
    assert (zmq_ctx_term (context) == 0);
    assert (zmq_ctx_term (context) == -1 && zmq_errno () == EFAULT);
    zmq_poller_event_t event;
    assert (zmq_poller_wait (poller, &event, 0) == -1 && zmq_errno () == EFAULT);
    assert (zmq_timers_timeout (timers) == -1 && zmq_timers_destroy (&timers) == 0);

    void *own = zmq_ctx_new (), *pull = zmq_socket (own, ZMQ_PULL), *push = zmq_socket (own, ZMQ_PUSH);
    char endpoint[256];
    bind_any (pull, "tcp://127.0.0.1:*", endpoint);
    assert (zmq_connect (push, endpoint) == 0);
    assert (zmq_send (push, "own", 3, 0) == 3);
    assert (zmq_recv (pull, room, sizeof room, 0) == 3);
    zmq_close (pull);
    zmq_close (push);
    assert (zmq_ctx_term (own) == 0);
    exit (0); /* with all that is done at exit */
}

static void a_forked_process_leaves_the_parent_alone (void)
{
    void *context = zmq_ctx_new ();
    void *sockets[6], *timers = zmq_timers_new (), *poller = zmq_poller_new ();
    const char *where[] = {"tcp://127.0.0.1:*", "ipc://*", "inproc://fork"};
    char endpoint[3][256], room[8];
    for (int i = 0; i < 3; i++) {
        sockets[i] = zmq_socket (context, ZMQ_PULL);
        sockets[i + 3] = zmq_socket (context, ZMQ_PUSH);
        bind_any (sockets[i], where[i], endpoint[i]);
        assert (zmq_connect (sockets[i + 3], endpoint[i]) == 0);
        assert (zmq_send (sockets[i + 3], "before", 6, 0) == 6);
        assert (zmq_recv (sockets[i], room, sizeof room, 0) == 6);
    }
    assert (zmq_poller_add (poller, sockets[0], NULL, ZMQ_POLLIN) == 0);
    for (int round = 0; round < 20; round++) {
        /* Unread and unsent things are the parent's, too. */
        for (int i = 0; i < 3; i++)
            assert (zmq_send (sockets[i + 3], "during", 6, 0) == 6);
        pid_t child = fork ();
        assert (child >= 0);
        if (child == 0)
            be_the_child (context, sockets, 6, timers, poller);
        assert (child_status (child) == 0);
        for (int i = 0; i < 3; i++) {
            assert (zmq_send (sockets[i + 3], "after", 5, 0) == 5);
            assert (zmq_recv (sockets[i], room, sizeof room, 0) == 6 && memcmp (room, "during", 6) == 0);
            assert (zmq_recv (sockets[i], room, sizeof room, 0) == 5 && memcmp (room, "after", 5) == 0);
        }
        assert (access (endpoint[1] + strlen ("ipc://"), F_OK) == 0);
    }
    zmq_poller_destroy (&poller);
    zmq_timers_destroy (&timers);
    for (int i = 0; i < 6; i++)
        assert (zmq_close (sockets[i]) == 0);
    assert (zmq_ctx_term (context) == 0);
}

static void *stop;
static void *make_sockets (void *context)
{
    while (!__atomic_load_n (&stop, __ATOMIC_SEQ_CST)) {
        void *socket = zmq_socket (context, ZMQ_PAIR);
        assert (socket);
        zmq_bind (socket, "inproc://made");
        zmq_close (socket);
    }
    return NULL;
}

/* While other threads make and close handles. */
static void forking_among_threads (void)
{
    void *context = zmq_ctx_new ();
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert (pthread_create (&threads[i], NULL, make_sockets, context) == 0);
    for (int round = 0; round < 100; round++) {
        pid_t child = fork ();
        assert (child >= 0);
        if (child == 0) {
            alarm (20);
            signal (SIGALRM, SIG_DFL);
            assert (zmq_ctx_term (context) == 0);
            void *own = zmq_ctx_new ();
            assert (own && zmq_ctx_set (own, ZMQ_MAX_SOCKETS, 5) == 0);
            assert (zmq_ctx_term (own) == 0);
            _exit (0);
        }
        assert (child_status (child) == 0);
    }
    __atomic_store_n (&stop, context, __ATOMIC_SEQ_CST);
    for (int i = 0; i < 2; i++)
        pthread_join (threads[i], NULL);
    assert (zmq_ctx_term (context) == 0);
}

int main (void)
{
    struct sigaction action;
    memset (&action, 0, sizeof action);
    action.sa_handler = count; /* and no SA_RESTART */
    sigaction (SIGALRM, &action, NULL);
    each_blocking_call_is_interrupted ();
    a_storm_of_signals_loses_nothing ();
    a_forked_process_leaves_the_parent_alone ();
    forking_among_threads ();
    return 0;
}
