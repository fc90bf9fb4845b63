/* Which events monitors tell of, in which order, with which values and addresses: what this prints is the same on
   every library, for as long as it takes of each side's events no more than are certain. */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

static void *context;

/* A socket, its monitor, and how its side is called. */
struct side {
    const char *name;
    void *socket, *events;
};

static struct side open_side (const char *name, int type)
{
    static int count;
    struct side side = {name, zmq_socket (context, type), zmq_socket (context, ZMQ_PAIR)};
    char endpoint[32];
    int linger = 0, interval = 50, patience = 5000;
    snprintf (endpoint, sizeof endpoint, "inproc://events-%d", count++);
    zmq_setsockopt (side.socket, ZMQ_LINGER, &linger, sizeof linger);
    zmq_setsockopt (side.socket, ZMQ_RECONNECT_IVL, &interval, sizeof interval);
    zmq_setsockopt (side.events, ZMQ_RCVTIMEO, &patience, sizeof patience);
    assert (zmq_socket_monitor (side.socket, endpoint, ZMQ_EVENT_ALL) == 0);
    assert (zmq_connect (side.events, endpoint) == 0);
    return side;
}

static void set (struct side side, int option, int value)
{
    assert (zmq_setsockopt (side.socket, option, &value, sizeof value) == 0);
}

static const char *name_of (int event)
{
    static const char *names[] = {
        "CONNECTED", "CONNECT_DELAYED", "CONNECT_RETRIED", "LISTENING", "BIND_FAILED", "ACCEPTED", "ACCEPT_FAILED",
        "CLOSED", "CLOSE_FAILED", "DISCONNECTED", "MONITOR_STOPPED", "HANDSHAKE_FAILED_NO_DETAIL",
        "HANDSHAKE_SUCCEEDED", "HANDSHAKE_FAILED_PROTOCOL", "HANDSHAKE_FAILED_AUTH",
    };
    for (size_t bit = 0; bit < sizeof names / sizeof *names; bit++)
        if (event == 1 << bit)
            return names[bit];
    return "?";
}

/* Ports and paths differ from run to run. */
static void print_address (const char *address, int length)
{
    if (length > 6 && memcmp (address, "tcp://", 6) == 0)
        printf (" %.*s:*", (int) ((char *) memrchr (address, ':', length) - address), address);
    else if (length > 6 && memcmp (address, "ipc://", 6) == 0)
        printf (" ipc://*");
    else if (length > 0)
        printf (" something");
}

static int next_event (struct side side, int flags)
{
    unsigned char head[6];
    char address[256];
    uint16_t event;
    uint32_t value;
    if (zmq_recv (side.events, head, sizeof head, flags) != sizeof head)
        return 0;
    int length = zmq_recv (side.events, address, sizeof address, 0);
    memcpy (&event, head, 2);
    memcpy (&value, head + 2, 4);
    printf ("  %s %s", side.name, name_of (event));
    /* The others' are descriptors, or waits with some chance in them. */
    if (event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL) /* a lost connection has several errnos, and stale ones */
        printf (value == EAGAIN ? " in time" : " lost");
    if (event & (ZMQ_EVENT_CONNECT_DELAYED | ZMQ_EVENT_BIND_FAILED | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_MONITOR_STOPPED))
        printf (" %#x", value);
    if (event & ~(ZMQ_EVENT_BIND_FAILED | ZMQ_EVENT_CLOSED))
        print_address (address, length);
    printf ("\n");
    return event;
}

static void events (struct side side, int count)
{
    while (count-- > 0)
        if (!next_event (side, 0))
            printf ("  %s has no more\n", side.name);
}

static void silent (struct side side)
{
    int patience = 150;
    zmq_setsockopt (side.events, ZMQ_RCVTIMEO, &patience, sizeof patience);
    while (next_event (side, 0)) {}
    patience = 5000;
    zmq_setsockopt (side.events, ZMQ_RCVTIMEO, &patience, sizeof patience);
}

static void close_side (struct side side)
{
    /* libzmq waits for the reader of an event, for ever. */
    if (side.socket) {
        zmq_socket_monitor (side.socket, NULL, 0);
        zmq_close (side.socket);
    }
    zmq_close (side.events);
}

static const char *bound (struct side side, const char *where)
{
    static char endpoint[256];
    size_t size = sizeof endpoint;
    assert (zmq_bind (side.socket, where) == 0);
    assert (zmq_getsockopt (side.socket, ZMQ_LAST_ENDPOINT, endpoint, &size) == 0);
    return endpoint;
}

static const char *places[] = {"tcp://127.0.0.1:*", "ipc://*"};

