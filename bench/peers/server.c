/* A database server that lets everybody in and answers every ping, at the least cost: any number of
 * sessions, one thread, one epoll loop.
 *
 *     server mysql|postgres [CERTIFICATE KEY]
 *
 * With a certificate, whoever asks for TLS has it, in version 1.3. Listens on all addresses of the machine's loopback range at a port of the kernel's choice, prints
 * the port, and then answers lines of its input: `pings` and `sessions` with a count. It ends with
 * its input. Messages are taken to arrive whole, as they do on loopback.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
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
/* What is said through, by sessions that have TLS. */
static SSL *channels[SESSIONS_MAX];
static SSL_CTX *tls;
static uint64_t pings, sessions;
static int epoll, is_mysql;

static uint8_t mysql_greeting[] =
    "\x4a\x00\x00\x00" "\x0a" "8.0.40\0" "\x01\x00\x00\x00" "abcdefgh\0"
    "\xff\xf7" "\x2d" "\x02\x00" "\x08\x00" "\x15"
    "\0\0\0\0\0\0\0\0\0\0" "ijklmnopqrst\0" "mysql_native_password";
/* Where the greeting says that there is TLS. */
enum { MYSQL_OFFERS = 26, MYSQL_TLS = 0x08 };
static uint8_t mysql_welcome[] = {7, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0};
static const uint8_t mysql_pong[] = {7, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0};

static const uint8_t postgres_welcome[] =
    "R\0\0\0\x08\0\0\0\0"
    "S\0\0\0\x18server_version\0" "16.4\0"
    "K\0\0\0\x0c\0\0\0\x2a\0\0\0\x07"
    "Z\0\0\0\x05I";
static const uint8_t postgres_pong[] = {'I', 0, 0, 0, 4, 'Z', 0, 0, 0, 5, 'I'};
/* How long a question for TLS is, and how it begins. */
enum { MYSQL_SSL_REQUEST = 36 };
static const uint8_t mysql_ssl_request[] = {MYSQL_SSL_REQUEST - 4, 0, 0, 1};
static const uint8_t postgres_ssl_request[] = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f};

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void say(int peer, const void *bytes, size_t length) {
    /* What does not fit into an empty socket buffer does not exist here; who is gone is told by
     * the read. */
    if (channels[peer] != NULL)
        SSL_write(channels[peer], bytes, (int)length);
    else if (send(peer, bytes, length, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
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

/* Whether somebody who has not logged in asks for TLS; what follows that question is not ours. */
static int asks_for_tls(int peer) {
    const void *request = is_mysql ? (void *)mysql_ssl_request : (void *)postgres_ssl_request;
    size_t length = is_mysql ? sizeof mysql_ssl_request : sizeof postgres_ssl_request;
    uint8_t bytes[MYSQL_SSL_REQUEST];
    ssize_t got = recv(peer, bytes, sizeof bytes, MSG_PEEK);
    if (got < (ssize_t)length || memcmp(bytes, request, length) != 0)
        return 0;
    return recv(peer, bytes, is_mysql ? MYSQL_SSL_REQUEST : length, 0) > 0;
}

static void begin_tls(int peer) {
    if (!is_mysql)
        say(peer, tls != NULL ? "S" : "N", 1);
    if (tls == NULL)
        return;
    channels[peer] = SSL_new(tls);
    if (channels[peer] == NULL || SSL_set_fd(channels[peer], peer) != 1)
        fail("SSL_new");
    SSL_set_accept_state(channels[peer]);
}

static void take_login(int peer, const uint8_t *bytes) {
    if (is_mysql) {
        mysql_welcome[3] = bytes[3] + 1;
        say(peer, mysql_welcome, sizeof mysql_welcome);
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

/* What came, none where nothing has yet, or the end. */
static ssize_t take(int peer, uint8_t *bytes, size_t room) {
    if (channels[peer] == NULL)
        return read(peer, bytes, room);
    int got = SSL_read(channels[peer], bytes, (int)room);
    if (got > 0)
        return got;
    int waits = SSL_get_error(channels[peer], got) == SSL_ERROR_WANT_READ;
    ERR_clear_error();
    errno = EAGAIN;
    return waits ? -1 : 0;
}

static void end(int peer) {
    SSL_free(channels[peer]);
    channels[peer] = NULL;
    close(peer);
    sessions--;
}

static void hear(int peer) {
    uint8_t bytes[4096];
    if (states[peer] == LOGIN && channels[peer] == NULL && asks_for_tls(peer)) {
        begin_tls(peer);
        return;
    }
    do {
        ssize_t length = take(peer, bytes, sizeof bytes);
        if (length < 0 && errno == EAGAIN)
            return;
        if (length <= 0) {
            end(peer);
            return;
        }
        if (states[peer] == LOGIN)
            take_login(peer, bytes);
        else
            take_command(peer, bytes, length);
    } while (channels[peer] != NULL && SSL_has_pending(channels[peer]));
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

/* Nothing but what a ping needs: no tickets, and one read of the socket for what has come. */
static void offer_tls(const char *certificate, const char *key) {
    tls = SSL_CTX_new(TLS_server_method());
    if (tls == NULL || SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_num_tickets(tls, 0) != 1 ||
        SSL_CTX_use_certificate_chain_file(tls, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
    SSL_CTX_set_read_ahead(tls, 1);
    mysql_greeting[MYSQL_OFFERS] |= MYSQL_TLS;
}

int main(int count, char **words) {
    if (count != 2 && count != 4) {
        fprintf(stderr, "usage: server mysql|postgres [CERTIFICATE KEY]\n");
        return 3;
    }
    is_mysql = strcmp(words[1], "mysql") == 0;
    signal(SIGPIPE, SIG_IGN);
    if (count == 4)
        offer_tls(words[2], words[3]);
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
