// What this machine can do at best, for `moontide bench` to compare with: plain memcpy, and one TCP
// stream over loopback like iperf's, between two processes, from memory into memory.
//
// usage: baseline memcpy|stream BLOCK_BYTES SPAN_BYTES MILLISECONDS
// Prints GB/s. Blocks follow each other through spans of source and target memory.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

// Shared pages, as pools are.
static char *span(size_t size, int fill) {
  char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) {
    perror("mmap");
    exit(1);
  }
  memset(p, fill, size);
  return p;
}

static double run_memcpy(size_t block, size_t size, long long for_ns) {
  char *from = span(size, 1), *to = span(size, 2);
  long long start = now_ns(), end = start;
  size_t at = 0;
  double bytes = 0;
  while (end - start < for_ns) {
    for (int i = 0; i < 16; i++) {
      memcpy(to + at, from + at, block);
      at = at + 2 * block <= size ? at + block : 0;
      bytes += block;
    }
    end = now_ns();
  }
  return bytes / (end - start);
}

static void send_all(int fd, size_t block, size_t size) {
  char *from = span(size, 1);
  for (size_t at = 0;; at = at + 2 * block <= size ? at + block : 0) {
    for (size_t sent = 0; sent < block;) {
      ssize_t n = send(fd, from + at + sent, block - sent, MSG_NOSIGNAL);
      if (n <= 0) _exit(0);
      sent += n;
    }
  }
}

static double run_stream(size_t block, size_t size, long long for_ns) {
  int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof a;
  if (bind(listener, (struct sockaddr *)&a, length) || listen(listener, 1) ||
      getsockname(listener, (struct sockaddr *)&a, &length)) {
    perror("listen");
    exit(1);
  }
  pid_t child = fork();
  if (child == 0) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&a, length)) _exit(1);
    send_all(fd, block, size);
  }
  int fd = accept(listener, NULL, NULL);
  char *to = span(size, 2);
  // Half a block in advance warms the connection up.
  long long start = 0, end = 0;
  double bytes = 0;
  for (size_t at = 0; start == 0 || end - start < for_ns;
       at = at + 2 * block <= size ? at + block : 0) {
    for (size_t got = 0; got < block;) {
      ssize_t n = recv(fd, to + at + got, block - got, 0);
      if (n <= 0) {
        perror("recv");
        exit(1);
      }
      got += n;
      if (start != 0) bytes += n;
    }
    end = now_ns();
    if (start == 0) start = end;
  }
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  return bytes / (end - start);
}

int main(int argc, char **argv) {
  if (argc != 5) {
    fprintf(stderr, "usage: baseline memcpy|stream BLOCK_BYTES SPAN_BYTES MILLISECONDS\n");
    return 2;
  }
  size_t block = strtoull(argv[2], NULL, 10), size = strtoull(argv[3], NULL, 10);
  long long for_ns = atoll(argv[4]) * 1000000LL;
  if (block == 0 || size < block) return 2;
  int is_stream = strcmp(argv[1], "stream") == 0;
  printf("%.4f\n", is_stream ? run_stream(block, size, for_ns) : run_memcpy(block, size, for_ns));
  return 0;
}
