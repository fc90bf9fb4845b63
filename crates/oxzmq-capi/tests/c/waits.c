/* Waiting: zmq_poll, the descriptor of a socket, timers, what monitors refuse; and options of sockets and contexts by
   their sizes. Prints the same lines on libzmq and on oxzmq. */
#include <zmq.h>
#include <assert.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void *context;

static void *new_socket (int type)
{
    void *socket = zmq_socket (context, type);
    int linger = 0;
    assert (socket && zmq_setsockopt (socket, ZMQ_LINGER, &linger, sizeof linger) == 0);
    return socket;
}

static void join (void *one, void *other)
{
    static char endpoint[32];
    static int count;
    snprintf (endpoint, sizeof endpoint, "inproc://waits-%d", count++);
    assert (zmq_bind (one, endpoint) == 0 && zmq_connect (other, endpoint) == 0);
}

static void answer (const char *what, long result)
{
    printf ("  %s: %ld", what, result);
    if (result < 0)
        printf (", %s", zmq_strerror (zmq_errno ()));
    printf ("\n");
}

static long milliseconds (void)
{
    struct timespec now;
    clock_gettime (CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void show (const char *what, zmq_pollitem_t *items, int count, long timeout)
{
    answer (what, zmq_poll (items, count, timeout));
    for (int i = 0; i < count; i++)
        printf (" %d", items[i].revents);
    printf ("\n");
}

static void polling (void)
{
    void *pull = new_socket (ZMQ_PULL), *push = new_socket (ZMQ_PUSH);
    int pipes[2];
    assert (pipe (pipes) == 0);
    join (pull, push);
    printf ("polling\n");
    zmq_pollitem_t none = {NULL, -1, ZMQ_POLLIN, 7}, quiet = {pull, 0, 0, 7}, all = {pull, 0, 15, 7};
    zmq_pollitem_t out = {push, 0, 15, 7}, reading = {NULL, pipes[0], ZMQ_POLLIN, 7}, writing = {NULL, pipes[1], ZMQ_POLLOUT, 7};
    answer ("nothing", zmq_poll (NULL, 0, 0));
    show ("no descriptor", &none, 1, 0);
    show ("asked for nothing", &quiet, 1, 0);
    show ("nothing to receive", &all, 1, 0);
    show ("to send", &out, 1, 0);
    zmq_send (push, "x", 1, 0);
    zmq_pollitem_t several[] = {{pull, 0, ZMQ_POLLIN, 0}, {pull, 0, ZMQ_POLLIN | ZMQ_POLLOUT, 0}, {push, 0, ZMQ_POLLIN, 0}, {push, 0, ZMQ_POLLOUT, 0}};
    show ("each by itself", several, 4, 1000);
    show ("a pipe to read", &reading, 1, 0);
    show ("a pipe to write", &writing, 1, 0);
    assert (write (pipes[1], "x", 1) == 1);
    zmq_pollitem_t both = {pull, pipes[0], ZMQ_POLLOUT, 7};
    show ("a pipe to read", &reading, 1, 0);
    show ("the socket counts", &both, 1, 0);
    char room;
    assert (read (pipes[0], &room, 1) == 1);
    close (pipes[1]);
    show ("a pipe that has ended", &reading, 1, 0);
    close (pipes[0]);
    zmq_pollitem_t wrong = {NULL, 999, ZMQ_POLLIN, 7};
    show ("no such descriptor", &wrong, 1, 0);
    long before = milliseconds ();
    zmq_pollitem_t idle = {push, 0, ZMQ_POLLIN, 7};
    show ("in time", &idle, 1, 40);
    answer ("nothing, in time", zmq_poll (NULL, 0, 40));
    printf ("  %s\n", milliseconds () - before >= 78 ? "waited" : "too early");
    zmq_close (push);
    answer ("one that is closed", zmq_poll (&idle, 1, 0));
    zmq_close (pull);
}

static int readable (int fd)
{
    struct pollfd item = {fd, POLLIN, 0};
    return poll (&item, 1, 100);
}

static int events (void *socket)
{
    int events = -1;
    size_t size = sizeof events;
    zmq_getsockopt (socket, ZMQ_EVENTS, &events, &size);
    return events;
}

static void a_descriptor_of_a_socket (void)
{
    void *one = new_socket (ZMQ_DEALER), *other = new_socket (ZMQ_DEALER);
    int fd = -1, again = -1;
    size_t size = sizeof fd;
    char room[8];
    join (one, other);
    printf ("a descriptor\n");
    zmq_getsockopt (one, ZMQ_FD, &fd, &size);
    zmq_getsockopt (one, ZMQ_FD, &again, &size);
    printf ("  %s\n", fd == again ? "one" : "two");
    events (one);
    printf ("  nothing: %d\n", readable (fd));
    zmq_send (other, "1", 1, 0);
    printf ("  a message: %d\n", readable (fd));
    printf ("  asked: %d, then %d\n", events (one), readable (fd));
    answer ("received", zmq_recv (one, room, sizeof room, ZMQ_DONTWAIT));
    printf ("  asked: %d\n", events (one));
    zmq_send (other, "2", 1, 0);
    printf ("  another: %d\n", readable (fd));
    answer ("sent", zmq_send (one, "out", 3, 0));
    printf ("  asked: %d\n", events (one));
    answer ("received", zmq_recv (one, room, sizeof room, ZMQ_DONTWAIT));
    answer ("received", zmq_recv (one, room, sizeof room, ZMQ_DONTWAIT));
    zmq_send (other, "3", 1, 0);
    printf ("  after one in vain: %d\n", readable (fd));
    zmq_close (one);
    zmq_close (other);
}

static int called;
static void call (int timer, void *argument)
{
    (void) argument;
    called = called * 10 + timer;
}

static void timers (void)
{
    void *timers = zmq_timers_new ();
    printf ("timers\n");
    answer ("none", zmq_timers_timeout (timers));
    answer ("none due", zmq_timers_execute (timers));
    answer ("almost at once", zmq_timers_add (timers, 1, call, NULL)); /* with 0 libzmq never returns from executing it */
    usleep (5000);
    answer ("its time", zmq_timers_timeout (timers));
    answer ("executed", zmq_timers_execute (timers));
    answer ("far away", zmq_timers_add (timers, 100000, call, NULL));
    answer ("cancelled", zmq_timers_cancel (timers, 1));
    answer ("cancelled twice", zmq_timers_cancel (timers, 1));
    answer ("nearer", zmq_timers_set_interval (timers, 2, 20));
    printf ("  %s\n", zmq_timers_timeout (timers) <= 20 ? "soon" : "late");
    answer ("reset", zmq_timers_reset (timers, 2));
    answer ("no such timer", zmq_timers_reset (timers, 9));
    answer ("no such timer", zmq_timers_set_interval (timers, 9, 1));
    answer ("no such timer", zmq_timers_cancel (timers, 9));
    usleep (30000);
    answer ("over", zmq_timers_timeout (timers));
    answer ("executed", zmq_timers_execute (timers));
    printf ("  called %d, again %s\n", called, zmq_timers_timeout (timers) > 10 ? "later" : "at once");
    answer ("nothing to call", zmq_timers_add (timers, 1, NULL, NULL));
    answer ("ended", zmq_timers_destroy (&timers));
    answer ("ended twice", zmq_timers_destroy (&timers));
    answer ("no timers", zmq_timers_execute (NULL));
    answer ("no timers", zmq_timers_timeout (NULL));
}

static void watching (void)
{
    void *socket = new_socket (ZMQ_PULL), *taken = new_socket (ZMQ_PAIR);
    printf ("monitors\n");
    answer ("one", zmq_socket_monitor (socket, "inproc://one", ZMQ_EVENT_LISTENING)); /* libzmq waits for a reader of each event */
    answer ("another transport", zmq_socket_monitor (socket, "tcp://127.0.0.1:5", 1));
    answer ("no address", zmq_socket_monitor (socket, "inproc", 1));
    answer ("no events", zmq_socket_monitor (socket, "inproc://two", 0));
    answer ("stopped", zmq_socket_monitor (socket, NULL, 0));
    answer ("stopped twice", zmq_socket_monitor (socket, NULL, 0));
    assert (zmq_bind (taken, "inproc://taken") == 0);
    answer ("a name that is taken", zmq_socket_monitor (socket, "inproc://taken", 1));
    zmq_close (taken);
    zmq_close (socket);
    answer ("one that is closed", zmq_socket_monitor (socket, "inproc://three", 1));
}

/* How an option is set with this many octets of a number, or of a text. */
static void sizes (int type, int option)
{
    static const size_t lengths[] = {0, 3, 4, 8, 16, 17, 32, 33, 40, 41, 255, 256};
    void *socket = new_socket (type);
    int64_t number[40] = {1};
    char text[256], room[300];
    printf ("  type %d, option %d:", type, option);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        printf (" %d", zmq_setsockopt (socket, option, i < 4 ? (void *) number : memset (text, 'k', 256), lengths[i]));
    printf (", by nothing %d, read", zmq_setsockopt (socket, option, NULL, 0));
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t size = lengths[i] ? lengths[i] : sizeof room;
        printf (" %d", zmq_getsockopt (socket, option, room, &size));
        if (i == 0)
            printf (" (%zu)", size);
    }
    printf ("\n");
    zmq_close (socket);
}

static void rooms_and_sizes (void)
{
    static const int types[] = {ZMQ_PUSH, ZMQ_SUB, ZMQ_XPUB, ZMQ_XSUB, ZMQ_REQ, ZMQ_REP, ZMQ_ROUTER, ZMQ_STREAM};
    printf ("sizes of options\n");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        for (int option = 0; option <= 92; option++)
            /* What differs: the descriptor, GSSAPI, which not every build has, ids of any length, and USE_FD. */
            if (option != ZMQ_FD && option != ZMQ_CONNECT_ROUTING_ID && option != ZMQ_USE_FD && (option < 62 || option > 65)
                && option != 90 && option != 91)
                sizes (types[i], option);
}

static void options_of_contexts (void)
{
    void *own = zmq_ctx_new ();
    printf ("options of contexts\n");
    for (int option = 0; option <= 72; option++) {
        printf ("  %d: %d, set", option, zmq_ctx_get (own, option));
        for (int value = -1; value <= 2; value++)
            printf (" %d", zmq_ctx_set (own, option, value));
        printf (", %d\n", zmq_ctx_get (own, option));
    }
    zmq_ctx_term (own);
    own = zmq_ctx_new ();
    for (int on = 1; on >= 0; on--) {
        int linger = -2, ipv6 = -2;
        size_t size = sizeof linger;
        zmq_ctx_set (own, ZMQ_BLOCKY, !on);
        zmq_ctx_set (own, ZMQ_IPV6, on);
        void *socket = zmq_socket (own, ZMQ_PUSH);
        zmq_getsockopt (socket, ZMQ_LINGER, &linger, &size);
        zmq_getsockopt (socket, ZMQ_IPV6, &ipv6, &size);
        printf ("  a new socket: linger %d, ipv6 %d\n", linger, ipv6);
        zmq_close (socket);
    }
    zmq_ctx_shutdown (own);
    answer ("after the end", zmq_ctx_set (own, ZMQ_BLOCKY, 1));
    answer ("after the end", zmq_ctx_get (own, ZMQ_BLOCKY));
    zmq_ctx_term (own);
    answer ("no context", zmq_ctx_get (NULL, ZMQ_BLOCKY));
    answer ("no context", zmq_ctx_set (NULL, ZMQ_BLOCKY, 1));
    answer ("no context", zmq_ctx_shutdown (NULL));
}

int main (void)
{
    setlinebuf (stdout);
    context = zmq_ctx_new ();
    polling ();
    a_descriptor_of_a_socket ();
    timers ();
    watching ();
    rooms_and_sizes ();
    options_of_contexts ();
    zmq_ctx_term (context);
    return 0;
}
