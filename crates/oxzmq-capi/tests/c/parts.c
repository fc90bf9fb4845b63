/* Messages part by part: what each call answers in the middle of a message, and what of it arrives. Prints the same
   lines on libzmq and on oxzmq. */
#define ZMQ_BUILD_DRAFT_API 1
#include <zmq.h>
#include <arpa/inet.h>
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static void *context;

static void *new_socket (int type)
{
    void *socket = zmq_socket (context, type);
    int linger = 0;
    assert (socket && zmq_setsockopt (socket, ZMQ_LINGER, &linger, sizeof linger) == 0);
    return socket;
}

static void set (void *socket, int option, int value)
{
    assert (zmq_setsockopt (socket, option, &value, sizeof value) == 0);
}

/* The first socket bound, the second connected. */
static const char *join (void *one, void *other)
{
    static char endpoint[32];
    static int count;
    snprintf (endpoint, sizeof endpoint, "inproc://parts-%d", count++);
    assert (zmq_bind (one, endpoint) == 0 && zmq_connect (other, endpoint) == 0);
    return endpoint;
}

static void answer (const char *what, int result)
{
    printf ("  %s: %s\n", what, result >= 0 ? "done" : zmq_strerror (zmq_errno ()));
}

static void part (void *socket, const void *octets, size_t size, int flags)
{
    char what[64];
    int text = size < 5 || *(const char *) octets; /* generated ids differ from run to run */
    snprintf (what, sizeof what, "%.*s%s%s", text ? (int) size : 2, text ? (const char *) octets : "id",
              flags & ZMQ_SNDMORE ? ", more" : "", flags & ZMQ_DONTWAIT ? "" : ", waiting");
    answer (what, zmq_send (socket, octets, size, flags));
}

/* One part of a text. */
static void give (void *socket, const char *text, int flags)
{
    part (socket, text, strlen (text), flags);
}

#define NOW ZMQ_DONTWAIT
#define MORE (ZMQ_DONTWAIT | ZMQ_SNDMORE)

static void take (void *socket)
{
    char room[64];
    int more = 0, length = zmq_recv (socket, room, sizeof room, ZMQ_DONTWAIT);
    size_t size = sizeof more;
    if (length < 0) {
        answer ("receiving", length);
        return;
    }
    zmq_getsockopt (socket, ZMQ_RCVMORE, &more, &size);
    int made = length == 5 && !*room;
    printf ("  got %.*s%s\n", made ? 2 : length, made ? "id" : room, more ? ", more" : "");
}

static void take_all (void *socket)
{
    zmq_pollitem_t item = {socket, 0, ZMQ_POLLIN, 0};
    while (zmq_poll (&item, 1, 100) > 0)
        take (socket);
    printf ("  that is all\n");
}

static void ready (void *socket)
{
    int events = 0;
    size_t size = sizeof events;
    zmq_getsockopt (socket, ZMQ_EVENTS, &events, &size);
    zmq_pollitem_t item = {socket, 0, ZMQ_POLLIN | ZMQ_POLLOUT, 0};
    zmq_poll (&item, 1, 0);
    printf ("  ready %d, polled %d\n", events, item.revents);
}

static void end (void *one, void *other)
{
    zmq_close (one);
    if (other)
        zmq_close (other);
}

static void requests_are_sent_and_replies_read_to_their_end (void)
{
    void *rep = new_socket (ZMQ_REP), *req = new_socket (ZMQ_REQ);
    printf ("REQ and REP\n");
    join (rep, req);
    give (rep, "out of turn", MORE);
    give (rep, "out of turn", ZMQ_SNDMORE);
    give (req, "a", MORE);
    take (req);
    ready (req);
    give (req, "b", NOW);
    give (req, "out of turn", MORE);
    give (req, "out of turn", ZMQ_SNDMORE);
    ready (req);
    take (rep);
    give (rep, "too early", NOW);
    give (rep, "too early", MORE);
    ready (rep);
    take (rep);
    ready (rep);
    take (rep);
    give (rep, "c", MORE);
    take (rep);
    ready (rep);
    give (rep, "d", NOW);
    give (rep, "out of turn", NOW);
    take (req);
    give (req, "too early", NOW);
    give (req, "too early", MORE);
    ready (req);
    take (req);
    ready (req);
    take (req);
    end (rep, req);
}

static void a_relaxed_request_gives_up_the_rest_of_a_reply (void)
{
    void *router = new_socket (ZMQ_ROUTER), *req = new_socket (ZMQ_REQ);
    printf ("REQ, relaxed\n");
    set (req, ZMQ_REQ_RELAXED, 1);
    zmq_setsockopt (req, ZMQ_ROUTING_ID, "req", 3);
    join (router, req);
    give (req, "a", NOW);
    take_all (router);
    give (router, "req", MORE);
    give (router, "", MORE);
    give (router, "read", MORE);
    give (router, "not read", NOW);
    take (req);
    give (req, "b", NOW);
    take (req);
    take_all (router);
    end (router, req);
}

