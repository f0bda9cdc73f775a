/* The bare system calls of a lookup: send a sock_diag request, receive the answer, nothing else.
 * What `cost.rs` is held against. Arguments: port, rounds. Prints nanoseconds per lookup. */
#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

int main(int argc, char **argv) {
    if (argc != 3) return 3;
    long rounds = atol(argv[2]);
    struct { struct nlmsghdr header; struct inet_diag_req_v2 request; } ask;
    memset(&ask, 0, sizeof ask);
    ask.header.nlmsg_len = sizeof ask;
    ask.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    ask.header.nlmsg_flags = NLM_F_REQUEST;
    ask.request.sdiag_family = AF_INET;
    ask.request.sdiag_protocol = IPPROTO_TCP;
    ask.request.idiag_ext = 1 << (INET_DIAG_SKMEMINFO - 1);
    ask.request.idiag_states = 1 << 10;
    ask.request.id.idiag_sport = htons(atoi(argv[1]));
    ask.request.id.idiag_src[0] = htonl(INADDR_LOOPBACK);
    ask.request.id.idiag_cookie[0] = ask.request.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    if (fd < 0 || connect(fd, (struct sockaddr *)&kernel, sizeof kernel)) return 2;
    static char answer[32768];
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (long i = 0; i < rounds; i++) {
        ask.header.nlmsg_seq = i + 1;
        if (send(fd, &ask, sizeof ask, 0) < 0 || recv(fd, answer, sizeof answer, 0) < 0) return 2;
        if (((struct nlmsghdr *)answer)->nlmsg_type != SOCK_DIAG_BY_FAMILY) return 1;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    double ns = (end.tv_sec - begin.tv_sec) * 1e9 + (end.tv_nsec - begin.tv_nsec);
    printf("%.0f\n", ns / rounds);
    return 0;
}