/* Both sides, connected. */
static void join (int place, struct side *server, struct side *client, int server_type, int client_type)
{
    *server = open_side ("server", server_type);
    *client = open_side ("client", client_type);
    assert (zmq_connect (client->socket, bound (*server, places[place])) == 0);
    events (*server, 3);
    events (*client, place == 0 ? 3 : 2);
}

static void leaving (void)
{
    struct side server, client;
    for (int place = 0; place < 2; place++) {
        printf ("the client leaves, %s\n", places[place]);
        join (place, &server, &client, ZMQ_PULL, ZMQ_PUSH);
        zmq_close (client.socket);
        client.socket = NULL;
        events (server, 1);
        events (client, 1);
        close_side (client);
        close_side (server);

        printf ("the server leaves, %s\n", places[place]);
        join (place, &server, &client, ZMQ_PULL, ZMQ_PUSH);
        zmq_close (server.socket);
        server.socket = NULL;
        events (server, 2);
        events (client, place == 0 ? 8 : 6);
        close_side (client);
        close_side (server);

        printf ("the server unbinds, %s\n", places[place]);
        join (place, &server, &client, ZMQ_PULL, ZMQ_PUSH);
        char endpoint[256];
        size_t size = sizeof endpoint;
        zmq_getsockopt (server.socket, ZMQ_LAST_ENDPOINT, endpoint, &size);
        assert (zmq_unbind (server.socket, endpoint) == 0);
        events (server, 1);
        silent (server);
        close_side (client);
        close_side (server);

        printf ("the client disconnects, %s\n", places[place]);
        join (place, &server, &client, ZMQ_PULL, ZMQ_PUSH);
        zmq_getsockopt (server.socket, ZMQ_LAST_ENDPOINT, endpoint, &size);
        assert (zmq_disconnect (client.socket, endpoint) == 0);
        zmq_pollitem_t told = {server.events, 0, ZMQ_POLLIN, 0};
        for (int n = 0; n < 1000 && zmq_poll (&told, 1, 5) == 0; n++) {
            int ready; /* libzmq goes on with it in the calls on that socket */
            size = sizeof ready;
            zmq_getsockopt (client.socket, ZMQ_EVENTS, &ready, &size);
        }
        events (server, 1);
        silent (client);
        close_side (client);
        close_side (server);

        printf ("no reconnecting, %s\n", places[place]);
        server = open_side ("server", ZMQ_PULL);
        client = open_side ("client", ZMQ_PUSH);
        set (client, ZMQ_RECONNECT_IVL, -1);
        assert (zmq_connect (client.socket, bound (server, places[place])) == 0);
        events (client, place == 0 ? 3 : 2);
        zmq_close (server.socket);
        server.socket = NULL;
        events (client, 1);
        silent (client);
        close_side (client);
        close_side (server);
    }
}

static void nobody_there (void)
{
    const char *nobody[] = {"tcp://127.0.0.1:1", "ipc:///tmp/nobody-listens-here", "tcp://no.such.name.invalid:1"};
    for (int i = 0; i < 3; i++) {
        printf ("nobody is there: %s\n", nobody[i]);
        struct side client = open_side ("client", ZMQ_PUSH);
        assert (zmq_connect (client.socket, nobody[i]) == 0);
        events (client, i == 2 ? 2 : 6);
        close_side (client);
    }
}

static void binding_fails (void)
{
    for (int place = 0; place < 2; place++) {
        struct side server = open_side ("server", ZMQ_PULL), second = open_side ("second", ZMQ_PULL);
        char taken[256];
        strcpy (taken, bound (server, places[place]));
        if (place == 1)
            strcpy (taken, "ipc:///no/such/directory/socket");
        printf ("binding fails, %s\n", places[place]);
        assert (zmq_bind (second.socket, taken) == -1);
        events (second, 2);
        silent (second);
        close_side (server);
        close_side (second);
    }
}

static int plain_socket (struct side server)
{
    char endpoint[256];
    size_t size = sizeof endpoint;
    zmq_getsockopt (server.socket, ZMQ_LAST_ENDPOINT, endpoint, &size);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl (INADDR_LOOPBACK)};
    address.sin_port = htons (atoi (strrchr (endpoint, ':') + 1));
    int fd = socket (AF_INET, SOCK_STREAM, 0);
    assert (connect (fd, (struct sockaddr *) &address, sizeof address) == 0);
    return fd;
}

static int plain_listener (char *endpoint)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl (INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listening = socket (AF_INET, SOCK_STREAM, 0);
    assert (bind (listening, (struct sockaddr *) &address, length) == 0 && listen (listening, 5) == 0);
    getsockname (listening, (struct sockaddr *) &address, &length);
    sprintf (endpoint, "tcp://127.0.0.1:%d", ntohs (address.sin_port));
    return listening;
}

