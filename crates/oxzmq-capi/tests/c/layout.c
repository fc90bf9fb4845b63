/* Sizes and offsets of everything that programs and the library share. Built with each header in turn, it prints the
   same lines. */
#define ZMQ_BUILD_DRAFT_API 1
#include <zmq.h>

#define SIZE(type) printf ("%s %zu\n", #type, sizeof (type))
#define FIELD(type, field) printf ("%s.%s %zu\n", #type, #field, offsetof (type, field))

int main (void)
{
    SIZE (zmq_msg_t);
    printf ("alignment of zmq_msg_t %zu\n", _Alignof (zmq_msg_t));
    SIZE (zmq_fd_t);
    SIZE (zmq_pollitem_t);
    FIELD (zmq_pollitem_t, socket);
    FIELD (zmq_pollitem_t, fd);
    FIELD (zmq_pollitem_t, events);
    FIELD (zmq_pollitem_t, revents);
    SIZE (zmq_poller_event_t);
    FIELD (zmq_poller_event_t, socket);
    FIELD (zmq_poller_event_t, fd);
    FIELD (zmq_poller_event_t, user_data);
    FIELD (zmq_poller_event_t, events);
    return 0;
}
