/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Empty: the functions that older programs look for here are in zmq.h. */

#ifndef __ZMQ_UTILS_H_INCLUDED__
#define __ZMQ_UTILS_H_INCLUDED__

#include "zmq.h"

#endif
