// A server that CZMQ's zauth guards, and its clients, each in a process of its own, so that each may be on another library.
//
//   zauth server CERTIFICATE ALLOWED PASSWORDS    prints its two addresses, echoes until "bye", says what each peer was called
//   zauth curve CERTIFICATE SERVER'S ADDRESS      a client with this certificate; 0 when it got an echo, 1 when not in time
//   zauth plain NAME PASSWORD ADDRESS

#include <czmq.h>
#include <stdio.h>
#include <string.h>

#define PATIENCE 3000

static int serve(const char *own, const char *allowed, const char *passwords) {
    zactor_t *auth = zactor_new(zauth, NULL);
    zstr_sendx(auth, "CURVE", allowed, NULL);
    zsock_wait(auth);
    zstr_sendx(auth, "PLAIN", passwords, NULL);
    zsock_wait(auth);
    zcert_t *certificate = zcert_load(own);
    if (!certificate)
        return 2;
    zsock_t *curve = zsock_new(ZMQ_REP), *plain = zsock_new(ZMQ_REP);
    zcert_apply(certificate, curve);
    zsock_set_curve_server(curve, 1);
    zsock_set_plain_server(plain, 1);
    zsock_t *both[] = {curve, plain};
    for (int at = 0; at < 2; at++) {
        zsock_set_zap_domain(both[at], "global");
        int port = zsock_bind(both[at], "tcp://127.0.0.1:*");
        printf("tcp://127.0.0.1:%d\n", port);
    }
    fflush(stdout);
    zpoller_t *poller = zpoller_new(curve, plain, NULL);
    int over = 0;
    while (!over) {
        zsock_t *ready = zpoller_wait(poller, 60000);
        if (!ready)
            return 3;
        zframe_t *request = zframe_recv(ready);
        const char *user = zframe_meta(request, "User-Id");
        printf("%s\n", user ? user : "nobody");
        over = zframe_streq(request, "bye");
        zframe_send(&request, ready, 0);
    }
    zpoller_destroy(&poller);
    zsock_destroy(&curve);
    zsock_destroy(&plain);
    zcert_destroy(&certificate);
    zactor_destroy(&auth);
    return 0;
}

static int echo(zsock_t *socket, const char *address, const char *text) {
    zsock_set_linger(socket, 0);
    zsock_set_rcvtimeo(socket, PATIENCE);
    zsock_connect(socket, "%s", address);
    zstr_send(socket, text);
    char *reply = zstr_recv(socket);
    int result = reply && streq(reply, text) ? 0 : 1;
    zstr_free(&reply);
    zsock_destroy(&socket);
    return result;
}

int main(int count, char **arguments) {
    zsys_handler_set(NULL);
    zsock_t *socket = NULL;
    if (count == 5 && streq(arguments[1], "server"))
        return serve(arguments[2], arguments[3], arguments[4]);
    if (count >= 5 && streq(arguments[1], "curve")) {
        zcert_t *own = zcert_load(arguments[2]), *server = zcert_load(arguments[3]);
        if (!own || !server)
            return 2;
        socket = zsock_new(ZMQ_REQ);
        zcert_apply(own, socket);
        zsock_set_curve_serverkey(socket, zcert_public_txt(server));
        int result = echo(socket, arguments[4], count > 5 ? arguments[5] : "hello");
        zcert_destroy(&own);
        zcert_destroy(&server);
        return result;
    }
    if (count == 5 && streq(arguments[1], "plain")) {
        socket = zsock_new(ZMQ_REQ);
        zsock_set_plain_username(socket, arguments[2]);
        zsock_set_plain_password(socket, arguments[3]);
        return echo(socket, arguments[4], "hello");
    }
    return 2;
}