static void a_mandatory_router_refuses_the_id_and_nothing_else (void)
{
    void *router = new_socket (ZMQ_ROUTER), *dealer = new_socket (ZMQ_DEALER);
    printf ("ROUTER\n");
    set (router, ZMQ_ROUTER_MANDATORY, 1);
    set (router, ZMQ_SNDHWM, 1);
    set (dealer, ZMQ_RCVHWM, 1);
    zmq_setsockopt (dealer, ZMQ_ROUTING_ID, "d", 1);
    join (router, dealer);
    give (dealer, "hello", NOW);
    take_all (router);
    give (router, "nobody", MORE);
    give (router, "alone", NOW);
    give (router, "nobody", ZMQ_SNDMORE);
    give (router, "d", NOW);
    for (int n = 0; n < 3; n++) {
        give (router, "d", MORE);
        give (router, "body", NOW);
    }
    set (router, ZMQ_SNDTIMEO, 20);
    give (router, "d", ZMQ_SNDMORE);
    ready (router);
    take_all (dealer);
    give (router, "d", ZMQ_SNDMORE);
    zmq_close (dealer);
    usleep (50000);
    ready (router);
    give (router, "of one that has left", NOW);
    give (router, "d", MORE);
    set (router, ZMQ_ROUTER_MANDATORY, 0);
    give (router, "nobody", MORE);
    give (router, "dropped", NOW);
    give (router, "alone", NOW);
    end (router, NULL);
}

static void what_could_not_be_sent_is_sent_anew_as_a_whole (void)
{
    int types[][2] = {{ZMQ_PUSH, ZMQ_PULL}, {ZMQ_DEALER, ZMQ_DEALER}, {ZMQ_REQ, ZMQ_ROUTER}, {ZMQ_PAIR, ZMQ_PAIR}};
    for (int i = 0; i < 4; i++) {
        void *sender = new_socket (types[i][0]), *receiver = new_socket (types[i][1]);
        printf ("without room, %d\n", types[i][0]);
        set (sender, ZMQ_SNDTIMEO, 20);
        give (sender, "a", ZMQ_SNDMORE);
        give (sender, "a", MORE);
        set (sender, ZMQ_SNDTIMEO, 0);
        give (sender, "a", ZMQ_SNDMORE);
        join (receiver, sender);
        give (sender, "a", ZMQ_SNDMORE);
        give (sender, "b", 0);
        take_all (receiver);
        end (sender, receiver);
    }
}

static void nobody_gets_what_one_cannot_take (void)
{
    void *xpub = new_socket (ZMQ_XPUB), *sub = new_socket (ZMQ_SUB);
    printf ("XPUB that drops nothing\n");
    set (xpub, ZMQ_XPUB_NODROP, 1);
    set (xpub, ZMQ_SNDHWM, 1);
    set (sub, ZMQ_RCVHWM, 1);
    join (xpub, sub);
    zmq_setsockopt (sub, ZMQ_SUBSCRIBE, "t", 1);
    take_all (xpub);
    for (int n = 0; n < 3; n++) {
        give (xpub, "topic", MORE);
        give (xpub, "other than the topic", NOW);
    }
    ready (xpub);
    take_all (sub);
    end (xpub, sub);
}

static void a_message_without_its_last_part_goes_with_its_sender (void)
{
    void *pull = new_socket (ZMQ_PULL), *push = new_socket (ZMQ_PUSH);
    printf ("never finished\n");
    join (pull, push);
    give (push, "whole", NOW);
    give (push, "half", MORE);
    ready (push);
    zmq_close (push);
    take_all (pull);
    end (pull, NULL);
}

