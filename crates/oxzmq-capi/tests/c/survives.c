/* What ends a program on libzmq by an assertion or undefined behaviour, and is an error here. */
#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <zmq.h>

static void *receive (void *socket)
{
    char room;
    int result = zmq_recv (socket, &room, 1, 0);
    assert (result == -1 && zmq_errno () == ENOTSOCK);
    return NULL;
}

/* A socket that another thread receives on is closed. */
static void closed_by_another_thread (void)
{
    void *context = zmq_ctx_new ();
    for (int round = 0; round < 20; round++) {
        void *socket = zmq_socket (context, ZMQ_PULL);
        zmq_bind (socket, round % 2 ? "tcp://127.0.0.1:*" : "inproc://closed");
        pthread_t thread;
        pthread_create (&thread, NULL, receive, socket);
        usleep (round * 100);
        assert (zmq_close (socket) == 0);
        pthread_join (thread, NULL);
        assert (zmq_close (socket) == -1 && zmq_errno () == ENOTSOCK);
    }
    assert (zmq_ctx_term (context) == 0);
    assert (zmq_ctx_term (context) == -1 && zmq_errno () == EFAULT);
}

static void *stop;
static void *share (void *socket)
{
    char room[64];
    while (!__atomic_load_n (&stop, __ATOMIC_SEQ_CST)) {
        zmq_send (socket, room, sizeof room, ZMQ_DONTWAIT | (room[0] & 1 ? ZMQ_SNDMORE : 0));
        zmq_recv (socket, room, sizeof room, ZMQ_DONTWAIT);
        int value;
        size_t size = sizeof value;
        zmq_getsockopt (socket, ZMQ_EVENTS, &value, &size);
    }
    return NULL;
}

/* Threads use one socket at the same time. */
static void shared_by_threads (void)
{
    void *context = zmq_ctx_new ();
    void *bound = zmq_socket (context, ZMQ_DEALER), *connected = zmq_socket (context, ZMQ_DEALER);
    char endpoint[64];
    size_t size = sizeof endpoint;
    zmq_bind (bound, "tcp://127.0.0.1:*");
    zmq_getsockopt (bound, ZMQ_LAST_ENDPOINT, endpoint, &size);
    zmq_connect (connected, endpoint);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create (&threads[i], NULL, share, i % 2 ? bound : connected);
    usleep (300000);
    __atomic_store_n (&stop, context, __ATOMIC_SEQ_CST);
    for (int i = 0; i < 4; i++)
        pthread_join (threads[i], NULL);
    int linger = 0;
    zmq_setsockopt (bound, ZMQ_LINGER, &linger, sizeof linger);
    zmq_setsockopt (connected, ZMQ_LINGER, &linger, sizeof linger);
    zmq_close (bound);
    zmq_close (connected);
    zmq_ctx_term (context);
}

/* Handles that are none, of the wrong kind, or stale. */
static void wrong_handles (void)
{
    char somewhere[256] = {0};
    void *context = zmq_ctx_new (), *socket = zmq_socket (context, ZMQ_PULL), *timers = zmq_timers_new ();
    void *wrong[] = {NULL, somewhere, context, timers, (char *) socket + 1, (void *) 1, (void *) -1};
    zmq_msg_t message, garbage;
    zmq_msg_init (&message);
    memset (&garbage, 0x5a, sizeof garbage);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert (zmq_send (wrong[i], "x", 1, 0) == -1 && errno == ENOTSOCK);
        assert (zmq_msg_recv (&message, wrong[i], 0) == -1 && errno == ENOTSOCK);
        assert (zmq_bind (wrong[i], "inproc://x") == -1 && errno == ENOTSOCK);
        assert (zmq_close (wrong[i]) == -1 && errno == ENOTSOCK);
        if (wrong[i] != context)
            assert (zmq_ctx_term (wrong[i]) == -1 && errno == EFAULT);
    }
    assert (zmq_bind (socket, NULL) == -1 && errno == EINVAL);
    assert (zmq_connect (socket, NULL) == -1 && errno == EINVAL);
    assert (zmq_msg_send (&garbage, socket, 0) == -1 && errno == EFAULT);
    assert (zmq_msg_close (&garbage) == -1 && errno == EFAULT);
    assert (zmq_poll (NULL, 1, 0) == -1 && errno == EFAULT);
    assert (zmq_poll (NULL, -1, 0) == -1 && errno == EINVAL);
    assert (zmq_device (0, NULL, NULL) == -1 && errno == EFAULT);
    zmq_timers_destroy (&timers);
    zmq_close (socket);
    zmq_ctx_term (context);
}

/* No descriptor is left for anything. */
static void out_of_descriptors (void)
{
    struct rlimit limit = {32, 32};
    setrlimit (RLIMIT_NOFILE, &limit);
    void *context = zmq_ctx_new ();
    void *sockets[64];
    int failed = 0;
    for (int i = 0; i < 64; i++) {
        sockets[i] = zmq_socket (context, ZMQ_DEALER);
        if (!sockets[i] || zmq_bind (sockets[i], "tcp://127.0.0.1:*") == -1) {
            assert (errno == EMFILE);
            failed++;
        }
    }
    assert (failed > 0);
    for (int i = 0; i < 64; i++)
        if (sockets[i])
            zmq_close (sockets[i]);
    assert (zmq_ctx_term (context) == 0);
}

int main (void)
{
    assert (zmq_has ("oxzmq"));
    assert (zmq_has ("WS") && !zmq_has ("ws"));
    closed_by_another_thread ();
    shared_by_threads ();
    wrong_handles ();
    out_of_descriptors ();
    return 0;
}
