/* A database server that lets everybody in and answers every ping, at the least cost: any number of
 * sessions, one thread, one epoll loop.
 *
 *     server mysql|postgres
 *
 * Listens on all addresses of the machine's loopback range at a port of the kernel's choice, prints
 * the port, and then answers lines of its input: `pings` and `sessions` with a count. It ends with
 * its input. Messages are taken to arrive whole, as they do on loopback.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS_MAX = 512, SESSIONS_MAX = 1 << 20 };

/* What a session waits for. */
enum state { LOGIN, COMMAND };

static uint8_t states[SESSIONS_MAX];
static uint64_t pings, sessions;
static int epoll, is_mysql;

static const uint8_t mysql_greeting[] =
    "\x4a\x00\x00\x00" "\x0a" "8.0.40\0" "\x01\x00\x00\x00" "abcdefgh\0"
    "\xff\xf7" "\x2d" "\x02\x00" "\x08\x00" "\x15"
    "\0\0\0\0\0\0\0\0\0\0" "ijklmnopqrst\0" "mysql_native_password";
static const uint8_t mysql_welcome[] = {7, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0};
static const uint8_t mysql_pong[] = {7, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0};

static const uint8_t postgres_welcome[] =
    "R\0\0\0\x08\0\0\0\0"
    "S\0\0\0\x18server_version\0" "16.4\0"
    "K\0\0\0\x0c\0\0\0\x2a\0\0\0\x07"
    "Z\0\0\0\x05I";
static const uint8_t postgres_pong[] = {'I', 0, 0, 0, 4, 'Z', 0, 0, 0, 5, 'I'};
static const uint8_t ssl_request[] = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f};

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void say(int peer, const void *bytes, size_t length) {
    /* What does not fit into an empty socket buffer does not exist here; who is gone is told by
     * the read. */
    if (send(peer, bytes, length, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
        fail("send");
}

static void watch(int descriptor, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = descriptor};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) != 0)
        fail("epoll_ctl");
}

static void welcome_all(int listener) {
    int peer, on = 1;
    while ((peer = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        states[peer] = LOGIN;
        sessions++;
        watch(peer, EPOLLIN);
        if (is_mysql)
            say(peer, mysql_greeting, sizeof mysql_greeting);
    }
}

static void take_login(int peer, const uint8_t *bytes, ssize_t length) {
    if (is_mysql) {
        say(peer, mysql_welcome, sizeof mysql_welcome);
    } else if (length == sizeof ssl_request && memcmp(bytes, ssl_request, sizeof ssl_request) == 0) {
        say(peer, "N", 1);
        return;
    } else {
        say(peer, postgres_welcome, sizeof postgres_welcome - 1);
    }
    states[peer] = COMMAND;
}

static void take_command(int peer, const uint8_t *bytes, ssize_t length) {
    if (is_mysql && length >= 5 && bytes[4] == 0x0e) {
        pings++;
        say(peer, mysql_pong, sizeof mysql_pong);
    } else if (!is_mysql && bytes[0] == 'Q') {
        pings++;
        say(peer, postgres_pong, sizeof postgres_pong);
    }
    /* A goodbye is followed by the end. */
}

static void hear(int peer) {
    uint8_t bytes[4096];
    ssize_t length = read(peer, bytes, sizeof bytes);
    if (length < 0 && errno == EAGAIN)
        return;
    if (length <= 0) {
        close(peer);
        sessions--;
    } else if (states[peer] == LOGIN) {
        take_login(peer, bytes, length);
    } else {
        take_command(peer, bytes, length);
    }
}

static void answer_owner(void) {
    char line[64];
    ssize_t length = read(STDIN_FILENO, line, sizeof line - 1);
    if (length <= 0)
        exit(0);
    line[length] = 0;
    printf("%llu\n", (unsigned long long)(strncmp(line, "pings", 5) == 0 ? pings : sessions));
    fflush(stdout);
}

static int listen_anywhere(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 4096) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) != 0)
        fail("listen");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(int count, char **words) {
    if (count != 2) {
        fprintf(stderr, "usage: server mysql|postgres\n");
        return 3;
    }
    is_mysql = strcmp(words[1], "mysql") == 0;
    epoll = epoll_create1(0);
    if (epoll < 0)
        fail("epoll_create1");
    int listener = listen_anywhere();
    watch(listener, EPOLLIN);
    watch(STDIN_FILENO, EPOLLIN);
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int ready = epoll_wait(epoll, events, EVENTS_MAX, -1);
        for (int at = 0; at < ready; at++) {
            int descriptor = events[at].data.fd;
            if (descriptor == listener)
                welcome_all(listener);
            else if (descriptor == STDIN_FILENO)
                answer_owner();
            else
                hear(descriptor);
        }
    }
}