static int client_of (void *stream)
{
    char endpoint[64];
    size_t size = sizeof endpoint;
    assert (zmq_bind (stream, "tcp://127.0.0.1:*") == 0);
    assert (zmq_getsockopt (stream, ZMQ_LAST_ENDPOINT, endpoint, &size) == 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl (INADDR_LOOPBACK)};
    address.sin_port = htons (atoi (strrchr (endpoint, ':') + 1));
    int fd = socket (AF_INET, SOCK_STREAM, 0);
    struct timeval patience = {.tv_sec = 5};
    setsockopt (fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert (connect (fd, (struct sockaddr *) &address, sizeof address) == 0);
    return fd;
}

static void hear (int fd, size_t size)
{
    char room[64];
    ssize_t length = recv (fd, room, size, MSG_WAITALL);
    printf ("  heard %.*s\n", length < 0 ? 0 : (int) length, room);
}

static void octets_go_out_whatever_the_flags_say (void)
{
    for (int raw = 0; raw < 2; raw++) {
        void *stream = new_socket (raw ? ZMQ_ROUTER : ZMQ_STREAM);
        printf (raw ? "ROUTER, raw\n" : "STREAM\n");
        if (raw)
            set (stream, ZMQ_ROUTER_RAW, 1);
        int fd = client_of (stream);
        unsigned char id[5], empty;
        assert (zmq_recv (stream, id, sizeof id, 0) == 5 && zmq_recv (stream, &empty, 1, 0) == 0);
        part (stream, id, 5, MORE);
        give (stream, "one", MORE);
        hear (fd, 3);
        part (stream, id, 5, MORE);
        give (stream, "two", NOW);
        hear (fd, 3);
        give (stream, "nobody", MORE);
        if (raw)
            give (stream, "dropped", MORE);
        else { /* the id alone is nobody's, and so is what follows it */
            part (stream, id, 5, NOW);
            give (stream, "lost", NOW);
        }
        part (stream, id, 5, MORE);
        give (stream, "three", NOW);
        hear (fd, 5);
        ready (stream);
        part (stream, id, 5, MORE);
        give (stream, "", MORE);
        hear (fd, 1);
        close (fd);
        end (stream, NULL);
    }
}

static void the_id_of_a_server_is_read_from_the_option (void)
{
    void *stream = new_socket (ZMQ_STREAM);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl (INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listening = socket (AF_INET, SOCK_STREAM, 0);
    assert (bind (listening, (struct sockaddr *) &address, length) == 0 && listen (listening, 5) == 0);
    getsockname (listening, (struct sockaddr *) &address, &length);
    char endpoint[64], id[256], again[256], empty;
    snprintf (endpoint, sizeof endpoint, "tcp://127.0.0.1:%d", ntohs (address.sin_port));
    printf ("STREAM connects\n");
    size_t size = sizeof id;
    zmq_getsockopt (stream, ZMQ_ROUTING_ID, id, &size);
    printf ("  %zu octets\n", size);
    assert (zmq_connect (stream, endpoint) == 0);
    size = sizeof id;
    zmq_getsockopt (stream, ZMQ_ROUTING_ID, id, &size);
    printf ("  %zu octets\n", size);
    int fd = accept (listening, NULL, NULL);
    assert (zmq_recv (stream, again, sizeof again, 0) == 5 && zmq_recv (stream, &empty, 1, 0) == 0);
    printf ("  %s\n", memcmp (id, again, 5) ? "another" : "the same");
    zmq_setsockopt (stream, ZMQ_CONNECT_ROUTING_ID, "named", 5);
    assert (zmq_connect (stream, endpoint) == 0);
    size = sizeof again;
    zmq_getsockopt (stream, ZMQ_ROUTING_ID, again, &size);
    printf ("  %s\n", memcmp (id, again, 5) ? "another" : "the same");
    close (fd);
    close (listening);
    end (stream, NULL);
}

static void a_datagram_has_an_address_and_a_body (void)
{
    void *dgram = new_socket (ZMQ_DGRAM);
    printf ("DGRAM\n");
    assert (zmq_bind (dgram, "udp://127.0.0.1:*") == 0);
    give (dgram, "127.0.0.1:9", NOW);
    give (dgram, "127.0.0.1:9", MORE);
    give (dgram, "too many", MORE);
    give (dgram, "body", NOW);
    end (dgram, NULL);
}

static void directions_and_sizes_are_refused_with_the_first_part (void)
{
    int types[] = {ZMQ_PULL, ZMQ_SUB, ZMQ_DISH, ZMQ_GATHER, ZMQ_SERVER, ZMQ_CLIENT, ZMQ_RADIO, ZMQ_SCATTER, ZMQ_PEER, ZMQ_CHANNEL};
    for (int i = 0; i < 10; i++) {
        void *socket = new_socket (types[i]);
        printf ("type %d\n", types[i]);
        give (socket, "x", MORE);
        give (socket, "x", ZMQ_SNDMORE);
        end (socket, NULL);
    }
}

static void after_the_end_the_first_part_says_so (void)
{
    void *own = zmq_ctx_new (), *before = context;
    context = own;
    void *rep = new_socket (ZMQ_REP);
    printf ("shut down\n");
    zmq_ctx_shutdown (own);
    give (rep, "x", MORE);
    give (rep, "x", NOW);
    end (rep, NULL);
    zmq_ctx_term (own);
    context = before;
}

int main (void)
{
    setlinebuf (stdout);
    context = zmq_ctx_new ();
    requests_are_sent_and_replies_read_to_their_end ();
    a_relaxed_request_gives_up_the_rest_of_a_reply ();
    a_mandatory_router_refuses_the_id_and_nothing_else ();
    what_could_not_be_sent_is_sent_anew_as_a_whole ();
    nobody_gets_what_one_cannot_take ();
    a_message_without_its_last_part_goes_with_its_sender ();
    octets_go_out_whatever_the_flags_say ();
    the_id_of_a_server_is_read_from_the_option ();
    a_datagram_has_an_address_and_a_body ();
    directions_and_sizes_are_refused_with_the_first_part ();
    after_the_end_the_first_part_says_so ();
    zmq_ctx_term (context);
    return 0;
}
