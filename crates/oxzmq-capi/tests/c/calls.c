/* What each function answers to right and wrong arguments. Prints the same lines on libzmq and on oxzmq: so it does
   without what crashes libzmq, and without the draft API. */
#include <zmq.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define SHOW(call)                                                                                                     \
    do {                                                                                                               \
        errno = 0;                                                                                                     \
        long result_ = (long) (call);                                                                                  \
        printf ("%s = %ld", #call, result_);                                                                           \
        if (result_ == -1)                                                                                             \
            printf (", %s", zmq_strerror (zmq_errno ()));                                                              \
        printf ("\n");                                                                                                 \
    } while (0)
#define IS_NULL(call)                                                                                                  \
    do {                                                                                                               \
        errno = 0;                                                                                                     \
        int null_ = (call) == NULL;                                                                                    \
        printf ("%s %s", #call, null_ ? "NULL" : "not NULL");                                                          \
        if (null_)                                                                                                     \
            printf (", %s", zmq_strerror (zmq_errno ()));                                                              \
        printf ("\n");                                                                                                 \
    } while (0)

static int freed;
static void give_back (void *data, void *hint)
{
    (void) data;
    __atomic_add_fetch ((int *) hint, 1, __ATOMIC_SEQ_CST);
}

static void errors (void)
{
    int numbers[] = {0, EAGAIN, EINVAL, EFSM, ENOCOMPATPROTO, ETERM, EMTHREAD, EHOSTUNREACH, ENOTSUP, EADDRINUSE, 99999};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        printf ("%d %s\n", numbers[i], zmq_strerror (numbers[i]));
}

static void messages (void)
{
    zmq_msg_t a, b;
    char text[] = "a text that is longer than what fits into a message of libzmq";
    SHOW (zmq_msg_init (&a));
    SHOW (zmq_msg_size (&a));
    SHOW (zmq_msg_more (&a));
    SHOW (zmq_msg_set (&a, ZMQ_MORE, 1));
    SHOW (zmq_msg_get (&a, ZMQ_MORE));
    SHOW (zmq_msg_get (&a, 99));
    SHOW (zmq_msg_get (&a, ZMQ_SRCFD));
    IS_NULL (zmq_msg_gets (&a, "User-Id"));
    SHOW (zmq_msg_close (&a));
    SHOW (zmq_msg_close (&a));
    SHOW (zmq_msg_init_size (&a, SIZE_MAX));
    SHOW (zmq_msg_init_size (&a, 100000));
    memset (zmq_msg_data (&a), 'x', 100000);
    SHOW (zmq_msg_get (&a, ZMQ_SHARED));
    SHOW (zmq_msg_init (&b));
    SHOW (zmq_msg_copy (&b, &a));
    SHOW (zmq_msg_data (&a) == zmq_msg_data (&b));
    SHOW (zmq_msg_get (&a, ZMQ_SHARED));
    SHOW (zmq_msg_get (&b, ZMQ_SHARED));
    SHOW (zmq_msg_close (&b));
    SHOW (zmq_msg_init_data (&b, text, sizeof text, give_back, &freed));
    SHOW (zmq_msg_move (&a, &b));
    SHOW (zmq_msg_size (&b));
    SHOW (zmq_msg_data (&a) == text);
    SHOW (freed);
    SHOW (zmq_msg_close (&a));
    SHOW (freed);
    SHOW (zmq_msg_close (&b));
    SHOW (zmq_msg_init_data (&b, text, sizeof text, NULL, NULL));
    SHOW (zmq_msg_get (&b, ZMQ_SHARED));
    SHOW (zmq_msg_close (&b));
}

static void contexts (void)
{
    SHOW (zmq_ctx_term (NULL));
    IS_NULL (zmq_socket (NULL, 0));
    IS_NULL (zmq_init (-1));
    void *context = zmq_ctx_new ();
    SHOW (zmq_ctx_get (context, ZMQ_MSG_T_SIZE));
    SHOW (zmq_ctx_get (context, ZMQ_IO_THREADS));
    SHOW (zmq_ctx_get (context, ZMQ_MAX_SOCKETS));
    SHOW (zmq_ctx_get (context, ZMQ_MAX_MSGSZ));
    SHOW (zmq_ctx_get (context, ZMQ_BLOCKY));
    SHOW (zmq_ctx_get (context, 99));
    SHOW (zmq_ctx_set (context, 99, 1));
    SHOW (zmq_ctx_set (context, ZMQ_IO_THREADS, -1));
    SHOW (zmq_ctx_set (context, ZMQ_MAX_SOCKETS, 0));
    SHOW (zmq_ctx_set (context, ZMQ_MAX_SOCKETS, 2));
    IS_NULL (zmq_socket (context, -1));
    IS_NULL (zmq_socket (context, 21));
    void *one = zmq_socket (context, ZMQ_PULL);
    void *two = zmq_socket (context, ZMQ_PULL);
    IS_NULL (zmq_socket (context, ZMQ_PULL));
    SHOW (zmq_close (one));
    SHOW (zmq_close (two));
    SHOW (zmq_close (NULL));
    SHOW (zmq_ctx_shutdown (context));
    SHOW (zmq_ctx_shutdown (context));
    IS_NULL (zmq_socket (context, ZMQ_PULL));
    SHOW (zmq_ctx_term (context));
}

static void endpoints (void)
{
    void *context = zmq_ctx_new ();
    void *socket = zmq_socket (context, ZMQ_DEALER), *other = zmq_socket (context, ZMQ_DEALER);
    SHOW (zmq_connect (socket, "foo://x"));
    SHOW (zmq_connect (socket, "tcp:/x"));
    SHOW (zmq_connect (socket, "inproc://"));
    SHOW (zmq_connect (socket, "tcp://"));
    SHOW (zmq_bind (socket, "tcp://127.0.0.1"));
    SHOW (zmq_bind (socket, "ipc:///nowhere/at/all"));
    SHOW (zmq_unbind (socket, NULL));
    SHOW (zmq_unbind (socket, "tcp://127.0.0.1:1"));
    SHOW (zmq_disconnect (socket, "inproc://nobody"));
    SHOW (zmq_disconnect (socket, "tcp://127.0.0.1"));
    SHOW (zmq_unbind (socket, "tcp://127.0.0.1:99999"));
    SHOW (zmq_unbind (socket, "tcp://"));
    SHOW (zmq_disconnect (socket, "nothing"));
    SHOW (zmq_unbind (socket, "foo://x"));
    char endpoint[256];
    size_t size = sizeof endpoint;
    SHOW (zmq_bind (socket, "tcp://127.0.0.1:*"));
    SHOW (zmq_getsockopt (socket, ZMQ_LAST_ENDPOINT, endpoint, &size));
    SHOW (size == strlen (endpoint) + 1);
    SHOW (zmq_bind (other, endpoint));
    SHOW (zmq_unbind (socket, endpoint));
    SHOW (zmq_bind (socket, "inproc://here"));
    SHOW (zmq_bind (other, "inproc://here"));
    SHOW (zmq_socket_monitor (socket, "tcp://127.0.0.1:5555", ZMQ_EVENT_ALL));
    SHOW (zmq_socket_monitor (socket, "inproc://monitor", -1));
    SHOW (zmq_close (socket));
    SHOW (zmq_close (other));
    SHOW (zmq_ctx_term (context));
}

static void set_and_get (void *socket, int option, int value)
{
    int before = -2, after = -2;
    size_t size = sizeof (int);
    int first = zmq_getsockopt (socket, option, &before, &size);
    int set = zmq_setsockopt (socket, option, &value, sizeof value);
    size = sizeof (int);
    int second = zmq_getsockopt (socket, option, &after, &size);
    printf ("option %d: %d (%d), set %d: %d, %d (%d)\n", option, before, first, value, set, after, second);
}

static void options (void)
{
    void *context = zmq_ctx_new ();
    void *socket = zmq_socket (context, ZMQ_DEALER);
    int numbers[] = {ZMQ_RATE, ZMQ_SNDBUF, ZMQ_RCVBUF, ZMQ_TYPE, ZMQ_LINGER, ZMQ_RECONNECT_IVL, ZMQ_BACKLOG,
                     ZMQ_RECONNECT_IVL_MAX, ZMQ_SNDHWM, ZMQ_RCVHWM, ZMQ_MULTICAST_HOPS, ZMQ_RCVTIMEO, ZMQ_SNDTIMEO,
                     ZMQ_TCP_KEEPALIVE, ZMQ_TCP_KEEPALIVE_CNT, ZMQ_IMMEDIATE, ZMQ_IPV6, ZMQ_MECHANISM,
                     ZMQ_PLAIN_SERVER, ZMQ_CONFLATE, ZMQ_TOS, ZMQ_HANDSHAKE_IVL, ZMQ_INVERT_MATCHING,
                     ZMQ_HEARTBEAT_IVL, ZMQ_HEARTBEAT_TTL, ZMQ_CONNECT_TIMEOUT, ZMQ_TCP_MAXRT, ZMQ_ROUTER_MANDATORY,
                     ZMQ_USE_FD, 9999};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        for (int value = -2; value <= 2; value++)
            if (numbers[i] != ZMQ_RECONNECT_IVL || value != 0) /* which 4.3.6 reads as -1, 4.3.4 as 0 */
                set_and_get (socket, numbers[i], value);
    char room[300];
    size_t size = sizeof room;
    SHOW (zmq_setsockopt (socket, ZMQ_ROUTING_ID, "", 0));
    SHOW (zmq_setsockopt (socket, ZMQ_ROUTING_ID, "me", 2));
    SHOW (zmq_getsockopt (socket, ZMQ_ROUTING_ID, room, &size));
    SHOW (size);
    SHOW (zmq_setsockopt (socket, ZMQ_SNDHWM, room, 3));
    SHOW (zmq_setsockopt (socket, ZMQ_SUBSCRIBE, "", 0));
    size = 3;
    SHOW (zmq_getsockopt (socket, ZMQ_SNDHWM, room, &size));
    char key[41];
    size = 41;
    SHOW (zmq_getsockopt (socket, ZMQ_CURVE_PUBLICKEY, key, &size));
    SHOW (size);
    printf ("%s\n", key);
    size = 40;
    SHOW (zmq_getsockopt (socket, ZMQ_CURVE_PUBLICKEY, key, &size));
    SHOW (zmq_setsockopt (socket, ZMQ_CURVE_SERVERKEY, "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6", 40));
    SHOW (zmq_setsockopt (socket, ZMQ_CURVE_SERVERKEY, "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh", 39));
    size = sizeof room;
    SHOW (zmq_getsockopt (socket, ZMQ_PLAIN_USERNAME, room, &size));
    SHOW (size);
    SHOW (zmq_close (socket));
    SHOW (zmq_setsockopt (NULL, 0, NULL, 0));
    SHOW (zmq_ctx_term (context));
}

static void conversation (const char *endpoint)
{
    void *context = zmq_ctx_new ();
    void *server = zmq_socket (context, ZMQ_REP), *client = zmq_socket (context, ZMQ_REQ);
    char bound[256], room[16];
    size_t size = sizeof bound;
    printf ("%s\n", endpoint);
    SHOW (zmq_bind (server, endpoint));
    zmq_getsockopt (server, ZMQ_LAST_ENDPOINT, bound, &size);
    SHOW (zmq_connect (client, bound));
    SHOW (zmq_recv (client, room, 4, ZMQ_DONTWAIT));
    SHOW (zmq_send (server, "x", 1, 0));
    SHOW (zmq_recv (server, room, 4, ZMQ_DONTWAIT));
    SHOW (zmq_send (client, "ten octets", 10, ZMQ_SNDMORE));
    SHOW (zmq_send (client, NULL, 0, 0));
    zmq_pollitem_t items[2] = {{server, 0, ZMQ_POLLIN, 0}, {client, 0, ZMQ_POLLIN | ZMQ_POLLOUT, 0}};
    SHOW (zmq_poll (items, 2, 5000));
    SHOW (items[0].revents);
    SHOW (items[1].revents);
    SHOW (zmq_recv (server, room, 4, 0));
    printf ("%.4s\n", room);
    int more = 0;
    size = sizeof more;
    SHOW (zmq_getsockopt (server, ZMQ_RCVMORE, &more, &size));
    SHOW (more);
    zmq_msg_t message;
    SHOW (zmq_msg_init (&message));
    SHOW (zmq_msg_recv (&message, server, 0));
    SHOW (zmq_msg_more (&message));
    SHOW (zmq_msg_close (&message));
    struct iovec parts[3] = {{"one", 3}, {"three", 5}, {"fourth", 6}};
    SHOW (zmq_sendiov (server, parts, 3, ZMQ_SNDMORE));
    size_t count = 2;
    struct iovec got[2];
    SHOW (zmq_recviov (client, got, &count, 0));
    for (size_t i = 0; i < count; i++) {
        printf ("%.*s\n", (int) got[i].iov_len, (char *) got[i].iov_base);
        free (got[i].iov_base);
    }
    SHOW (zmq_recv (client, room, sizeof room, 0));
    SHOW (zmq_recv (client, room, sizeof room, 0));
    int before = freed;
    char *large = malloc (100000);
    memset (large, 'y', 100000);
    SHOW (zmq_msg_init_data (&message, large, 100000, give_back, &freed));
    SHOW (zmq_msg_send (&message, client, 0));
    SHOW (zmq_msg_size (&message));
    SHOW (zmq_msg_recv (&message, server, 0));
    SHOW (((char *) zmq_msg_data (&message))[99999]);
    SHOW (zmq_msg_close (&message));
    SHOW (zmq_close (client));
    SHOW (zmq_close (server));
    SHOW (zmq_close (server));
    SHOW (zmq_send (server, "x", 1, 0));
    SHOW (zmq_ctx_term (context));
    SHOW (freed - before);
    free (large);
}

/* What was sent to nobody does not come back with the next message. */
static void parts_for_nobody (void)
{
    void *context = zmq_ctx_new ();
    void *publisher = zmq_socket (context, ZMQ_XPUB), *subscriber = zmq_socket (context, ZMQ_SUB);
    void *router = zmq_socket (context, ZMQ_ROUTER), *dealer = zmq_socket (context, ZMQ_DEALER);
    char room[16];
    zmq_bind (publisher, "inproc://news");
    SHOW (zmq_send (publisher, "old", 3, ZMQ_SNDMORE));
    SHOW (zmq_send (publisher, "news", 4, 0));
    zmq_connect (subscriber, "inproc://news");
    zmq_setsockopt (subscriber, ZMQ_SUBSCRIBE, "", 0);
    SHOW (zmq_recv (publisher, room, sizeof room, 0));
    SHOW (zmq_send (publisher, "newer", 5, ZMQ_SNDMORE));
    SHOW (zmq_send (publisher, "news!!", 6, 0));
    SHOW (zmq_recv (subscriber, room, sizeof room, 0));
    SHOW (zmq_recv (subscriber, room, sizeof room, 0));
    SHOW (zmq_recv (subscriber, room, sizeof room, ZMQ_DONTWAIT));
    zmq_bind (router, "inproc://router");
    SHOW (zmq_send (router, "nobody", 6, ZMQ_SNDMORE));
    SHOW (zmq_send (router, "lost", 4, 0));
    zmq_setsockopt (dealer, ZMQ_ROUTING_ID, "me", 2);
    zmq_connect (dealer, "inproc://router");
    SHOW (zmq_send (dealer, "hello", 5, 0));
    SHOW (zmq_recv (router, room, sizeof room, 0));
    SHOW (zmq_recv (router, room, sizeof room, 0));
    SHOW (zmq_send (router, "me", 2, ZMQ_SNDMORE));
    SHOW (zmq_send (router, "answer", 6, 0));
    SHOW (zmq_recv (dealer, room, sizeof room, 0));
    SHOW (zmq_recv (dealer, room, sizeof room, ZMQ_DONTWAIT));
    zmq_close (publisher);
    zmq_close (subscriber);
    zmq_close (router);
    zmq_close (dealer);
    zmq_ctx_term (context);
}

/* The first part by octets, which does not ask whom it is from; the second as a message, which may. */
static void origin_of_a_later_part (void)
{
    void *context = zmq_ctx_new ();
    void *pull = zmq_socket (context, ZMQ_PULL), *push = zmq_socket (context, ZMQ_PUSH);
    char bound[256], room[16];
    size_t size = sizeof bound;
    zmq_msg_t message;
    zmq_bind (pull, "tcp://127.0.0.1:*");
    zmq_getsockopt (pull, ZMQ_LAST_ENDPOINT, bound, &size);
    zmq_connect (push, bound);
    SHOW (zmq_send (push, "one", 3, ZMQ_SNDMORE));
    SHOW (zmq_send (push, "two!", 4, 0));
    SHOW (zmq_send (push, "alone", 5, 0));
    SHOW (zmq_recv (pull, room, sizeof room, 0));
    zmq_msg_init (&message);
    SHOW (zmq_msg_recv (&message, pull, 0));
    printf ("%s\n", zmq_msg_gets (&message, "Socket-Type"));
    SHOW (zmq_msg_recv (&message, pull, 0));
    printf ("%s\n", zmq_msg_gets (&message, "Socket-Type"));
    zmq_msg_close (&message);
    zmq_close (pull);
    zmq_close (push);
    zmq_ctx_term (context);
}

/* A descriptor that listens already. */
static void used_descriptor (void)
{
    void *context = zmq_ctx_new ();
    void *pull = zmq_socket (context, ZMQ_PULL), *push = zmq_socket (context, ZMQ_PUSH);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl (INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket (AF_INET, SOCK_STREAM, 0);
    bind (fd, (struct sockaddr *) &address, length);
    listen (fd, 10);
    getsockname (fd, (struct sockaddr *) &address, &length);
    char endpoint[64], room[8];
    snprintf (endpoint, sizeof endpoint, "tcp://127.0.0.1:%d", ntohs (address.sin_port));
    SHOW (zmq_setsockopt (pull, ZMQ_USE_FD, &fd, sizeof fd));
    SHOW (zmq_bind (pull, endpoint));
    SHOW (zmq_connect (push, endpoint));
    SHOW (zmq_send (push, "used", 4, 0));
    SHOW (zmq_recv (pull, room, sizeof room, 0));
    SHOW (zmq_close (push));
    SHOW (zmq_close (pull));
    SHOW (zmq_ctx_term (context));
}

static void *waiter (void *socket)
{
    char room;
    int result = zmq_recv (socket, &room, 1, 0);
    printf ("a wait ends with %d, %s\n", result, zmq_strerror (zmq_errno ()));
    SHOW (zmq_send (socket, &room, 1, 0));
    SHOW (zmq_close (socket));
    return NULL;
}

static void termination (void)
{
    void *context = zmq_ctx_new ();
    void *socket = zmq_socket (context, ZMQ_PAIR);
    pthread_t thread;
    zmq_bind (socket, "inproc://a");
    pthread_create (&thread, NULL, waiter, socket);
    zmq_ctx_term (context);
    pthread_join (thread, NULL);
}

static void called (int timer, void *argument)
{
    printf ("timer %d\n", timer);
    ++*(int *) argument;
}

static void utilities (void)
{
    char text[41], secret[41], again[41];
    uint8_t data[] = {0x86, 0x4F, 0xD2, 0x6F, 0xB5, 0x59, 0xF7, 0x5B}, back[8];
    printf ("%s\n", zmq_z85_encode (text, data, 8));
    IS_NULL (zmq_z85_encode (text, data, 3));
    IS_NULL (zmq_z85_decode (back, "%nSc1"));
    IS_NULL (zmq_z85_decode (back, "abcd"));
    IS_NULL (zmq_z85_decode (back, ""));
    IS_NULL (zmq_z85_decode (back, "HelloWorld"));
    SHOW (memcmp (data, back, 8));
    SHOW (zmq_curve_keypair (text, secret));
    SHOW (zmq_curve_public (again, secret));
    SHOW (strcmp (text, again));
    void *counter = zmq_atomic_counter_new ();
    SHOW (zmq_atomic_counter_inc (counter));
    SHOW (zmq_atomic_counter_inc (counter));
    SHOW (zmq_atomic_counter_dec (counter));
    SHOW (zmq_atomic_counter_dec (counter));
    SHOW (zmq_atomic_counter_value (counter));
    zmq_atomic_counter_destroy (&counter);
    SHOW (counter == NULL);
    int calls = 0;
    void *timers = zmq_timers_new ();
    SHOW (zmq_timers_timeout (timers));
    SHOW (zmq_timers_add (timers, 50, called, &calls));
    SHOW (zmq_timers_add (timers, 100000, called, &calls));
    usleep (60000);
    SHOW (zmq_timers_execute (timers));
    SHOW (calls);
    SHOW (zmq_timers_cancel (timers, 1));
    SHOW (zmq_timers_cancel (timers, 1));
    SHOW (zmq_timers_timeout (timers) > 90000);
    SHOW (zmq_timers_destroy (&timers));
    SHOW (zmq_timers_destroy (&timers));
    void *watch = zmq_stopwatch_start ();
    SHOW (zmq_stopwatch_intermediate (watch) <= zmq_stopwatch_stop (watch));
}

int main (void)
{
    errors ();
    messages ();
    contexts ();
    endpoints ();
    options ();
    conversation ("tcp://127.0.0.1:*");
    conversation ("ipc://*");
    conversation ("inproc://talk");
    parts_for_nobody ();
    origin_of_a_later_part ();
    used_descriptor ();
    termination ();
    utilities ();
    return 0;
}
