/* In posix.h. */
#include <ws2tcpip.h>
