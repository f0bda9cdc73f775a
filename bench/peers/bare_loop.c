/* The least that pings on held sessions can cost: one epoll loop that writes a ping and reads its
 * answer, with the pings that are due batched by the millisecond, and nothing else. No session has
 * a timer, no answer is looked at, no fault is noticed.
 *
 *     bare_loop mysql|postgres PORT SESSIONS INTERVAL_MS
 *
 * Logs in at 127.1.0.1, 127.1.0.2 and so on, prints `ready`, and then answers each line of its input
 * with the count of answered pings. It ends with its input.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS_MAX = 1024 };

static const uint8_t mysql_ping[] = {1, 0, 0, 0, 0x0e};
static const uint8_t postgres_ping[] = {'Q', 0, 0, 0, 5, 0};
/* Protocol 4.1, secure connection, a user without a password. */
static const uint8_t mysql_login[] =
    "\x28\0\0\x01" "\x00\x82\0\0" "\0\0\0\1" "\x2d"
    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" "vitals\0";
static const uint8_t postgres_login[] = "\0\0\0\x15" "\0\x03\0\0" "user\0vitals\0";

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* A session that is logged in, at the address of this number. */
static int session(uint32_t number, uint16_t port, int is_mysql) {
    uint8_t bytes[4096];
    int on = 1, peer = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(0x7f010000u + (number / 250 << 8) + number % 250 + 1),
    };
    if (peer < 0 || connect(peer, (struct sockaddr *)&address, sizeof address) != 0)
        fail("connect");
    setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (is_mysql && read(peer, bytes, sizeof bytes) <= 0)
        fail("greeting");
    const void *login = is_mysql ? mysql_login : postgres_login;
    size_t length = is_mysql ? sizeof mysql_login : sizeof postgres_login;
    if (write(peer, login, length) != (ssize_t)length || read(peer, bytes, sizeof bytes) <= 0)
        fail("login");
    return peer;
}

int main(int count, char **words) {
    if (count != 5) {
        fprintf(stderr, "usage: bare_loop mysql|postgres PORT SESSIONS INTERVAL_MS\n");
        return 3;
    }
    int is_mysql = strcmp(words[1], "mysql") == 0;
    uint16_t port = (uint16_t)atoi(words[2]);
    uint32_t sessions = (uint32_t)atoi(words[3]);
    uint64_t interval = (uint64_t)atoi(words[4]) * 1000000u;
    int *peers = calloc(sessions, sizeof *peers);
    int epoll = epoll_create1(0);
    if (peers == NULL || epoll < 0)
        fail("start");
    struct epoll_event owner = {.events = EPOLLIN, .data.fd = STDIN_FILENO};
    epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &owner);
    for (uint32_t at = 0; at < sessions; at++) {
        peers[at] = session(at, port, is_mysql);
        struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = peers[at]};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, peers[at], &event) != 0)
            fail("epoll_ctl");
    }
    printf("ready\n");
    fflush(stdout);

    const void *ping = is_mysql ? mysql_ping : postgres_ping;
    size_t length = is_mysql ? sizeof mysql_ping : sizeof postgres_ping;
    /* The sessions are spread over the interval and asked in turn, for ever: the next one to ask
     * is all there is to know. */
    uint64_t start = now(), asked = 0, answered = 0;
    for (;;) {
        uint64_t time = now();
        uint64_t due;
        while ((due = start + asked * interval / sessions) <= time) {
            if (write(peers[asked % sessions], ping, length) < 0)
                fail("write");
            asked++;
        }
        struct epoll_event events[EVENTS_MAX];
        int patience = (int)((due - time + 999999) / 1000000);
        int ready = epoll_wait(epoll, events, EVENTS_MAX, patience);
        for (int at = 0; at < ready; at++) {
            uint8_t bytes[4096];
            ssize_t got = read(events[at].data.fd, bytes, sizeof bytes);
            if (got > 0 && events[at].data.fd != STDIN_FILENO) {
                answered++;
            } else if (got > 0) {
                printf("%llu\n", (unsigned long long)answered);
                fflush(stdout);
            } else {
                return 0;
            }
        }
    }
}