static void failing_handshakes (void)
{
    struct side server = open_side ("server", ZMQ_PULL), client;
    printf ("a peer says nothing\n");
    set (server, ZMQ_HANDSHAKE_IVL, 100);
    bound (server, places[0]);
    events (server, 1);
    int fd = plain_socket (server);
    events (server, 3);
    close (fd);
    close_side (server);

    printf ("a peer closes at once\n");
    server = open_side ("server", ZMQ_PULL);
    bound (server, places[0]);
    events (server, 1);
    close (plain_socket (server));
    events (server, 3);
    close_side (server);

    printf ("what connects is told nothing\n");
    char endpoint[64];
    int listening = plain_listener (endpoint);
    client = open_side ("client", ZMQ_PUSH);
    set (client, ZMQ_HANDSHAKE_IVL, 100);
    assert (zmq_connect (client.socket, endpoint) == 0);
    events (client, 5);
    close_side (client);
    close (listening);

    printf ("what connects is closed at once\n");
    listening = plain_listener (endpoint);
    client = open_side ("client", ZMQ_PUSH);
    assert (zmq_connect (client.socket, endpoint) == 0);
    events (client, 2);
    close (accept (listening, NULL, NULL));
    events (client, 3);
    close_side (client);
    close (listening);

    static const char greeting[] = "\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                                   "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    static const char ready[] = "\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03REQ";
    assert (sizeof greeting - 1 == 64 && sizeof ready - 1 == 2 + 0x19);
    for (int mechanism = 0; mechanism < 2; mechanism++) {
        printf (mechanism ? "mechanisms that do not match\n" : "types that do not match\n");
        server = open_side ("server", ZMQ_PULL);
        if (mechanism)
            set (server, ZMQ_PLAIN_SERVER, 1);
        bound (server, places[0]);
        events (server, 1);
        fd = plain_socket (server);
        assert (write (fd, greeting, 64) == 64 && write (fd, ready, sizeof ready - 1) == sizeof ready - 1);
        events (server, mechanism ? 3 : 2);
        close (fd);
        close_side (server);
    }

    for (int place = 0; place < 2; place++) {
        printf ("a message that is too large, %s\n", places[place]);
        server = open_side ("server", ZMQ_PULL);
        client = open_side ("client", ZMQ_PUSH);
        int64_t most = 200; /* libzmq's own handshake has to fit in */
        char large[201] = {0};
        zmq_setsockopt (server.socket, ZMQ_MAXMSGSIZE, &most, sizeof most);
        set (client, ZMQ_RECONNECT_IVL, -1);
        assert (zmq_connect (client.socket, bound (server, places[place])) == 0);
        events (server, 3);
        events (client, place == 0 ? 3 : 2);
        zmq_send (client.socket, large, sizeof large, 0);
        events (server, 1);
        events (client, 1);
        close_side (client);
        close_side (server);
    }
}

static void refused (void)
{
    printf ("refused by an accept filter\n");
    struct side server = open_side ("server", ZMQ_PULL), client = open_side ("client", ZMQ_PUSH);
    assert (zmq_setsockopt (server.socket, ZMQ_TCP_ACCEPT_FILTER, "10.9.8.7", 8) == 0);
    assert (zmq_connect (client.socket, bound (server, places[0])) == 0);
    events (server, 2);
    events (client, 2);
    close_side (client);
    close_side (server);
}

static void stopping (void)
{
    printf ("a monitor is stopped, and another takes its place\n");
    struct side server = open_side ("server", ZMQ_PULL);
    assert (zmq_socket_monitor (server.socket, NULL, 0) == 0);
    events (server, 1);
    bound (server, places[0]);
    silent (server);
    assert (zmq_socket_monitor (server.socket, "inproc://second", ZMQ_EVENT_LISTENING) == 0);
    struct side second = {"second", NULL, zmq_socket (context, ZMQ_PAIR)};
    assert (zmq_connect (second.events, "inproc://second") == 0);
    bound (server, places[1]);
    silent (second);
    zmq_socket_monitor (server.socket, NULL, 0);
    close_side (second);
    close_side (server);
    printf ("closing\n");
    server = open_side ("server", ZMQ_PULL);
    bound (server, places[0]);
    events (server, 1);
    zmq_close (server.socket);
    server.socket = NULL;
    events (server, 2);
    silent (server);
    close_side (server);
}

int main (void)
{
    setlinebuf (stdout);
    context = zmq_ctx_new ();
    leaving ();
    nobody_there ();
    binding_fails ();
    failing_handshakes ();
    refused ();
    stopping ();
    assert (zmq_ctx_term (context) == 0);
    return 0;
}
