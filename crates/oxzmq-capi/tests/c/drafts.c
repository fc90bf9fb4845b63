/* The parts of the draft API that no released libzmq has to be compared with: pollers, monitors of the second version,
   peers by number. */
#define _GNU_SOURCE
#undef NDEBUG
#include <zmq.h>
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *context;

#define FAILS(call, error)                                                                                             \
    do {                                                                                                               \
        errno = 0;                                                                                                     \
        assert ((call) == -1);                                                                                         \
        if (zmq_errno () != (error)) {                                                                                 \
            fprintf (stderr, "%s: %s\n", #call, zmq_strerror (zmq_errno ()));                                          \
            assert (0);                                                                                                \
        }                                                                                                              \
    } while (0)

static void *new_socket (int type)
{
    void *socket = zmq_socket (context, type);
    int linger = 0;
    assert (socket && zmq_setsockopt (socket, ZMQ_LINGER, &linger, sizeof linger) == 0);
    return socket;
}

static void is_nothing (zmq_poller_event_t *event)
{
    assert (event->socket == NULL && event->fd == -1 && event->user_data == NULL && event->events == 0);
}

static void pollers (void)
{
    void *poller = zmq_poller_new (), *none = NULL, *pull = new_socket (ZMQ_PULL), *push = new_socket (ZMQ_PUSH);
    void *server = new_socket (ZMQ_SERVER), *client = new_socket (ZMQ_CLIENT);
    zmq_poller_event_t events[4];
    int pipes[2], fd = -1, mark;
    assert (pipe (pipes) == 0);
    assert (zmq_bind (pull, "inproc://pull") == 0 && zmq_connect (push, "inproc://pull") == 0);
    assert (zmq_bind (server, "inproc://server") == 0 && zmq_connect (client, "inproc://server") == 0);

    FAILS (zmq_poller_size (NULL), EFAULT);
    FAILS (zmq_poller_add (NULL, pull, NULL, ZMQ_POLLIN), EFAULT);
    FAILS (zmq_poller_wait (NULL, events, 0), EFAULT);
    FAILS (zmq_poller_destroy (&none), EFAULT);
    FAILS (zmq_poller_destroy (NULL), EFAULT);

    /* Nothing to wait for: not for ever. */
    FAILS (zmq_poller_wait (poller, events, -1), EFAULT);
    FAILS (zmq_poller_wait (poller, events, 1), EAGAIN);
    is_nothing (events);

    FAILS (zmq_poller_add (poller, NULL, NULL, ZMQ_POLLIN), ENOTSOCK);
    FAILS (zmq_poller_add (poller, pull, NULL, 64), EINVAL);
    FAILS (zmq_poller_add_fd (poller, -1, NULL, ZMQ_POLLIN), EBADF);
    assert (zmq_poller_add (poller, pull, &mark, 0) == 0 && zmq_poller_size (poller) == 1);
    FAILS (zmq_poller_add (poller, pull, NULL, ZMQ_POLLIN), EINVAL);
    FAILS (zmq_poller_wait (poller, events, -1), EFAULT);
    FAILS (zmq_poller_modify (poller, push, ZMQ_POLLIN), EINVAL);
    FAILS (zmq_poller_remove (poller, push), EINVAL);
    FAILS (zmq_poller_remove (poller, NULL), ENOTSOCK);
    FAILS (zmq_poller_modify (poller, NULL, ZMQ_POLLIN), ENOTSOCK);
    FAILS (zmq_poller_modify_fd (poller, pipes[0], ZMQ_POLLIN), EINVAL);
    FAILS (zmq_poller_remove_fd (poller, pipes[0]), EINVAL);
    FAILS (zmq_poller_fd (poller, &fd), EINVAL);
    assert (zmq_poller_modify (poller, pull, ZMQ_POLLIN) == 0);
    assert (zmq_poller_add_fd (poller, pipes[0], &fd, ZMQ_POLLIN) == 0);
    FAILS (zmq_poller_add_fd (poller, pipes[0], NULL, ZMQ_POLLIN), EINVAL);
    assert (zmq_poller_add (poller, push, NULL, ZMQ_POLLIN | ZMQ_POLLOUT) == 0 && zmq_poller_size (poller) == 3);

    /* In the order of adding, with what was given; the rest is empty. */
    assert (zmq_send (push, "x", 1, 0) == 1 && write (pipes[1], "x", 1) == 1);
    assert (zmq_poller_wait_all (poller, events, 4, -1) == 3);
    assert (events[0].socket == pull && events[0].fd == -1 && events[0].user_data == &mark && events[0].events == ZMQ_POLLIN);
    assert (events[1].socket == NULL && events[1].fd == pipes[0] && events[1].user_data == &fd);
    assert (events[2].socket == push && events[2].events == ZMQ_POLLOUT);
    is_nothing (&events[3]);
    assert (zmq_poller_wait_all (poller, events, 1, -1) == 1 && events[0].socket == pull);
    assert (zmq_poller_wait (poller, events, -1) == 0 && events[0].socket == pull);
    FAILS (zmq_poller_wait_all (poller, events, 0, 0), EAGAIN);
    FAILS (zmq_poller_wait_all (poller, events, -1, 0), EINVAL);
    FAILS (zmq_poller_wait_all (poller, NULL, 1, 0), EFAULT);
    FAILS (zmq_poller_wait (poller, NULL, 0), EFAULT);
    assert (zmq_poller_remove (poller, push) == 0 && zmq_poller_remove_fd (poller, pipes[0]) == 0);
    assert (zmq_recv (pull, &mark, 1, 0) == 1);
    FAILS (zmq_poller_wait_all (poller, events, 4, 1), EAGAIN);
    is_nothing (events);

    /* A descriptor, once there is a member of a thread-safe type. */
    assert (zmq_poller_add (poller, server, NULL, ZMQ_POLLIN) == 0 && zmq_poller_fd (poller, &fd) == 0);
    FAILS (zmq_poller_wait (poller, events, 1), EAGAIN);
    assert (zmq_send (client, "x", 1, 0) == 1);
    struct pollfd told = {fd, POLLIN, 0};
    assert (poll (&told, 1, 5000) == 1);
    assert (zmq_poller_wait (poller, events, -1) == 0 && events[0].socket == server);

    /* A member that was closed is no event, and can be left in. */
    zmq_close (pull);
    FAILS (zmq_poller_remove (poller, pull), ENOTSOCK);
    assert (zmq_poller_destroy (&poller) == 0 && poller == NULL);
    zmq_close (push);
    zmq_close (server);
    zmq_close (client);
    close (pipes[0]);
    close (pipes[1]);
}

static uint64_t number (void *socket)
{
    uint64_t number = 0;
    assert (zmq_recv (socket, &number, sizeof number, 0) == sizeof number);
    return number;
}

static void address (void *socket, char *address, int size)
{
    int length = zmq_recv (socket, address, size - 1, 0);
    assert (length >= 0);
    address[length] = 0;
}

static void events_of_the_second_version (void)
{
    void *server = new_socket (ZMQ_PULL), *client = new_socket (ZMQ_PUSH);
    char endpoint[64], local[64], remote[64];
    size_t size = sizeof endpoint;
    FAILS (zmq_socket_monitor_versioned (server, "inproc://events", UINT64_MAX, 2, ZMQ_PULL), EINVAL);
    FAILS (zmq_socket_monitor_versioned (server, "tcp://127.0.0.1:5", ZMQ_EVENT_ALL, 2, ZMQ_PAIR), EPROTONOSUPPORT);
    FAILS (zmq_socket_monitor_pipes_stats (server), EINVAL);
    static const int types[][2] = {{ZMQ_PAIR, ZMQ_PAIR}, {ZMQ_PUSH, ZMQ_PULL}, {ZMQ_PUB, ZMQ_SUB}};
    for (int i = 0; i < 3; i++) {
        void *reader = new_socket (types[i][1]);
        if (types[i][1] == ZMQ_SUB)
            assert (zmq_setsockopt (reader, ZMQ_SUBSCRIBE, "", 0) == 0);
        snprintf (endpoint, sizeof endpoint, "inproc://events-%d", i);
        uint64_t all = ZMQ_EVENT_ALL | ZMQ_EVENT_PIPES_STATS;
        assert (zmq_socket_monitor_versioned (server, endpoint, all, 2, types[i][0]) == 0);
        assert (zmq_connect (reader, endpoint) == 0);
        FAILS (zmq_socket_monitor_pipes_stats (server), EAGAIN);
        size = sizeof endpoint;
        assert (zmq_bind (server, "tcp://127.0.0.1:*") == 0);
        assert (zmq_getsockopt (server, ZMQ_LAST_ENDPOINT, endpoint, &size) == 0);
        assert (number (reader) == ZMQ_EVENT_LISTENING && number (reader) == 1 && number (reader) > 0);
        address (reader, local, sizeof local);
        address (reader, remote, sizeof remote);
        assert (strcmp (local, endpoint) == 0 && remote[0] == 0);

        assert (zmq_connect (client, endpoint) == 0);
        assert (number (reader) == ZMQ_EVENT_ACCEPTED && number (reader) == 1 && number (reader) > 0);
        address (reader, local, sizeof local);
        address (reader, remote, sizeof remote);
        assert (strcmp (local, endpoint) == 0 && strncmp (remote, "tcp://127.0.0.1:", 16) == 0);
        assert (number (reader) == ZMQ_EVENT_HANDSHAKE_SUCCEEDED && number (reader) == 1 && number (reader) == 0);
        address (reader, local, sizeof local);
        address (reader, remote, sizeof remote);

        assert (zmq_send (client, "unread", 6, 0) == 6);
        zmq_pollitem_t item = {server, 0, ZMQ_POLLIN, 0};
        assert (zmq_poll (&item, 1, 5000) == 1);
        assert (zmq_socket_monitor_pipes_stats (server) == 0);
        assert (number (reader) == ZMQ_EVENT_PIPES_STATS && number (reader) == 2);
        assert (number (reader) == 0 && number (reader) == 1);
        address (reader, local, sizeof local);
        address (reader, remote, sizeof remote);
        assert (zmq_recv (server, local, sizeof local, 0) == 6);

        assert (zmq_socket_monitor (server, NULL, 0) == 0);
        assert (number (reader) == ZMQ_EVENT_MONITOR_STOPPED && number (reader) == 1 && number (reader) == 0);
        zmq_close (reader);
        assert (zmq_disconnect (client, endpoint) == 0 && zmq_unbind (server, endpoint) == 0);
    }
    zmq_close (client);
    zmq_close (server);
}

static void numbers_of_peers (void)
{
    void *one = new_socket (ZMQ_PEER), *other = new_socket (ZMQ_PEER), *client = new_socket (ZMQ_CLIENT);
    void *router = new_socket (ZMQ_ROUTER);
    zmq_msg_t message;
    char room[8];
    errno = 0;
    assert (zmq_connect_peer (NULL, "inproc://peer") == 0 && zmq_errno () == ENOTSOCK);
    assert (zmq_connect_peer (client, "inproc://peer") == 0 && zmq_errno () == ENOTSUP);
    assert (zmq_connect_peer (one, "nonsense") == 0 && zmq_errno () == EINVAL);
    int on = 1;
    assert (zmq_setsockopt (one, ZMQ_IMMEDIATE, &on, sizeof on) == 0);
    assert (zmq_connect_peer (one, "inproc://peer") == 0 && zmq_errno () == EFAULT);
    on = 0;
    assert (zmq_setsockopt (one, ZMQ_IMMEDIATE, &on, sizeof on) == 0);
    uint32_t number = zmq_connect_peer (one, "inproc://peer");
    assert (number != 0);
    assert (zmq_msg_init_size (&message, 2) == 0 && zmq_msg_set_routing_id (&message, number) == 0);
    assert (zmq_msg_send (&message, one, 0) == 2);
    assert (zmq_bind (other, "inproc://peer") == 0);
    assert (zmq_msg_recv (&message, other, 0) == 2 && zmq_msg_routing_id (&message) != 0);
    assert (zmq_msg_send (&message, other, 0) == 2 && zmq_msg_recv (&message, one, 0) == 2);
    assert (zmq_msg_routing_id (&message) == number);
    assert (zmq_msg_close (&message) == 0);
    FAILS (zmq_send (one, "x", 1, 0), EHOSTUNREACH);
    FAILS (zmq_disconnect_peer (client, 1), ENOTSUP);
    FAILS (zmq_disconnect_peer (one, number + 1), EHOSTUNREACH);
    assert (zmq_disconnect_peer (one, number) == 0);
    FAILS (zmq_socket_get_peer_state (client, "d", 1), ENOTSUP);
    FAILS (zmq_socket_get_peer_state (router, "d", 1), EHOSTUNREACH);
    void *dealer = new_socket (ZMQ_DEALER);
    assert (zmq_setsockopt (dealer, ZMQ_ROUTING_ID, "d", 1) == 0);
    assert (zmq_bind (router, "inproc://router") == 0 && zmq_connect (dealer, "inproc://router") == 0);
    assert (zmq_socket_get_peer_state (router, "d", 1) == ZMQ_POLLOUT);
    FAILS (zmq_join (client, "group"), ENOTSUP);
    assert (zmq_recv (one, room, sizeof room, ZMQ_DONTWAIT) == -1);
    zmq_close (one);
    zmq_close (other);
    zmq_close (client);
    zmq_close (dealer);
    zmq_close (router);
}

static void topics_and_contexts (void)
{
    void *sub = new_socket (ZMQ_SUB), *own = zmq_ctx_new ();
    int64_t room = -1;
    size_t size = sizeof room;
    char text[20];
    assert (zmq_setsockopt (sub, ZMQ_SUBSCRIBE, "a", 1) == 0);
    assert (zmq_getsockopt (sub, ZMQ_TOPICS_COUNT, &room, &size) == 0 && size == sizeof (int) && room == 1);
    size = 3;
    FAILS (zmq_getsockopt (sub, ZMQ_TOPICS_COUNT, &room, &size), EINVAL);
    zmq_close (sub);
    assert (zmq_ctx_set_ext (own, ZMQ_THREAD_NAME_PREFIX, "sixteen octets!!", 16) == 0);
    FAILS (zmq_ctx_set_ext (own, ZMQ_THREAD_NAME_PREFIX, "seventeen octets!", 17), EINVAL);
    FAILS (zmq_ctx_set_ext (own, ZMQ_THREAD_NAME_PREFIX, "", 0), EINVAL);
    size = sizeof text;
    assert (zmq_ctx_get_ext (own, ZMQ_THREAD_NAME_PREFIX, text, &size) == 0 && memcmp (text, "sixteen octets!!", 16) == 0);
    size = 8;
    FAILS (zmq_ctx_get_ext (own, ZMQ_THREAD_NAME_PREFIX, text, &size), EINVAL);
    FAILS (zmq_ctx_get_ext (own, ZMQ_IO_THREADS, text, &size), EINVAL);
    zmq_ctx_term (own);
}

static int signals;
static void count_signal (int number)
{
    (void) number;
    signals++;
}

/* A signal that waits ends the wait that lets it in, though it comes before there is anything to wait on. */
static void polling_with_a_mask (void)
{
    void *pull = new_socket (ZMQ_PULL), *push = new_socket (ZMQ_PUSH), *server = new_socket (ZMQ_SERVER);
    int pipes[2];
    char room;
    sigset_t blocked, before;
    struct sigaction action = {.sa_handler = count_signal};
    assert (pipe (pipes) == 0 && sigaction (SIGUSR1, &action, NULL) == 0);
    sigemptyset (&blocked);
    sigaddset (&blocked, SIGUSR1);
    pthread_sigmask (SIG_BLOCK, &blocked, &before);
    assert (zmq_bind (pull, "tcp://127.0.0.1:*") == 0);
    char endpoint[64];
    size_t size = sizeof endpoint;
    assert (zmq_getsockopt (pull, ZMQ_LAST_ENDPOINT, endpoint, &size) == 0 && zmq_connect (push, endpoint) == 0);
    zmq_pollitem_t items[] = {{pull, 0, ZMQ_POLLIN, 0}, {NULL, pipes[0], ZMQ_POLLIN, 0}, {server, 0, ZMQ_POLLIN, 0}};
    for (int n = 1; n <= 20; n++) {
        pthread_kill (pthread_self (), SIGUSR1);
        assert (signals == n - 1);
        FAILS (zmq_ppoll (items, 3, -1, &before), EINTR);
        assert (signals == n);
    }
    assert (zmq_ppoll (items, 3, 5, &before) == 0);
    assert (zmq_send (push, "x", 1, 0) == 1);
    assert (zmq_ppoll (items, 3, -1, &before) == 1 && items[0].revents == ZMQ_POLLIN && items[1].revents == 0);
    assert (zmq_recv (pull, &room, 1, 0) == 1);
    assert (write (pipes[1], "x", 1) == 1);
    assert (zmq_ppoll (items, 3, -1, &before) == 1 && items[0].revents == 0 && items[1].revents == ZMQ_POLLIN);
    /* Without a mask, and with one that lets nothing in, it stays blocked. */
    pthread_kill (pthread_self (), SIGUSR1);
    assert (zmq_ppoll (items, 1, 5, NULL) == 0 && zmq_ppoll (items, 1, 5, &blocked) == 0 && signals == 20);
    pthread_sigmask (SIG_SETMASK, &before, NULL);
    assert (signals == 21);
    zmq_close (pull);
    zmq_close (push);
    zmq_close (server);
    close (pipes[0]);
    close (pipes[1]);
}

/* A message whose peer leaves between its parts goes to another peer whole, or nowhere. */
static void a_peer_leaves_between_parts (void)
{
    char room[8];
    for (int again = 0; again < 3; again++) {
        void *push = new_socket (ZMQ_PUSH), *pull = new_socket (ZMQ_PULL), *other = new_socket (ZMQ_PULL);
        assert (zmq_bind (push, "inproc://between") == 0 && zmq_connect (pull, "inproc://between") == 0);
        assert (zmq_send (push, "a", 1, ZMQ_SNDMORE | ZMQ_DONTWAIT) == 1);
        zmq_close (pull);
        if (again == 0)
            assert (zmq_connect (other, "inproc://between") == 0);
        else {
            FAILS (zmq_send (push, "bb", 2, ZMQ_DONTWAIT), EAGAIN);
            if (again == 1) /* it is over: its end goes nowhere */
                assert (zmq_send (push, "bb", 2, ZMQ_DONTWAIT) == 2);
            else {
                FAILS (zmq_send (push, "a", 1, ZMQ_SNDMORE | ZMQ_DONTWAIT), EAGAIN);
                zmq_pollitem_t item = {push, 0, ZMQ_POLLOUT, 0};
                assert (zmq_poll (&item, 1, 0) == 0);
            }
            assert (zmq_connect (other, "inproc://between") == 0);
            assert (zmq_send (push, "a", 1, ZMQ_SNDMORE | ZMQ_DONTWAIT) == 1);
        }
        assert (zmq_send (push, "bb", 2, ZMQ_DONTWAIT) == 2);
        assert (zmq_recv (other, room, sizeof room, 0) == 1 && zmq_recv (other, room, sizeof room, ZMQ_DONTWAIT) == 2);
        FAILS (zmq_recv (other, room, sizeof room, ZMQ_DONTWAIT), EAGAIN);
        zmq_close (push);
        zmq_close (other);
    }
}

/* Whether the process has a thread of this name, and on how many processors that may run. */
static int has_thread (const char *name, int *processors)
{
    DIR *tasks = opendir ("/proc/self/task");
    struct dirent *entry;
    int found = 0;
    while ((entry = readdir (tasks))) {
        char path[300], comm[32] = "";
        snprintf (path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = fopen (path, "r");
        if (!file)
            continue;
        if (fgets (comm, sizeof comm, file))
            comm[strcspn (comm, "\n")] = 0;
        fclose (file);
        if (strcmp (comm, name) == 0) {
            cpu_set_t set;
            found = 1;
            if (sched_getaffinity (atoi (entry->d_name), sizeof set, &set) == 0)
                *processors = CPU_COUNT (&set);
        }
    }
    closedir (tasks);
    return found;
}

static void threads_are_as_their_context_says (void)
{
    void *own = zmq_ctx_new ();
    cpu_set_t set;
    int first = 0, processors = 0;
    assert (sched_getaffinity (0, sizeof set, &set) == 0);
    while (!CPU_ISSET (first, &set))
        first++;
    assert (zmq_ctx_set_ext (own, ZMQ_THREAD_NAME_PREFIX, "own", 3) == 0);
    assert (zmq_ctx_set (own, ZMQ_THREAD_AFFINITY_CPU_ADD, first) == 0);
    assert (zmq_ctx_set (own, ZMQ_THREAD_PRIORITY, 1) == 0 && zmq_ctx_set (own, ZMQ_THREAD_SCHED_POLICY, SCHED_OTHER) == 0);
    void *socket = zmq_socket (own, ZMQ_PULL);
    assert (zmq_bind (socket, "tcp://127.0.0.1:*") == 0);
    while (!has_thread ("own/ZMQbg/IO/0", &processors) || processors != 1)
        usleep (1000); /* the thread sees to it once it runs */
    zmq_close (socket);
    zmq_ctx_term (own);
}

int main (void)
{
    context = zmq_ctx_new ();
    pollers ();
    polling_with_a_mask ();
    events_of_the_second_version ();
    numbers_of_peers ();
    topics_and_contexts ();
    a_peer_leaves_between_parts ();
    threads_are_as_their_context_says ();
    assert (zmq_ctx_term (context) == 0);
    return 0;
}
