// The fastest handler that Mongrel2 can be given: it knows its two files by heart and answers with one
// message each. Used by compare.sh only.
//
//   mongrel2_handler REQUESTS REPLIES 1k.bin 100k.bin
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

static char *response(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    if (!file) { perror(path); exit(1); }
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    rewind(file);
    char *text = malloc(size + 256);
    int head = sprintf(text,
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %zu\r\n\r\n", size);
    if (fread(text + head, 1, size, file) != size) exit(1);
    fclose(file);
    *length = (size_t)head + size;
    return text;
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    size_t lengths[2];
    char *bodies[2] = { response(argv[3], &lengths[0]), response(argv[4], &lengths[1]) };
    void *context = zmq_ctx_new();
    void *requests = zmq_socket(context, ZMQ_PULL), *replies = zmq_socket(context, ZMQ_PUB);
    int none = 0;
    zmq_setsockopt(replies, ZMQ_SNDHWM, &none, sizeof none);
    if (zmq_connect(requests, argv[1]) || zmq_connect(replies, argv[2])) return 1;
    static char in[65536], out[200000];
    for (;;) {
        int length = zmq_recv(requests, in, sizeof in - 1, 0);
        if (length < 0) return 1;
        if (length > (int)sizeof in - 1) length = sizeof in - 1;
        in[length] = 0;
        // SENDER SP CONNECTION SP PATH SP ...
        char *sender = strtok(in, " "), *connection = strtok(NULL, " "), *path = strtok(NULL, " ");
        if (!sender || !connection || !path) continue;
        if (strstr(in + (path - in) + strlen(path) + 1, "\"METHOD\":\"JSON\"")) continue; // a client has left
        int which = strstr(path, "100k") != NULL;
        int head = sprintf(out, "%s %zu:%s, ", sender, strlen(connection), connection);
        memcpy(out + head, bodies[which], lengths[which]);
        zmq_send(replies, out, (size_t)head + lengths[which], 0);
    }
}
