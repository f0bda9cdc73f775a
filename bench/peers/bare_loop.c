/* The least that pings on held sessions can cost: one epoll loop that writes a ping and reads its
 * answer, with the pings that are due batched by the millisecond, and nothing else. No session has
 * a timer, no answer is looked at, no fault is noticed.
 *
 *     bare_loop mysql|postgres PORT SESSIONS INTERVAL_MS [tls]
 *
 * With `tls` the sessions have TLS, of OpenSSL, from whomever. Logs in at 127.1.0.1, 127.1.0.2 and so on, prints `ready`, and then answers each line of its input
 * with the count of answered pings. It ends with its input.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS_MAX = 1024, DESCRIPTORS_MAX = 1 << 20 };

/* What is said through, by sessions that have TLS. */
static SSL *channels[DESCRIPTORS_MAX];
static SSL_CTX *tls;

static const uint8_t mysql_ping[] = {1, 0, 0, 0, 0x0e};
static const uint8_t postgres_ping[] = {'Q', 0, 0, 0, 5, 0};
/* Protocol 4.1, secure connection, a user without a password. */
static const uint8_t mysql_login[] =
    "\x28\0\0\x01" "\x00\x82\0\0" "\0\0\0\1" "\x2d"
    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" "vitals\0";
/* The same, as far as it goes before TLS. */
static const uint8_t mysql_ssl_request[] =
    "\x20\0\0\x01" "\x00\x8a\0\0" "\0\0\0\1" "\x2d"
    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
static const uint8_t postgres_ssl_request[] = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f};
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

static ssize_t say(int peer, const void *bytes, size_t length) {
    if (channels[peer] != NULL)
        return SSL_write(channels[peer], bytes, (int)length);
    return write(peer, bytes, length);
}

static ssize_t hear(int peer, void *bytes, size_t room) {
    if (channels[peer] != NULL)
        return SSL_read(channels[peer], bytes, (int)room);
    return read(peer, bytes, room);
}

/* Asks for TLS where it is wanted, and has it from then on. */
static void begin_tls(int peer, int is_mysql) {
    const void *request = is_mysql ? (void *)mysql_ssl_request : (void *)postgres_ssl_request;
    size_t length = is_mysql ? sizeof mysql_ssl_request : sizeof postgres_ssl_request;
    uint8_t answer = 'S';
    if (write(peer, request, length) != (ssize_t)length ||
        (!is_mysql && (read(peer, &answer, 1) != 1 || answer != 'S')))
        fail("no TLS");
    SSL *channel = SSL_new(tls);
    if (channel == NULL || SSL_set_fd(channel, peer) != 1 || SSL_connect(channel) != 1) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
    channels[peer] = channel;
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
    size_t length = is_mysql ? sizeof mysql_login : sizeof postgres_login;
    uint8_t login[sizeof mysql_login + sizeof postgres_login];
    memcpy(login, is_mysql ? mysql_login : postgres_login, length);
    if (tls != NULL) {
        begin_tls(peer, is_mysql);
        if (is_mysql)
            login[3]++;
    }
    if (say(peer, login, length) != (ssize_t)length || hear(peer, bytes, sizeof bytes) <= 0)
        fail("login");
    return peer;
}

int main(int count, char **words) {
    if (count != 5 && count != 6) {
        fprintf(stderr, "usage: bare_loop mysql|postgres PORT SESSIONS INTERVAL_MS [tls]\n");
        return 3;
    }
    if (count == 6) {
        tls = SSL_CTX_new(TLS_client_method());
        if (tls == NULL)
            fail("SSL_CTX_new");
        /* One read of the socket for what has come. */
        SSL_CTX_set_read_ahead(tls, 1);
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
            if (say(peers[asked % sessions], ping, length) <= 0)
                fail("write");
            asked++;
        }
        struct epoll_event events[EVENTS_MAX];
        int patience = (int)((due - time + 999999) / 1000000);
        int ready = epoll_wait(epoll, events, EVENTS_MAX, patience);
        for (int at = 0; at < ready; at++) {
            uint8_t bytes[4096];
            ssize_t got = hear(events[at].data.fd, bytes, sizeof bytes);
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
